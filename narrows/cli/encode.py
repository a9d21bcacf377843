"""`codec encode`: audio files and images to .nrw files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from narrows.cli.options import Background, Device, Force, KeepSuffix

if TYPE_CHECKING:
    from narrows.tokenizers.tokenizer import Tokenizer


def encode(
    files: Annotated[list[str], typer.Argument(help="Audio files, images, folders or globs.")],
    model: Annotated[
        str | None,
        typer.Option("-m", "--model", help="Model name, checkpoint folder or hub repository. [speech, or image]"),
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Output file or folder. [beside the input]")] = None,
    bitrate: Annotated[
        float | None,
        typer.Option(
            help="Audio: largest rate in kbit/s per channel, as estimated from the model's frequency tables. [no limit]"
        ),
    ] = None,
    codebooks: Annotated[
        int | None, typer.Option(help="Number of codebooks to keep, where the model has a choice. [all]")
    ] = None,
    quality: Annotated[
        float | None, typer.Option("-q", "--quality", help="Images: 1 (smallest file) to 8 (best image). [4]")
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
    raw: Annotated[
        bool, typer.Option("--raw", help="No entropy coding: every code takes a fixed number of bits.")
    ] = False,
    keep_suffix: KeepSuffix = False,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Encode audio files and images: file.wav becomes file.nrw, photo.png becomes photo.nrw."""
    from narrows.checkpoints.load import load
    from narrows.cli.files import Stopwatch, plan_outputs, print_message, print_skipped, process_files
    from narrows.errors import InputError
    from narrows.media.atomic import atomic_write
    from narrows.media.table import SUFFIXES, medium_of

    if raw and effort:
        raise InputError("expected --raw or --effort, got both; leave one out")
    settings: dict[str, float | None] = {
        "bitrate": bitrate,
        "codebooks": codebooks,
        "quality": quality,
        "bits_per_pixel": bpp,
        "effort": effort,
    }
    settings = {name: value for name, value in settings.items() if value is not None}
    planned = plan_outputs(files, out, SUFFIXES, lambda path: f"{path.name if keep_suffix else path.stem}.nrw")
    print_skipped(files, SUFFIXES, "audio or image")
    loaded: dict[str, Tokenizer] = {}

    def process(source: Path, target: Path) -> str:
        name = medium_of(source).default_model if model is None else model
        if name not in loaded:
            loaded[name] = load(name, device)
            if raw:
                loaded[name].tables = None  # so that bitrates are those of raw codes, too
        tokenizer, medium = loaded[name], loaded[name].medium
        tokenizer.check_settings(settings)
        watch = Stopwatch()
        # The input is opened first, so that a file that cannot be read is reported before one that cannot be written.
        with tokenizer.open(source, background) as reader, atomic_write(target, overwrite=force) as file:
            tokens = tokenizer.encode_reader(reader, **settings)
            data = tokenizer.compress(tokens)
            file.write(data)
        for loss in tokenizer.warnings(reader.info):
            print_message(loss, source)
        amount = tokens.extent.amount
        rate, speed = medium.rate(len(data), amount), medium.speed(amount, watch.seconds)
        size = f"{len(data)} bytes  {rate:.3g} {medium.rate_unit}"
        return f"{source} → {target}  {tokens.extent}  {size}  {speed:.3g} {medium.speed_unit}"

    process_files(planned, process, make_folders=out is not None)
