"""`codec encode`: sound files to .nrw files."""

from pathlib import Path
from typing import Annotated

import typer


def encode(
    files: Annotated[list[str], typer.Argument(help="Sound files, folders or globs.")],
    model: Annotated[
        str, typer.Option("-m", "--model", help="Model name, checkpoint folder or hub repository.")
    ] = "speech",
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="File or folder of the results. [beside the input]")
    ] = None,
    bitrate: Annotated[
        float | None,
        typer.Option(
            help="At most about so many kbit/s a channel, as the model's tables estimate it. [the model's highest]"
        ),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="No entropy coding: every code in a fixed number of bits.")
    ] = False,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1.")] = "cpu",
    force: Annotated[bool, typer.Option("--force", help="Overwrite results that are there.")] = False,
) -> None:
    """Encode sound files: file.wav becomes file.nrw."""
    from narrows.checkpoints.load import load
    from narrows.cli.files import Stopwatch, complain, plan, work
    from narrows.media.atomic import written_beside
    from narrows.media.audio import SUFFIXES, probe

    jobs = plan(files, out, SUFFIXES, ".nrw")
    tokenizer = load(model, device)
    if raw:
        tokenizer.tables = None  # the rates on offer are then those of raw codes, too
    codebooks = None if bitrate is None else tokenizer.codebooks_for(bitrate * 1000)

    def act(source: Path, target: Path) -> str:
        watch = Stopwatch()
        info = probe(source)  # first, so that an input that is none is told before a result that cannot be written
        with written_beside(target, overwrite=force) as file:
            tokens = tokenizer.encode_file(source, codebooks)
            data = tokenizer.compress(tokens)
            file.write(data)
        if lost := tokenizer.lost(info.sample_rate, info.channels):
            complain(lost, source)
        size = f"{len(data)} bytes  {8 * len(data) / info.seconds / 1000:.2f} kbit/s"
        return f"{source} → {target}  {info.seconds:.2f} s  {size}  {watch.speed(info.seconds)}"

    work(jobs, act, out_is_folder=out is not None)
