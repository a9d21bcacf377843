"""`codec decode`: .nrw files to sound files."""

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
        str, typer.Option(help="Kind of sound file, where -o does not say: wav, flac, ogg, opus, mp3.")
    ] = "wav",
    salvage: Annotated[
        bool, typer.Option("--salvage", help="Decode what is whole of damaged files; silence for the rest.")
    ] = False,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1.")] = "cpu",
    force: Annotated[bool, typer.Option("--force", help="Overwrite results that are there.")] = False,
) -> None:
    """Decode .nrw files: file.nrw becomes file.wav."""
    from narrows.bitstream import read_header
    from narrows.checkpoints.load import load
    from narrows.cli.files import Stopwatch, complain, contents, plan, work
    from narrows.media.audio import write

    jobs = plan(files, out, {".nrw"}, f".{format.removeprefix('.')}")
    loaded = {} if model is None else {model: load(model, device)}

    def act(source: Path, target: Path) -> str:
        data = contents(source)
        name = model or _shipped(read_header(data).model)
        if name not in loaded:
            loaded[name] = load(name, device)
        watch = Stopwatch()
        if salvage:
            tokens, lost = loaded[name].recover(data)
            for start, stop in lost:
                complain(f"damaged from {start:.2f} to {stop:.2f} s; silence is put there", source)
        else:
            tokens = loaded[name].decompress(data)
        write(target, loaded[name].decode_blocks(tokens), tokens.extent.sample_rate, overwrite=force)
        seconds = tokens.extent.seconds
        return f"{source} → {target}  {seconds:.2f} s  {watch.speed(seconds)}"

    work(jobs, act, out_is_folder=out is not None)


def _shipped(name: str) -> str:
    """The model that a file names, if it comes with the package: no file decides on a folder or a download."""
    from narrows.checkpoints.index import entries
    from narrows.errors import ModelError

    if name not in (entry.name for entry in entries()):
        raise ModelError(f"made with {name!r}, no model of this package; give its folder or hub repository with -m")
    return name
