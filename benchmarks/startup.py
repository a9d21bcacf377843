"""CPU seconds of starting: `codec --help`, `import narrows`, and `import torch` to compare with.

    python benchmarks/startup.py

Each runs in a fresh process; the commands take turns. Also reports whether torch was imported.
"""

import re
import sys
from statistics import median

from common import Cost, argument_parser, check_positive, codec_script, emit, measured, run, show


def main() -> None:
    """Measure each command."""
    parser = argument_parser(__doc__)
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each, after one that is not (default: 5)")
    arguments = parser.parse_args()
    check_positive(parser, arguments, "runs")

    commands = {
        "codec --help": [codec_script(), "--help"],
        "import narrows": ["-c", "import narrows"],
        "import torch": ["-c", "import torch"],
        "empty program": ["-c", "pass"],
    }
    torch_imported = {name: _imports_torch(command) for name, command in commands.items()}  # also warms the caches
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(arguments.runs):
        for name, command in commands.items():
            costs[name].append(measured([sys.executable, *command])[0])

    records = []
    for name, of_command in costs.items():
        cpu = [cost.cpu_seconds for cost in of_command]
        record: dict[str, object] = {"benchmark": "startup", "command": name, "runs": arguments.runs}
        record |= {"cpu_median_s": median(cpu), "cpu_min_s": min(cpu), "cpu_max_s": max(cpu)}
        record |= {"wall_median_s": median(cost.wall_seconds for cost in of_command)}
        record |= {"imports_torch": torch_imported[name]}
        records.append(record)
        emit(record)
    show(records, ["command", "cpu_median_s", "cpu_min_s", "wall_median_s", "imports_torch"])


def _imports_torch(command: list[str]) -> bool:
    """Whether a command imports torch, by the list of imports that Python prints."""
    _, printed = measured([sys.executable, "-X", "importtime", *command])
    return re.search(r"^import time:.*\|\s+torch$", printed, re.MULTILINE) is not None


if __name__ == "__main__":
    run(main)
