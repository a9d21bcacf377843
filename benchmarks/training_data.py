"""How fast training data is found and read, and with how much memory.

    python benchmarks/training_data.py --sample-rate 16000 --data DIR
    python benchmarks/training_data.py --sample-rate 44100 --channels 2 --data 'DIR/*.opus'
    python benchmarks/training_data.py --sample-rate 16000 --data DIR --items 1000000 --crops 100000

Crops of a second are drawn in this process: crops per second of CPU time, and resident memory at ten moments. With
--items, the data is a manifest of so many rows with the recordings in DIR, and with --links a folder of hard links to
them: the time to the first crop, and the memory of the listing and at the peak.
"""

import json
import os
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from common import argument_parser, check_positive, emit, peak_mib, resident_mib, run, show

PARTS = 10


def main() -> None:
    """List a source, and draw crops."""
    parser = argument_parser(__doc__)
    parser.add_argument("--data", required=True, nargs="+", help="folders or other sources of recordings")
    parser.add_argument("--sample-rate", type=int, required=True, help="of the crops, in Hz")
    parser.add_argument("--channels", type=int, default=1, help="of the crops (default: 1)")
    parser.add_argument("--crops", type=int, default=1000, help="crops that are drawn (default: 1000)")
    parser.add_argument("--items", type=int, default=0, help="rows of a manifest that is made of the recordings")
    parser.add_argument("--links", type=int, default=0, help="hard links that are made of the recordings, beside them")
    arguments = parser.parse_args()
    check_positive(parser, arguments, "sample_rate", "channels", "crops")

    from narrows.datasets.sources import iterate_items

    sources = arguments.data
    if not arguments.items and not arguments.links:
        _measure(arguments, sources)
        return
    files = [item.location.path for source in sources for item in iterate_items(source, "audio")]
    with tempfile.TemporaryDirectory(dir=os.path.dirname(files[0]) if arguments.links else None) as folder:
        if arguments.items:
            source = Path(folder) / "data.jsonl"
            rows = (json.dumps({"path": path}) + "\n" for path in islice(cycle(files), arguments.items))
            source.write_text("".join(rows), encoding="utf-8")
        else:
            source = Path(folder)
            for number, path in enumerate(islice(cycle(files), arguments.links)):
                if number % 1000 == 0:
                    (source / f"{number // 1000:04d}").mkdir()
                os.link(path, source / f"{number // 1000:04d}" / f"{number:08d}{os.path.splitext(path)[1]}")
        _measure(arguments, [str(source)])


def _measure(arguments: object, sources: list[str]) -> None:
    from narrows.recipes.data.audio import AudioCrops, AudioFiles

    rate, channels, count = (getattr(arguments, name) for name in ("sample_rate", "channels", "crops"))
    before, begin, cpu = resident_mib(os.getpid()), time.perf_counter(), time.process_time()
    files = AudioFiles(sources, rate, channels)
    crops = AudioCrops(files, rate, count, (0,))
    crops[0]
    record = {"benchmark": "training_data", "items": len(files), "sample_rate": rate, "channels": channels}
    record |= {"first_crop_s": time.perf_counter() - begin, "first_crop_cpu_s": time.process_time() - cpu}
    record |= {"listing_mib": resident_mib(os.getpid()) - before, "growth_mib": peak_mib() - before}
    memory, cpu = [], time.process_time()
    for index in range(count):
        crops[index]
        if (index + 1) % max(1, count // PARTS) == 0:
            memory.append(round(resident_mib(os.getpid()), 1))
    record |= {"crops": count, "crops_per_cpu_s": count / (time.process_time() - cpu), "resident_mib": memory}
    emit(record)
    columns = ["items", "first_crop_s", "first_crop_cpu_s", "listing_mib", "growth_mib", "crops", "crops_per_cpu_s"]
    show([record], columns)


if __name__ == "__main__":
    run(main)
