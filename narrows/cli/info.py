"""`codec info`: header and integrity of an .nrw file, or facts about a media file or a model."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from narrows.cli.options import Json

MAX_CARD = 1 << 20  # characters
LABELS = {  # of facts whose names in JSON are not plain words
    "tables": "entropy-coded",
    "codebooks_choices": "codebook counts",
    "quality_choices": "qualities",
    "damaged": "damaged chunks",
}


def info(
    what: Annotated[
        str,
        typer.Argument(metavar="FILE|MODEL", help="An .nrw file, a media file, or a model: its name, folder or file."),
    ],
    as_json: Json = False,
) -> None:
    """Show the model, size, rate, chunks and integrity of an .nrw file; no model is needed.

    For an audio file, image or video: size, rate, format, and what reading it changes. For a model: medium, parameters,
    bytes, rates, reach, licence, and its card.
    """
    if not _is_model(what):
        file = Path(what)
        (_media if _is_media(file) else _stream)(file, as_json)
        return
    facts, card = _model(what)
    _show(facts, as_json)
    if not as_json and card is not None and card.is_file():
        from rich.console import Console
        from rich.markdown import Markdown

        with open(card, encoding="utf-8", errors="replace") as opened:
            text = opened.read(MAX_CARD)
        text = "".join(c for c in text if c.isprintable() or c == "\n")  # a terminal would obey control characters
        Console().print(Markdown(text.split("---", 2)[-1] if text.startswith("---") else text))


def _is_model(what: str) -> bool:
    """Whether an argument is a model, not a media file or stream."""
    from narrows.checkpoints.families import SUFFIXES
    from narrows.checkpoints.families.releases import find_release
    from narrows.checkpoints.index import models

    path = Path(what)
    if what in {model.name for model in models()}:
        return True
    if path.is_dir():
        return any(file.name == "config.json" or file.suffix in SUFFIXES for file in path.iterdir())
    if path.exists():
        return path.suffix in SUFFIXES
    return find_release(what.partition("@")[0]) is not None


def _is_media(file: Path) -> bool:
    """Whether a file has a suffix of media and is no .nrw stream."""
    from narrows.bitstream.header import MAGIC
    from narrows.media.files import open_input
    from narrows.media.table import SUFFIXES

    if file.suffix.lower() not in SUFFIXES:
        return False
    with open_input(file) as opened:
        return opened.read(len(MAGIC)) != MAGIC


def _media(file: Path, as_json: bool) -> None:
    from narrows.media.table import medium_of

    medium, size = medium_of(file), file.stat().st_size
    info = medium.probe(file)
    facts = {"file": str(file), "medium": medium.name, "bytes": size, **info.facts}
    if facts.get("seconds"):
        facts["kbit_per_second"] = round(8 * size / facts["seconds"] / 1000, 4)
    _show(facts | {"warnings": list(info.warnings)}, as_json)


def _stream(file: Path, as_json: bool) -> None:
    from narrows.bitstream import inspect
    from narrows.bitstream.radices import short_sizes
    from narrows.cli.files import rates_of, read_stream
    from narrows.errors import DamagedStream
    from narrows.media.files import quoted

    data = read_stream(file)
    found = inspect(data)
    header = found.header
    extent = header.extent
    facts: dict[str, Any] = {
        "file": str(file),
        "model": header.model,
        "fingerprint": header.fingerprint.hex(),
        "medium": extent.medium,
        **extent.facts,
    }
    if "audio" in dict(header.attachments):
        facts["sound"] = _sound(data)
    if header.quality is not None:
        facts["quality"] = header.quality
    facts |= {
        "codebooks": len(header.radices),
        "codebook_sizes": short_sizes(header.codebook_sizes),
        "coder": header.coder,
        "bytes": len(data),
        "header_bytes": found.header_bytes,
        "attachments": dict(header.attachments),
        "framing_bytes": found.framing_bytes,
        "payload_bytes": found.payload_bytes,
        **{key: round(rate, 4) for key, rate in rates_of(len(data), extent).items()},
        "damaged_bytes": found.damaged_bytes,
        "chunks": header.chunks,
        "damaged": [asdict(damage) for damage in found.damaged],
        "damaged_attachments": list(found.damaged_attachments),
        "intact": found.intact,
    }
    if not as_json:
        facts["damaged"] = [f"{damage.first} to {damage.last}" for damage in found.damaged]
    _show(facts, as_json)
    if not found.intact:
        lost = sum(damage.last + 1 - damage.first for damage in found.damaged)
        parts = ", ".join([f"{lost} of {header.chunks} chunks", *found.damaged_attachments])
        raise DamagedStream(
            f"{quoted(file)} is damaged: {parts} are lost, "
            f"{found.damaged_bytes} bytes were changed or appended; get another copy"
        )


def _sound(data: bytes) -> dict[str, Any] | None:
    """Facts about the sound of a video; None where it is damaged."""
    from narrows.bitstream.framing import Framing
    from narrows.bitstream.header import read_header
    from narrows.cli.files import rates_of
    from narrows.tokenizers.video_sound import sound_header

    payload = Framing(read_header(data)).attachments(memoryview(data))["audio"]
    if payload is None:
        return None
    offset, header, stream = sound_header(payload)
    rates = {key: round(rate, 4) for key, rate in rates_of(len(stream), header.extent).items()}
    begin = round(offset / header.extent.facts["sample_rate"], 6)
    return {"model": header.model, **header.extent.facts, "begin": begin, **rates}


def _model(what: str) -> tuple[dict[str, Any], Path | None]:
    """Facts about a model, and the place of its card."""
    from narrows.checkpoints.facts import facts_of
    from narrows.checkpoints.families.releases import find_release
    from narrows.checkpoints.load import load

    tokenizer = load(what)
    medium, choice, folder, release = tokenizer.medium, tokenizer.rate_setting, tokenizer.folder, None
    assert folder is not None
    facts: dict[str, Any] = {"folder": str(folder), "model": tokenizer.name, "fingerprint": tokenizer.fingerprint}
    if tokenizer.weights_file is not None and (release := find_release(tokenizer.name)) is not None:
        facts["licence"] = release.licence
    files = [tokenizer.weights_file] if tokenizer.weights_file else folder.glob("*.safetensors")
    facts |= facts_of(tokenizer) | {
        "bytes": sum(path.stat().st_size for path in files),
        "tables": tokenizer.tables is not None,
        f"{choice.name}_choices": list(choice.values),
    }
    if tokenizer.entropy_model is None:
        rates: Any = [round(tokenizer.rate(int(k)), 4) for k in choice.values]
    else:
        rates = _measured(folder, medium.rate_key)
    return facts | {medium.rate_key: rates}, None if tokenizer.weights_file else folder / "README.md"


def _measured(folder: Path, rate_key: str) -> dict[str, float] | None:
    """The rate at each quality, from evaluation.json in the folder; None without it."""
    from narrows.errors import ModelError

    path = folder / "evaluation.json"
    try:
        points = json.loads(path.read_text(encoding="utf-8"))["points"]
        return {f"{p['quality']:g}": round(float(p[rate_key]), 4) for p in points if "quality" in p}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ModelError(
            f"expected rates of a model in {path}, got none ({error}); fetch the checkpoint again"
        ) from error


def _show(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(facts, indent=1), flush=True)
        return
    from narrows.cli.files import print_line
    from narrows.media.table import MEDIA

    labels = LABELS | {medium.rate_key: medium.rate_unit for medium in MEDIA.values()}
    for name, value in facts.items():
        print_line(f"{labels.get(name, name.replace('_', ' ')):16} {_text(value)}")


def _text(value: object) -> str:
    """A value of JSON as a person would write it."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_text(inner)}" for name, inner in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    return str(value)
