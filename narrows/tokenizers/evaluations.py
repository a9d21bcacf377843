"""The results of an evaluation beside a model. Nothing heavy is imported: listings of models read them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from narrows.errors import ModelError

Points = Sequence[Mapping[str, Any]]


def evaluation_of(folder: Path) -> Points:
    """The points of `evaluation.json` in a checkpoint folder; none without the file. Raises ModelError if damaged."""
    path = folder / "evaluation.json"
    try:
        points = json.loads(path.read_text(encoding="utf-8"))["points"]
        return [dict(point) for point in points]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(
            f"expected results of a model in {path}, got none ({error}); get the checkpoint again"
        ) from error
