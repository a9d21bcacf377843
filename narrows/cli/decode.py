"""`codec decode`: .nrw files to sound files."""

from pathlib import Path
from typing import Annotated

import typer


def decode(
    files: Annotated[list[str], typer.Argument(help=".nrw files, folders or globs.")],
    model: Annotated[str | None, typer.Option("-m", "--model", help="Model to decode with. [the one the file names]")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="File or folder of the results. [beside the input]")] = None,
    format: Annotated[str, typer.Option(help="Kind of sound file, where -o does not say: wav, flac, ogg, opus, mp3.")] = "wav",
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1.")] = "cpu",
    force: Annotated[bool, typer.Option("--force", help="Overwrite results that are there.")] = False,
) -> None:
    """Decode .nrw files: file.nrw becomes file.wav."""
    from narrows.bitstream import read_header
    from narrows.checkpoints.load import load
    from narrows.cli.files import Stopwatch, plan, work
    from narrows.media.audio import write
    from narrows.media.files import open_input
    from narrows.tokenizers.audio import AudioTokenizer

    jobs = plan(files, out, {".nrw"}, f".{format}")
    loaded: dict[str, AudioTokenizer] = {}

    def act(source: Path, target: Path) -> str:
        watch = Stopwatch()
        with open_input(source) as file:
            data = file.read()
        name = model or read_header(data).model
        if name not in loaded:
            loaded[name] = load(name, device)
        tokens = loaded[name].decompress(data)
        write(target, loaded[name].decode_blocks(tokens), tokens.extent.sample_rate, overwrite=force)
        seconds = tokens.extent.seconds
        return f"{source} → {target}  {seconds:.2f} s  {watch.speed(seconds)}"

    work(jobs, act, out_is_folder=out is not None)
