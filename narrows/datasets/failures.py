"""Items that failed: the file that lists them, and their reasons, grouped.

00007-of-00128.errors.jsonl    {"key": ..., "reason": ...} per item
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from narrows.datasets.base import Failure
from narrows.media.atomic import write_bytes

MAX_KEYS = 3  # of a reason
_QUOTED_PATH = re.compile(r"""(?<!\w)(?:'/(?:[^'\\]|\\.)*'|"/(?:[^"\\]|\\.)*")(?!\w)""")


@dataclass(frozen=True)
class Reason:
    """Failures with one reason.

    Attributes:
        reason: in one line; paths, which differ between items, are replaced by …
        count: number of items.
        keys: of the first items, at most 3.
    """

    reason: str
    count: int
    keys: Sequence[str]


def write_failures(path: Path, failures: Sequence[Failure]) -> None:
    """Write the file of failures, or remove it where there are none."""
    if not failures:
        path.unlink(missing_ok=True)
        return
    lines = [json.dumps(asdict(failure), ensure_ascii=False) + "\n" for failure in failures]
    write_bytes(path, "".join(lines).encode("utf-8", "surrogateescape"), overwrite=True)


def read_failures(path: Path) -> Iterator[Failure]:
    """The failures in a file; none where it does not exist."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            for line in file:
                yield Failure(**json.loads(line))
    except FileNotFoundError:
        return


def group_failures(failures: Iterable[Failure]) -> list[Reason]:
    """The reasons of failures, the most frequent first."""
    keys = dict[str, list[str]]()
    for failure in failures:
        keys.setdefault(_QUOTED_PATH.sub("…", failure.reason), []).append(failure.key)
    reasons = [Reason(reason, len(of_reason), of_reason[:MAX_KEYS]) for reason, of_reason in keys.items()]
    return sorted(reasons, key=lambda reason: -reason.count)
