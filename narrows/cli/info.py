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
    """Tell model, size, bytes, kbit/s or bits a pixel, chunks and integrity of an .nrw file. Needs no model."""
    from narrows.bitstream import AudioExtent, ImageExtent, inspect
    from narrows.cli.files import contents
    from narrows.errors import DamagedStream, InputError
    from narrows.media.files import shown

    data = contents(file)
    found = inspect(data)
    header = found.header
    extent, bits = header.extent, 8 * len(data)
    facts: dict[str, Any] = {
        "file": str(file),
        "model": header.model,
        "fingerprint": header.fingerprint.hex(),
        "medium": extent.medium,
    }
    if isinstance(extent, AudioExtent):
        facts |= {"seconds": round(extent.seconds, 3), "sample_rate": extent.sample_rate, "channels": extent.channels}
        rate = {"kbit_per_second": round(bits / extent.seconds / 1000, 3)}
    elif isinstance(extent, ImageExtent):
        facts |= {"width": extent.width, "height": extent.height, "channels": extent.channels}
        rate = {"bits_per_pixel": round(bits / (extent.width * extent.height), 4)}
    else:
        raise InputError(f"{shown(file)} holds {extent.medium}; this version knows audio and images")
    sizes = header.codebook_sizes
    facts |= {
        "codebooks": len(header.radices),
        "codebook_sizes": list(sizes) if len(set(sizes)) > 1 or len(sizes) <= 16 else sizes[:1],
        "coder": header.coder,
        "bytes": len(data),
        "header_bytes": found.header_bytes,
        "framing_bytes": found.framing_bytes,
        "payload_bytes": found.payload_bytes,
        **rate,
        "damaged_bytes": found.damaged_bytes,
        "chunks": header.chunks,
        "damaged": [asdict(damage) for damage in found.damaged],
        "whole": found.sound,
    }
    if header.setting is not None:
        facts["setting"] = header.setting
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
