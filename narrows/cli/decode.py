"""`codec decode`: .nrw files to sound files and pictures."""

from pathlib import Path
from typing import Annotated

import typer


def decode(
    files: Annotated[list[str], typer.Argument(help=".nrw files, folders or globs.")],
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="Model to decode with. [the one the file names]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="File or folder of the results. [beside the input]")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            help="Kind of file, where -o does not say: wav, flac, ogg, opus, mp3; png, webp, jpg. [wav, or png]"
        ),
    ] = None,
    salvage: Annotated[
        bool, typer.Option("--salvage", help="Sound: decode what is whole of damaged files; silence for the rest.")
    ] = False,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1.")] = "cpu",
    force: Annotated[bool, typer.Option("--force", help="Overwrite results that are there.")] = False,
) -> None:
    """Decode .nrw files: file.nrw becomes file.wav, photo.nrw becomes photo.png."""
    from narrows.bitstream import read_header
    from narrows.checkpoints.load import load
    from narrows.cli.files import Stopwatch, complain, contents, plan, shipped, work
    from narrows.errors import InputError
    from narrows.media import audio, image
    from narrows.tokenizers.image import ImageTokenizer

    jobs = plan(files, out, {".nrw"}, _suffix if format is None else f".{format.removeprefix('.')}")
    loaded = {} if model is None else {model: load(model, device)}

    def act(source: Path, target: Path) -> str:
        data = contents(source)
        name = model or shipped(read_header(data).model)
        if name not in loaded:
            loaded[name] = load(name, device)
        watch, tokenizer = Stopwatch(), loaded[name]
        if isinstance(tokenizer, ImageTokenizer):
            if salvage:
                raise InputError(f"--salvage given; {name} codes pictures, which are decoded whole or not at all")
            image.kind(target)  # first: what cannot be written is told before a picture is decoded
            _, pixels = tokenizer.open(data)
            image.write(target, pixels.transpose(1, 2, 0), overwrite=force)
            return f"{source} → {target}  {pixels.shape[2]} × {pixels.shape[1]}  {watch.seconds:.2f} s"
        if salvage:
            tokens, lost = tokenizer.recover(data)
            for start, stop in lost:
                complain(f"damaged from {start:.2f} to {stop:.2f} s; silence is put there", source)
        else:
            tokens = tokenizer.decompress(data)
        audio.write(target, tokenizer.decode_blocks(tokens), tokenizer.extent(tokens).sample_rate, overwrite=force)
        seconds = tokenizer.extent(tokens).seconds
        return f"{source} → {target}  {seconds:.2f} s  {watch.speed(seconds)}"

    work(jobs, act, out_is_folder=out is not None)


def _suffix(path: Path) -> str:
    """Of the result: by the medium that the header names; what is no stream fails later, with its own message."""
    from narrows.bitstream import ImageExtent
    from narrows.cli.files import header_of
    from narrows.errors import NarrowsError

    try:
        return ".png" if isinstance(header_of(path).extent, ImageExtent) else ".wav"
    except (NarrowsError, OSError):
        return ".wav"
