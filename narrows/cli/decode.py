"""`codec decode`: .nrw files to audio files, images and video."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from narrows.cli.options import (
    AudioModel,
    Background,
    Device,
    Force,
    From,
    Jobs,
    KeepSuffix,
    NoAudio,
    SkipExisting,
    Threads,
    To,
)

if TYPE_CHECKING:
    from narrows.cli.progress import ProgressBar
    from narrows.tokenizers.settings import DecodeOptions
    from narrows.tokenizers.tokenizer import Tokenizer
    from narrows.tokenizers.tokens import Tokens

ATTACHED = {"alpha": "transparency", "audio": "sound"}  # attachments by their names in a stream
LOSSES = {
    "audio": "damaged from {:.2f} to {:.2f} s; replaced by silence",
    "image": "damaged from row {:.0f} to {:.0f}; replaced by grey",
    "video": "damaged from {:.2f} to {:.2f} s; replaced by grey",
}


def decode(
    files: Annotated[list[str], typer.Argument(help=".nrw files, folders or globs.")],
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="Model to decode with. [the one that the file names]")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Output file or folder. [beside the input]")] = None,
    format: Annotated[
        str | None,
        typer.Option(
            help="Output format, where -o does not say: wav, flac, ogg, opus, mp3; png, webp, jpg; mp4, mov, "
            "webm, mkv. [wav, png or mp4]"
        ),
    ] = None,
    recover: Annotated[
        bool,
        typer.Option("--recover", help="Decode the undamaged parts of damaged files; silence or grey elsewhere."),
    ] = False,
    background: Background = None,
    start: From = None,
    stop: To = None,
    no_audio: NoAudio = False,
    audio_model: AudioModel = None,
    keep_suffix: KeepSuffix = False,
    device: Device = "auto",
    threads: Threads = None,
    jobs: Jobs = 1,
    force: Force = False,
    skip_existing: SkipExisting = False,
) -> None:
    """Decode .nrw files: file.nrw becomes file.wav, photo.nrw photo.png, clip.nrw clip.mp4.

    In a folder with several media, options of one medium apply to its files.
    """
    from narrows.cli.files import plan_outputs
    from narrows.cli.jobs import process_files
    from narrows.errors import InputError

    if keep_suffix and format is not None:
        raise InputError("expected --keep-suffix or --format, got both; leave one out")
    wanted = None if format is None else f".{format.removeprefix('.')}"
    planned = plan_outputs(
        files, out, {".nrw"}, lambda path: path.stem if keep_suffix else f"{path.stem}{wanted or _suffix(path)}"
    )
    part: DecodeOptions = {"background": background, "start": start, "stop": stop, "sound": False if no_audio else None}
    if wanted is not None and out is not None and any(target.suffix.lower() != wanted.lower() for _, target in planned):
        raise InputError(f"expected --format or the suffix of -o, got {wanted} and {out}; leave one out")
    several_media = len({_suffix(source) for source, _ in planned}) > 1
    decoder = _Decoder(model, device, recover, force, part, audio_model, several_media)
    process_files(
        planned,
        decoder,
        make_folders=out is not None,
        jobs=jobs,
        threads=threads,
        skip_existing=skip_existing and not force,
        prepare=lambda: None if model is None else decoder.tokenizer(model),
    )


@dataclass
class _Decoder:
    """Decodes files; models are loaded when they are needed."""

    model: str | None
    device: str
    recover: bool
    force: bool
    part: "DecodeOptions"
    audio_model: str | None
    several_media: bool
    loaded: "dict[str, Tokenizer]" = field(default_factory=dict)

    def __call__(self, source: Path, target: Path, bar: "ProgressBar") -> str:
        """Decode a file; the line that is printed about it."""
        from narrows.bitstream import read_header
        from narrows.cli.files import Stopwatch, read_stream, shipped_model

        data = read_stream(source)
        tokenizer = self.tokenizer(self.model or shipped_model(read_header(data).model))
        watch, decoded, part = Stopwatch(), [0.0], self.part
        if self.several_media:
            of_medium = {name: value for name, value in part.items() if name in tokenizer.decode_options}
            part = cast("DecodeOptions", of_medium)
        item = _recovered(tokenizer, data, source) if self.recover else data
        with bar.step(lambda: decoded[-1]):
            extent = tokenizer.decode_file(item, target, overwrite=self.force, progress=decoded.append, **part)
        speed = tokenizer.medium.speed(extent.amount, watch.seconds)
        return f"{source} → {target}  {extent}  {speed:.3g} {tokenizer.medium.speed_unit}"

    def tokenizer(self, model: str) -> "Tokenizer":
        """The model with a name, folder or repository."""
        from narrows.cli.files import load_tokenizer

        if model not in self.loaded:
            self.loaded[model] = load_tokenizer(model, self.device, self.audio_model, several_media=self.several_media)
        return self.loaded[model]


def _recovered(tokenizer: "Tokenizer", data: bytes, source: Path) -> "Tokens":
    """What is intact of a damaged stream; prints what is lost."""
    from narrows.bitstream import inspect, read_header
    from narrows.cli.files import print_message

    item, lost = tokenizer.recover(data)
    for first, last in lost:
        print_message(LOSSES[tokenizer.medium.name].format(first, last), source)
    for attachment, _ in read_header(data).attachments:
        if attachment not in item.attachments:
            print_message(f"its {ATTACHED.get(attachment, attachment)} is damaged and left out", source)
    found = inspect(data)
    if found.damaged_bytes and not found.damaged and not found.damaged_attachments:
        print_message(f"{found.damaged_bytes} bytes that are no part of it are left out", source)
    return item


def _suffix(path: Path) -> str:
    """The suffix of the output, for the medium in the header; .wav for other files, which fail later."""
    from narrows.cli.files import read_stream_header
    from narrows.errors import NarrowsError
    from narrows.media.table import MEDIA

    try:
        medium = read_stream_header(path).extent.medium
    except (NarrowsError, OSError):
        medium = "audio"
    return MEDIA[medium].default_suffix if medium in MEDIA else ".wav"
