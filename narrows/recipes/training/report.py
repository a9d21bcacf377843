"""out/report.html: curves, samples and settings of a run in one page, which loads nothing from the network.

It is made of what the folder of the run holds: recipe.json, metrics.jsonl and samples/.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from narrows.media.atomic import write_bytes
from narrows.recipes.training.record import read_record
from narrows.recipes.training.run_folder import METRICS, REPORT
from narrows.recipes.training.samples import read_samples
from narrows.report.document import definitions, document, figures
from narrows.report.embedding import AUDIO_ENCODINGS, IMAGE_ENCODINGS, embed
from narrows.report.markup import Html, h
from narrows.report.media_section import media_section
from narrows.report.number_format import number
from narrows.report.plot import Mark, Plot, Series
from narrows.report.video_encoding import VIDEO_ENCODINGS

MAX_MARKS = 60  # of a curve; longer ones show means over neighbouring lines
ENCODINGS = {"audio": AUDIO_ENCODINGS, "image": IMAGE_ENCODINGS, "video": VIDEO_ENCODINGS}
VALID = "valid/"
RUN_KEYS = ("target", "narrows", "devices", "nodes", "precision", "accumulate", "minutes", "init")
Line = Mapping[str, Any]  # of metrics.jsonl


def write_report(out: Path, best: Mapping[str, Any] | None = None) -> None:
    """Write the report of the run in a folder.

    Args:
        out: The folder.
        best: Step, metric and value of the best validation.

    Raises:
        InputError: For a recipe.json that is no record of a run.
        MediaError: For samples that cannot be read, and a report that cannot be written.
    """
    record = read_record(out) or {"recipe": {"name": out.name}, "changes": []}
    lines = read_metrics(out)
    step, samples = read_samples(out)
    media: list[Html] = []
    if samples:
        embedded = embed(samples, ENCODINGS[samples[0].reference.medium])
        media = [h("p", f"Validation items at step {step}."), media_section(embedded, lambda item, name: "")]
    validated = [line for line in lines if any(name.startswith(VALID) for name in line)]
    sections = [
        ("validation", "Validation", _last(validated[-1], best) if validated else []),
        ("curves", "Curves", [figures(curves(lines), with_legends=True)] if lines else []),
        ("samples", "Samples", media),
        ("settings", "Settings", _settings(record)),
    ]
    title = f"Training of {record['recipe'].get('name', out.name)}"
    steps = record["recipe"].get("schedule", {}).get("steps")
    done = f"step {lines[-1]['step'] if lines else 0}" + (f" of {steps}" if steps is not None else "")
    write_bytes(out / REPORT, document(title, done, sections).encode(), overwrite=True)


def read_metrics(out: Path) -> list[Line]:
    """The lines of metrics.jsonl; without those that are damaged."""
    lines = []
    path = out / METRICS
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
            if isinstance(line["step"], int):
                lines.append(line)
        except (ValueError, TypeError, LookupError):  # a process was killed while it wrote the line
            continue
    return lines


def curves(lines: Sequence[Line]) -> list[Plot]:
    """A plot of each metric by step: of training, of validation, or both."""
    names = dict.fromkeys(name.removeprefix(VALID) for line in lines for name in line if name != "step")
    plots = []
    for index, name in enumerate(names):
        series = [
            Series(kind, style, marks)
            for style, (kind, key) in enumerate((("training", name), ("validation", f"{VALID}{name}")))
            if (marks := _marks(lines, key))
        ]
        if series:
            plots.append(Plot(f"curve-{index + 1}", name, "step", name, series, log_x=False))
    return plots


def _marks(lines: Sequence[Line], key: str) -> list[Mark]:
    values = [(line["step"], line[key]) for line in lines if isinstance(line.get(key), int | float)]
    size = -(-len(values) // MAX_MARKS)
    marks = []
    for start in range(0, len(values), max(1, size)):
        steps, found = zip(*values[start : start + size], strict=True)
        mean = sum(found) / len(found)
        marks.append(Mark(steps[-1], mean, f"step {steps[-1]}: {number(mean)}"))
    return marks


def _last(line: Line, best: Mapping[str, Any] | None) -> list[Html]:
    values = {name.removeprefix(VALID): value for name, value in line.items() if name.startswith(VALID)}
    texts = {name: "not finite" if value is None else number(value) for name, value in values.items()}
    about = f"At step {line['step']}."
    if best:
        about += f" The best {best['metric']}, {number(best['value'])}, was that of step {best['step']}."
    return [h("p", about), definitions(texts)]


def _settings(record: Mapping[str, Any]) -> list[Html]:
    run = {name: _text(record[name]) for name in RUN_KEYS if name in record}
    recipe = {name: value for name, value in record["recipe"].items() if name != "class"}
    parts = [definitions(run | dict(_flat({name: each for name, each in recipe.items() if name != "codec"})))]
    for change in record["changes"]:
        changed = {name: f"{_text(old)} → {_text(new)}" for name, (old, new) in change["changed"].items()}
        parts += [h("h3", f"Changed at step {change['step']}"), definitions(changed)]
    if "codec" in recipe:
        parts.append(h("details", h("summary", "Codec"), h("pre", json.dumps(recipe["codec"], indent=1))))
    return parts


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from _flat(each, f"{name}.{key}" if name else key)
    else:
        yield name, _text(value)


def _text(value: Any) -> str:
    text = "none" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 200 else text[:197] + "..."
