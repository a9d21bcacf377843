"""`codec decode`: .nrw files to audio files and images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from narrows.cli.options import Background, Device, Force, KeepSuffix

if TYPE_CHECKING:
    from narrows.tokenizers.tokenizer import Tokenizer
    from narrows.tokenizers.tokens import Tokens

LOSSES = {
    "audio": "damaged from {:.2f} to {:.2f} s; replaced by silence",
    "image": "damaged from row {:.0f} to {:.0f}; replaced by grey",
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
            help="Output format, where -o does not say: wav, flac, ogg, opus, mp3; png, webp, jpg. [wav, or png]"
        ),
    ] = None,
    recover: Annotated[
        bool,
        typer.Option("--recover", help="Decode the undamaged parts of damaged files; silence or grey elsewhere."),
    ] = False,
    background: Background = None,
    start: Annotated[float, typer.Option("--from", help="Audio: decode from this time on, in seconds.")] = 0.0,
    stop: Annotated[float | None, typer.Option("--to", help="Audio: decode up to this time, in seconds. [end]")] = None,
    keep_suffix: KeepSuffix = False,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Decode .nrw files: file.nrw becomes file.wav, photo.nrw becomes photo.png."""
    from narrows.bitstream import inspect, read_header
    from narrows.checkpoints.load import load
    from narrows.cli.files import Stopwatch, plan_outputs, print_message, process_files, read_stream, shipped_model
    from narrows.errors import InputError

    if keep_suffix and format is not None:
        raise InputError("expected --keep-suffix or --format, got both; leave one out")
    wanted = None if format is None else f".{format.removeprefix('.')}"
    planned = plan_outputs(
        files, out, {".nrw"}, lambda path: path.stem if keep_suffix else f"{path.stem}{wanted or _suffix(path)}"
    )
    loaded: dict[str, Tokenizer] = {} if model is None else {model: load(model, device)}

    def process(source: Path, target: Path) -> str:
        data = read_stream(source)
        name = shipped_model(read_header(data).model) if model is None else model
        if name not in loaded:
            loaded[name] = load(name, device)
        watch, tokenizer = Stopwatch(), loaded[name]
        item: bytes | Tokens = data
        if recover:
            item, lost = tokenizer.recover(data)
            for first, last in lost:
                print_message(LOSSES[tokenizer.medium.name].format(first, last), source)
            for attachment, _ in read_header(data).attachments:
                if attachment not in item.attachments:
                    print_message(f"its attachment {attachment} is damaged and left out", source)
            found = inspect(data)
            if found.damaged_bytes and not found.damaged and not found.damaged_attachments:
                print_message(f"{found.damaged_bytes} bytes that are no part of it are left out", source)
        extent = tokenizer.decode_file(
            item, target, background=background, overwrite=force, start=start or None, stop=stop
        )
        speed = tokenizer.medium.speed(extent.amount, watch.seconds)
        return f"{source} → {target}  {extent}  {speed:.3g} {tokenizer.medium.speed_unit}"

    process_files(planned, process, make_folders=out is not None)


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
