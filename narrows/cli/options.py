"""Options that several commands share."""

import re
from typing import Annotated

import typer

from narrows.errors import shortened

_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d+\.?\d*)")  # h:mm:ss or m:ss


def seconds(text: str) -> float:
    """A time as a person writes it, in seconds: "3", "3.5s", "1:30", "1:02:03"."""
    if found := _CLOCK.fullmatch(text):
        hours, minutes, rest = (float(part or 0) for part in found.groups())
        return 3600 * hours + 60 * minutes + rest
    try:
        return float(text.removesuffix("s"))
    except ValueError:
        raise typer.BadParameter(f"expected a time such as 3s, 2.5 or 1:30, got {shortened(text)}") from None


From = Annotated[
    float | None,
    typer.Option("--from", parser=seconds, metavar="TIME", help="Audio, video: decode from this time on: 3s, 1:30."),
]
To = Annotated[
    float | None,
    typer.Option("--to", parser=seconds, metavar="TIME", help="Audio, video: decode up to this time. [end]"),
]
NoAudio = Annotated[bool, typer.Option("--no-audio", help="Video: leave the sound track out.")]
AudioModel = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="Video: model, folder or hub repository for the sound. [speech or audio, by the sound; to decode, the one "
        "that the file names]",
    ),
]

Device = Annotated[
    str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, mps; auto uses a GPU where the model runs on one.")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing outputs.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Background = Annotated[
    str | None,
    typer.Option(help="Images: a colour, such as white or '#ff8000', that transparent ones are flattened onto."),
]
KeepSuffix = Annotated[
    bool, typer.Option("--keep-suffix", help="Keep the suffix of the media file: a.wav ⇄ a.wav.nrw, not a.nrw.")
]
Threads = Annotated[
    int | None, typer.Option(min=1, help="CPU threads. [as many as other processes leave free, at each file]")
]
Jobs = Annotated[int, typer.Option(min=1, help="Processes for several files, each with a model in memory.")]
SkipExisting = Annotated[
    bool, typer.Option("--skip-existing", help="Pass over inputs whose output exists, as after an interruption.")
]
