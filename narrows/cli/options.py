"""Options that several commands share."""

from typing import Annotated

import typer

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
