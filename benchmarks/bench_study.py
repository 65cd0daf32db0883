"""The whole NATS-style study, and 100,000 runs of random and rea: wall time, and memory over all processes.

    python benchmarks/bench_study.py [--jobs 2] [--rounds 3]

Runs `nasharness study` in a process of its own, started afresh, estimate and writing included, into a temporary
folder, on the tables under $NASHARNESS_DATA (the light table gives 12-epoch signals: some 180 evaluations a run).
Memory is the largest sum of resident memory over that process and its children, as in bench_import.py.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from bench_import import measure

CODE = "import sys; from nasharness.cli import main; main(sys.argv[1:])"
STUDIES = {
    "nats": (["--algo", "all", "--dataset", "all", "--runs", "500", "--budget", "nats"], 60.0, 1000.0),
    "100,000 runs": (["--algo", "random,rea", "--runs", "100000", "--budget", "nats"], None, 2000.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for name, (words, seconds_bar, memory_bar) in STUDIES.items():
        taken = []
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as scratch:
                out = Path(scratch) / "study"
                seconds, peak, _ = measure(CODE, "study", *words, "--jobs", options.jobs, "--out", out)
                size = sum(path.stat().st_size for path in out.rglob("*.parquet"))
            taken.append((seconds, peak))
        worst, most = max(seconds for seconds, _ in taken), max(peak for _, peak in taken)
        result = {
            "study": name,
            "jobs": options.jobs,
            "seconds": sorted(seconds for seconds, _ in taken),
            "peak_mb": most,
            "disk_mb": size / 1e6,
            "bar": {"seconds": seconds_bar, "peak_mb": memory_bar},
            "met": (seconds_bar is None or worst < seconds_bar) and most < memory_bar,
        }
        print(json.dumps(result, indent=1), flush=True)


if __name__ == "__main__":
    main()
