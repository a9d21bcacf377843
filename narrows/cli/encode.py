"""`codec encode`: sound files and pictures to .nrw files."""

from pathlib import Path
from typing import Annotated

import typer


def encode(
    files: Annotated[list[str], typer.Argument(help="Sound files, pictures, folders or globs.")],
    model: Annotated[
        str | None,
        typer.Option("-m", "--model", help="Model name, checkpoint folder or hub repository. [speech, or image]"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="File or folder of the results. [beside the input]")
    ] = None,
    bitrate: Annotated[
        float | None,
        typer.Option(
            help="Sound: at most about so many kbit/s a channel, as the model's tables estimate it. [the highest]"
        ),
    ] = None,
    quality: Annotated[
        float | None, typer.Option("-q", "--quality", help="Pictures: from 1, the smallest file, to 8. [4]")
    ] = None,
    bpp: Annotated[float | None, typer.Option(help="Pictures: the best in so many bits a pixel.")] = None,
    effort: Annotated[
        int | None,
        typer.Option(
            help="Pictures: 0 to 5. Better files for the same decoder, by search: 1 takes ten to twenty seconds a "
            "megapixel, each more twice as long. [1 up to a megapixel, else 0]"
        ),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="No entropy coding: every code in a fixed number of bits.")
    ] = False,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1.")] = "cpu",
    force: Annotated[bool, typer.Option("--force", help="Overwrite results that are there.")] = False,
) -> None:
    """Encode sound files and pictures: file.wav becomes file.nrw, photo.png becomes photo.nrw."""
    from narrows.checkpoints.load import load
    from narrows.cli.files import Stopwatch, complain, plan, work
    from narrows.errors import InputError
    from narrows.media import audio, image
    from narrows.media.atomic import written_beside
    from narrows.tokenizers.audio import AudioTokenizer
    from narrows.tokenizers.image import ImageTokenizer

    if quality is not None and bpp is not None:
        raise InputError("--quality and --bpp given; one of the two wanted")
    if raw and effort:
        raise InputError("--raw and --effort given; one of the two wanted")
    jobs = plan(files, out, audio.SUFFIXES | image.SUFFIXES, ".nrw")
    loaded: dict[str, AudioTokenizer | ImageTokenizer] = {}

    def act(source: Path, target: Path) -> str:
        name = model or ("image" if source.suffix.lower() in image.SUFFIXES else "speech")
        if name not in loaded:
            loaded[name] = load(name, device)
            if raw:
                loaded[name].tables = None  # the rates on offer are then those of raw codes, too
        tokenizer = loaded[name]
        if isinstance(tokenizer, AudioTokenizer):
            return f"{source} → {target}  {sound(tokenizer, source, target)}"
        return f"{source} → {target}  {picture(tokenizer, source, target)}"

    def sound(tokenizer: AudioTokenizer, source: Path, target: Path) -> str:
        if quality is not None or bpp is not None:
            raise InputError(f"--quality or --bpp given; {tokenizer.name} codes sound, choose its rate with --bitrate")
        if effort:
            raise InputError(f"--effort {effort} given; it is for pictures, leave it out")
        codebooks = None if bitrate is None else tokenizer.codebooks_for(bitrate * 1000)
        watch = Stopwatch()
        info = audio.probe(source)  # first: an input that is none is told before a result that cannot be written
        with written_beside(target, overwrite=force) as file:
            data = tokenizer.compress(tokenizer.encode_file(source, codebooks))
            file.write(data)
        if lost := tokenizer.lost(info.sample_rate, info.channels):
            complain(lost, source)
        size = f"{len(data)} bytes  {8 * len(data) / info.seconds / 1000:.2f} kbit/s"
        return f"{info.seconds:.2f} s  {size}  {watch.speed(info.seconds)}"

    def picture(tokenizer: ImageTokenizer, source: Path, target: Path) -> str:
        if bitrate is not None:
            raise InputError(f"--bitrate given; {tokenizer.name} codes pictures, choose their rate with --bpp")
        watch = Stopwatch()
        info = image.probe(source)
        with written_beside(target, overwrite=force) as file:
            if bpp is None:
                tokens = tokenizer.encode_file(source, quality, effort=effort)
            else:
                tokens = tokenizer.encode_below(image.read(source).transpose(2, 0, 1), bpp, effort)
            data = tokenizer.compress(tokens)
            file.write(data)
        if info.several:
            complain("holds several pictures; the first one is coded", source)
        size = f"{len(data)} bytes  {8 * len(data) / info.pixels:.3f} bit/pixel"
        return f"{info.width} × {info.height}  {size}  {watch.seconds:.2f} s"

    work(jobs, act, out_is_folder=out is not None)
