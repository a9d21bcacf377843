"""`codec encode`: audio files and images to .nrw files."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from narrows.cli.options import Background, Device, Force, Jobs, KeepSuffix, SkipExisting, Threads

if TYPE_CHECKING:
    from narrows.cli.progress import ProgressBar
    from narrows.tokenizers.tokenizer import Tokenizer


def encode(
    files: Annotated[list[str], typer.Argument(help="Audio files, images, folders or globs.")],
    model: Annotated[
        str | None,
        typer.Option(
            "-m",
            "--model",
            help="Model name, checkpoint folder or hub repository. [speech, audio or image, by the content]",
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
    threads: Threads = None,
    jobs: Jobs = 1,
    force: Force = False,
    skip_existing: SkipExisting = False,
) -> None:
    """Encode audio files and images: file.wav becomes file.nrw, photo.png becomes photo.nrw.

    In a folder with both, options of one medium apply to its files.
    """
    from narrows.cli.files import plan_outputs
    from narrows.cli.jobs import process_files
    from narrows.errors import InputError
    from narrows.media.folders import skipped_files
    from narrows.media.table import SUFFIXES, medium_of

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
    several_media = model is None and len({medium_of(source).name for source, _ in planned}) > 1
    encoder = _Encoder(model, device, raw, settings, background, force, several_media)
    process_files(
        planned,
        encoder,
        make_folders=out is not None,
        jobs=jobs,
        threads=threads,
        skip_existing=skip_existing and not force,
        prepare=lambda: None if model is None else encoder.tokenizer(model),
        left_out=skipped_files(files, {*SUFFIXES, ".nrw"}, "audio or image"),
    )


@dataclass
class _Encoder:
    """Encodes files; models are loaded when they are needed."""

    model: str | None
    device: str
    raw: bool
    settings: dict[str, float]
    background: str | None
    force: bool
    several_media: bool
    loaded: "dict[str, Tokenizer]" = field(default_factory=dict)

    def __call__(self, source: Path, target: Path, bar: "ProgressBar") -> str:
        """Encode a file; the line that is printed about it."""
        from narrows.checkpoints.default import default_model
        from narrows.cli.files import Stopwatch, print_message
        from narrows.media.atomic import atomic_write

        tokenizer = self.tokenizer(self.model or default_model(source))
        settings, background = self.settings, self.background
        if self.several_media:
            settings = {name: value for name, value in settings.items() if name in tokenizer.settings}
            background = background if "background" in tokenizer.decode_options else None
        tokenizer.check_settings(settings)
        watch = Stopwatch()
        # The input is opened first, so that a file that cannot be read is reported before one that cannot be written.
        with (
            tokenizer.open(source, background) as reader,
            atomic_write(target, overwrite=self.force) as file,
            bar.step(lambda: reader.fraction),
        ):
            tokens = tokenizer.encode_reader(reader, **settings)
            data = tokenizer.compress(tokens)
            file.write(data)
        for loss in tokenizer.warnings(reader.info):
            print_message(loss, source)
        medium, amount = tokenizer.medium, tokens.extent.amount
        rate, speed = medium.rate(len(data), amount), medium.speed(amount, watch.seconds)
        size = f"{len(data)} bytes  {rate:.3g} {medium.rate_unit}"
        return f"{source} → {target}  {tokens.extent}  {size}  {speed:.3g} {medium.speed_unit}"

    def tokenizer(self, model: str) -> "Tokenizer":
        """The model with a name, folder or repository."""
        from narrows.checkpoints.load import load

        if model not in self.loaded:
            self.loaded[model] = load(model, self.device)
            if self.raw:
                self.loaded[model].tables = None  # so that bitrates are those of raw codes, too
        return self.loaded[model]
