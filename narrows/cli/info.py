"""`codec info`: what an .nrw file says of itself, and whether it is whole."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer


def info(
    file: Annotated[Path, typer.Argument(help="An .nrw file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell model, duration, bytes, kbit/s, chunks and integrity of an .nrw file. Needs no model."""
    from narrows.bitstream import AudioExtent, inspect
    from narrows.cli.files import contents
    from narrows.errors import DamagedStream, InputError
    from narrows.media.files import shown

    data = contents(file)
    found = inspect(data)
    header = found.header
    if not isinstance(header.extent, AudioExtent):
        raise InputError(f"{shown(file)} holds {header.extent.medium}; this version knows audio")
    facts: dict[str, Any] = {
        "file": str(file),
        "model": header.model,
        "fingerprint": header.fingerprint.hex(),
        "medium": header.extent.medium,
        "seconds": round(header.extent.seconds, 3),
        "sample_rate": header.extent.sample_rate,
        "channels": header.extent.channels,
        "codebooks": len(header.radices),
        "codebook_sizes": list(header.codebook_sizes),
        "coder": header.coder,
        "bytes": len(data),
        "header_bytes": found.header_bytes,
        "framing_bytes": found.framing_bytes,
        "payload_bytes": found.payload_bytes,
        "kbit_per_second": round(8 * len(data) / header.extent.seconds / 1000, 3),
        "damaged_bytes": found.damaged_bytes,
        "chunks": header.chunks,
        "damaged": [asdict(damage) for damage in found.damaged],
        "whole": found.sound,
    }
    if as_json:
        print(json.dumps(facts, indent=1), flush=True)
    else:
        for name, value in facts.items():
            print(f"{name.replace('_', ' '):16} {value}", flush=True)
    if not found.sound:
        lost = sum(damage.last + 1 - damage.first for damage in found.damaged)
        raise DamagedStream(
            f"{shown(file)} is damaged: {lost} of {header.chunks} chunks are lost, "
            f"{found.damaged_bytes} bytes were changed or appended; get another copy"
        )
