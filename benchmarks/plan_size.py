"""Time and memory for listing and planning a data set of very many small items, for each kind of source.

    python benchmarks/plan_size.py --items 200000

Makes the data sets in a temporary folder, and lists and plans each in a fresh process: seconds of CPU and of wall time
of each step, and the peak of memory above that of the process with everything imported.
"""

import argparse
import io
import json
import os
import sys
import tarfile
import tempfile
from pathlib import Path

from common import argument_parser, check_positive, emit, measured_json, peak_mib, run, show, timed

RECORDING = b"RIFF\x2e\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\x0a\0\0\0" + bytes(10)
SUFFIXES = {"folder": "", "manifest": ".jsonl", "tar": ".tar", "parquet": ".parquet"}


def main() -> None:
    """Measure each kind of source."""
    parser = argument_parser(__doc__)
    parser.add_argument("--items", type=int, default=200_000, help="items of each source (default: 200000)")
    parser.add_argument("--plan", help=argparse.SUPPRESS)  # the source that the child process plans
    arguments = parser.parse_args()
    check_positive(parser, arguments, "items")
    if arguments.plan:
        print(json.dumps(_plan(arguments.plan)))
        return
    records = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, make in {"folder": _folder, "manifest": _manifest, "tar": _tar, "parquet": _parquet}.items():
            source = Path(folder) / f"data{SUFFIXES[kind]}"
            make(source, arguments.items)
            cost, planned = measured_json([sys.executable, __file__, "--plan", str(source)])
            record = {"benchmark": "plan_size", "source": kind, "items": arguments.items, **planned}
            record |= {"cpu_s": cost.cpu_seconds, "wall_s": cost.wall_seconds, "peak_mib": cost.peak_mib}
            emit(record)
            records.append(record)
    columns = ["source", "items", "shards", "list_s", "plan_s", "fingerprint_s", "cpu_s", "wall_s", "growth_mib"]
    show(records, [*columns, "peak_mib"])


def _plan(source: str) -> dict[str, object]:
    """List and plan a source in this process."""
    from narrows.datasets import plan
    from narrows.datasets.sources import list_items

    before = peak_mib()
    found, listing = timed(lambda: list_items(source, "audio"))
    shards, planning = timed(lambda: plan.plan_shards(found, 10, "audio"))
    _, hashing = timed(lambda: plan.source_fingerprint(found))
    assert len(found) == sum(len(shard.items) for shard in shards)
    times = {"list_s": listing.wall, "plan_s": planning.wall, "fingerprint_s": hashing.wall}
    return {"shards": len(shards), **times, "growth_mib": peak_mib() - before}


def _name(index: int) -> str:
    return f"{index // 1000:04d}/{index:08d}.wav"


def _folder(path: Path, items: int) -> None:
    for index in range(items):
        if index % 1000 == 0:
            os.makedirs(path / os.path.dirname(_name(index)))
        with open(path / _name(index), "wb", buffering=0) as file:
            file.write(RECORDING)


def _manifest(path: Path, items: int) -> None:
    with open(path, "w") as file:
        for index in range(items):
            file.write(json.dumps({"audio_filepath": f"data/{_name(index)}", "text": f"number {index}"}) + "\n")


def _tar(path: Path, items: int) -> None:
    with tarfile.open(path, "w") as tar:
        for index in range(items):
            for name, data in ((_name(index), RECORDING), (_name(index)[:-4] + ".json", b'{"speaker": %d}' % index)):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
            tar.members.clear()  # type: ignore[attr-defined]  # else it keeps all of them


def _parquet(path: Path, items: int) -> None:
    import pyarrow
    from pyarrow import parquet

    rows = [{"bytes": RECORDING, "path": _name(index)} for index in range(items)]
    texts = [f"number {index}" for index in range(items)]
    parquet.write_table(pyarrow.table({"audio": rows, "text": texts}), path, row_group_size=1000)


if __name__ == "__main__":
    run(main)
