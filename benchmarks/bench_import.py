"""Import of a full-size tss archive against ``nats_bench``'s own full scan, in the same run, alternating.

    python benchmarks/bench_import.py [--full 30] [--rounds 2] [--jobs 2] [--count 15625] [--parquet tss.parquet]

Writes 15,625 records in the official format into a temporary folder (curves of the 200-epoch runs shortened to
``--full`` epochs, since ``nats_bench`` keeps every record in memory: some 30 GB at full length), then measures

* nats: ``nats_bench.create(folder, "tss", fast_mode=True, verbose=False)`` and, for each architecture,
  ``get_more_info(index, "cifar10-valid", hp="12", is_random=False)``, which reads the whole record once;
* ours: ``import_archive(folder, jobs=2)``, which reads and checks every value and leaves a table on disk.

Each in a process of its own, started afresh. Memory is the largest sum, over that process and its children, of
resident memory (/proc, every 50 ms; pages shared between processes are counted in each).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NATS = """
import sys, nats_bench
api = nats_bench.create(sys.argv[1], "tss", fast_mode=True, verbose=False)
for index in range(int(sys.argv[3])):
    api.get_more_info(index, "cifar10-valid", hp="12", is_random=False)
"""
OURS = """
import sys
from nasharness.tables.importers.nats_official.table import import_archive
count = int(sys.argv[3])
table = import_archive(sys.argv[1], jobs=int(sys.argv[4]), destination=sys.argv[2], partial=count < 15625)
print(table.checksum)
"""


def tree_rss(pid: int) -> int:
    """Bytes resident in a process and all below it."""
    total, todo = 0, [pid]
    while todo:
        current = todo.pop()
        try:
            total += int(Path(f"/proc/{current}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for task in Path(f"/proc/{current}/task").iterdir():
                todo += [int(child) for child in (task / "children").read_text().split()]
        except (OSError, IndexError):
            continue
    return total


def measure(code: str, *arguments: object) -> tuple[float, float, str]:
    """Run ``code`` in a fresh process: (seconds, largest resident memory in MB, what it printed)."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        peak = max(peak, tree_rss(process.pid))
        time.sleep(0.05)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"a measured process ended with {process.returncode}")
    assert process.stdout is not None
    return seconds, peak / 1e6, process.stdout.read().strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", type=int, default=30, help="epochs of the full-length curves")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--count", type=int, default=15625, help="records to write")
    parser.add_argument("--parquet", type=Path, default=ROOT.parent / "shared" / "data" / "tss.parquet")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from tests.nats_fixtures import write_folder_parallel

    with tempfile.TemporaryDirectory() as scratch:
        start = time.perf_counter()
        parquet = options.parquet if options.parquet.is_file() else None
        folder = write_folder_parallel(Path(scratch), "tss", options.full, parquet, options.jobs, options.count)
        size = sum(path.stat().st_size for path in folder.iterdir())
        print(
            f"{options.count} records, {size / 1e6:.0f} MB packed, in {time.perf_counter() - start:.0f} s", flush=True
        )
        rows: dict[str, list[tuple[float, float]]] = {"nats": [], "ours": []}
        sums = set()
        for _ in range(options.rounds):
            for name, code in (("nats", NATS), ("ours", OURS)):
                target = Path(scratch) / f"table-{len(rows['ours'])}"
                seconds, peak, said = measure(code, folder, target, options.count, options.jobs)
                rows[name].append((seconds, peak))
                if name == "ours":
                    sums.add(said)
                print(f"{name}: {seconds:.1f} s, {peak:.0f} MB", flush=True)
        best = {name: statistics.median(seconds for seconds, _ in values) for name, values in rows.items()}
        peaks = {name: max(peak for _, peak in values) for name, values in rows.items()}
        result = {
            "records": options.count,
            "epochs_of_full_curves": options.full,
            "jobs": options.jobs,
            "median_seconds": best,
            "ratio": best["nats"] / best["ours"],
            "peak_mb": peaks,
            "same_checksum_each_time": len(sums) == 1,
            "bar": "ratio >= 1.5 and ours < 1000 MB",
            "met": best["nats"] / best["ours"] >= 1.5 and peaks["ours"] < 1000,
        }
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
