"""`codec info`: what an .nrw file says of itself and whether it is whole, or what a checkpoint folder holds."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer


def info(
    file: Annotated[Path, typer.Argument(help="An .nrw file, or a checkpoint folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell model, size, quality, kbit/s or bits a pixel, chunks and integrity of an .nrw file; no model is needed.

    Of a checkpoint folder: medium, parameters, bytes, and what it offers.
    """
    if (file / "config.json").exists():
        _show(_of_checkpoint(file), as_json)
    else:
        _stream(file, as_json)


def _stream(file: Path, as_json: bool) -> None:
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
    if header.quality is not None:
        facts["quality"] = header.quality
    facts |= {
        "codebooks": len(header.radices),
        "codebook_sizes": _few(header.codebook_sizes),
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
    _show(facts, as_json)
    if not found.sound:
        lost = sum(damage.last + 1 - damage.first for damage in found.damaged)
        raise DamagedStream(
            f"{shown(file)} is damaged: {lost} of {header.chunks} chunks are lost, "
            f"{found.damaged_bytes} bytes were changed or appended; get another copy"
        )


def _of_checkpoint(folder: Path) -> dict[str, Any]:
    from narrows.checkpoints.load import load
    from narrows.tokenizers.audio import AudioTokenizer

    tokenizer = load(folder)
    bottleneck = tokenizer.codec.bottleneck
    facts: dict[str, Any] = {
        "folder": str(folder),
        "model": tokenizer.name,
        "fingerprint": tokenizer.fingerprint,
        "parameters": sum(weights.numel() for weights in tokenizer.codec.parameters()),
        "bytes": sum(path.stat().st_size for path in folder.glob("*.safetensors")),
        "tables": tokenizer.tables is not None,
        "codebooks": len(bottleneck.codebook_sizes),
        "codebook_sizes": _few(bottleneck.codebook_sizes),
    }
    if isinstance(tokenizer, AudioTokenizer):
        rates = [round(tokenizer.bitrate(count) / 1000, 3) for count in bottleneck.prefixes]
        return facts | {"medium": "audio", "sample_rate": tokenizer.sample_rate, "kbit_per_second": rates}
    facts |= {"medium": "image", "pixels_a_position": tokenizer.codec.stride**2, "settings": tokenizer.qualities}
    if tokenizer.model is None:
        return facts | {"bits_per_pixel": round(bottleneck.bits_per_position / tokenizer.codec.stride**2, 4)}
    return facts | {"quality": [1, 8] if tokenizer.qualities > 1 else [1], "bits_per_pixel": _measured(folder)}


def _measured(folder: Path) -> dict[str, float] | None:
    """Bits a pixel at each quality, as the evaluation in the folder found them; None without one."""
    from narrows.errors import ModelError

    path = folder / "evaluation.json"
    try:
        points = json.loads(path.read_text(encoding="utf-8"))["points"]
        return {f"{p['quality']:g}": round(float(p["bits_per_pixel"]), 4) for p in points if "quality" in p}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{path} holds no points of an image model ({error}); fetch the checkpoint again") from error


def _few(sizes: tuple[int, ...]) -> list[int]:
    """Sizes of codebooks; many of one size only once."""
    return list(sizes) if len(set(sizes)) > 1 or len(sizes) <= 16 else list(sizes[:1])


def _show(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(facts, indent=1), flush=True)
        return
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):16} {value}", flush=True)
