"""`codec encode`: audio files, images and video to .nrw files."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from narrows.cli.options import AudioModel, Background, Device, Force, Jobs, KeepSuffix, NoAudio, SkipExisting, Threads

if TYPE_CHECKING:
    from narrows.cli.progress import ProgressBar
    from narrows.tokenizers.tokenizer import Tokenizer


def encode(
    files: Annotated[list[str], typer.Argument(help="Audio files, images, videos, folders or globs.")],
    model: Annotated[
        str | None,
        typer.Option(
            "-m",
            "--model",
            help="Model name, checkpoint folder or hub repository. [speech, audio, image or video, by the content]",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Output file or folder. [beside the input]")] = None,
    bitrate: Annotated[
        float | None,
        typer.Option(
            help="Audio: largest rate of all channels together in kbit/s, estimated from the model's tables. [no limit]"
        ),
    ] = None,
    codebooks: Annotated[
        int | None, typer.Option(help="Number of codebooks to keep, where the model has a choice. [all]")
    ] = None,
    quality: Annotated[
        float | None, typer.Option("-q", "--quality", help="Images, video: 1 (smallest file) to 8 (best). [4]")
    ] = None,
    bpp: Annotated[
        float | None, typer.Option(help="Images: the best quality within this number of bits per pixel.")
    ] = None,
    effort: Annotated[
        int | None,
        typer.Option(
            help="Images: 0 to 5. Smaller files by an encoder-side search, for the same decoder. 1 takes 10 to 20 "
            "seconds per megapixel, each further step twice as long. [1 up to a megapixel, else 0]"
        ),
    ] = None,
    background: Background = None,
    no_audio: NoAudio = False,
    audio_model: AudioModel = None,
    recover: Annotated[
        bool, typer.Option("--recover", help="Video: encode what comes before the damage of damaged files.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="No entropy coding: every code takes a fixed number of bits.")
    ] = False,
    keep_suffix: KeepSuffix = False,
    device: Device = "auto",
    threads: Threads = None,
    jobs: Jobs = 1,
    force: Force = False,
    skip_existing: SkipExisting = False,
) -> None:
    """Encode audio, images and video: file.wav becomes file.nrw, photo.png photo.nrw, clip.mp4 clip.nrw.

    In a folder with several media, options of one medium apply to its files. A file such as .mp4 or .mkv is video if it
    has frames, otherwise audio; -m audio takes the sound of a video alone.
    """
    from narrows.cli.files import plan_outputs
    from narrows.cli.jobs import process_files
    from narrows.errors import InputError
    from narrows.media.folders import skipped_files
    from narrows.media.table import SUFFIXES

    if raw and effort:
        raise InputError("expected --raw or --effort, got both; leave one out")
    given = {
        "bitrate": bitrate,
        "codebooks": codebooks,
        "quality": quality,
        "bits_per_pixel": bpp,
        "effort": effort,
    }
    settings = {name: value for name, value in given.items() if value is not None}
    planned = plan_outputs(files, out, SUFFIXES, lambda path: f"{path.name if keep_suffix else path.stem}.nrw")
    opening = {"background": background, "sound": False if no_audio else None, "recover": recover or None}
    options = {name: value for name, value in opening.items() if value is not None}
    sources = [source for source, _ in planned] if model is None else []
    encoder = _Encoder(model, device, raw, settings, options, audio_model, force, sources)
    process_files(
        planned,
        encoder,
        make_folders=out is not None,
        jobs=jobs,
        threads=threads,
        skip_existing=skip_existing and not force,
        prepare=lambda: None if model is None else encoder.tokenizer(model),
        left_out=skipped_files(files, {*SUFFIXES, ".nrw"}, "audio, image or video"),
    )


@dataclass
class _Encoder:
    """Encodes files; models are loaded when they are needed."""

    model: str | None
    device: str
    raw: bool
    settings: dict[str, float]
    options: dict[str, Any]
    audio_model: str | None
    force: bool
    sources: list[Path]
    loaded: "dict[str, Tokenizer]" = field(default_factory=dict)

    @cached_property
    def several_media(self) -> bool:
        """Whether the files are of several media. All of them are looked at, so only where it matters."""
        from narrows.media.table import medium_of

        return len({medium_of(source).name for source in self.sources}) > 1

    def __call__(self, source: Path, target: Path, bar: "ProgressBar") -> str:
        """Encode a file; the line that is printed about it."""
        from narrows.checkpoints.default import default_model
        from narrows.cli.files import Stopwatch, print_message, rates_of
        from narrows.media.atomic import atomic_write

        tokenizer = self.tokenizer(self.model or default_model(source))
        settings = self._fitting(self.settings, tokenizer.settings)
        options = self._fitting(self.options, tokenizer.open_options)
        tokenizer.check_settings(settings)
        watch = Stopwatch()
        # The input is opened first, so that a file that cannot be read is reported before one that cannot be written.
        with (
            tokenizer.open(source, **options) as reader,
            atomic_write(target, overwrite=self.force) as file,
            bar.step(lambda: reader.fraction),
        ):
            coded = tokenizer.compress_reader(reader, **settings)
            file.write(coded.data)
        for loss in [*reader.damage, *tokenizer.warnings(reader.info, coded.attachments)]:
            print_message(loss, source)
        medium, rates = tokenizer.medium, rates_of(len(coded.data), coded.extent)
        units = {medium.rate_key: medium.rate_unit, "kbit_per_second": "kbit/s"}
        size = "  ".join([f"{len(coded.data)} bytes", *(f"{_shown(rate)} {units[key]}" for key, rate in rates.items())])
        speed = medium.speed(coded.extent.amount, watch.seconds)
        return f"{source} → {target}  {coded.extent}  {size}  {speed:.3g} {medium.speed_unit}"

    def _fitting(self, given: dict[str, Any], accepted: Sequence[str]) -> dict[str, Any]:
        """Of the given options those that a model accepts, if there are files of several media; otherwise all."""
        fitting = {name: value for name, value in given.items() if name in accepted}
        return fitting if fitting != given and self.several_media else given

    def tokenizer(self, model: str) -> "Tokenizer":
        """The model with a name, folder or repository."""
        from narrows.cli.files import load_tokenizer

        if model not in self.loaded:
            others = self.audio_model is not None and self.several_media
            self.loaded[model] = load_tokenizer(model, self.device, self.audio_model, several_media=others)
            if self.raw:
                self.loaded[model].tables = None  # so that bitrates are those of raw codes, too
        return self.loaded[model]


def _shown(rate: float) -> str:
    """A rate with three digits, without an exponent from 1000 on."""
    return f"{rate:.3g}" if rate < 999.5 else f"{rate:.0f}"
