"""Speed of the stand-in for nats_bench against the package itself, on its own sample records, in the same run.

    python benchmarks/bench_compat.py [--out results/benchmarks/compat.json]

prints ratios; ``pytest benchmarks`` runs the same pieces under pytest-benchmark. Needs the sample records beside the
checkout and nats_bench 1.8.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from nasharness.compat import nats_bench, source
from nasharness.tables.inventory import import_any

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
FOLDERS = {"tss": "NATS-tss-v1_0-3ffb9-simple", "sss": "NATS-sss-v1_0-50262-simple"}
HPS = {"tss": ("12", "200"), "sss": ("12", "90")}
SAMPLES = (0, 11, 284)


def apis(space, home):
    """The package's API and the stand-in's, on the same records; the first has read them."""
    package = pytest.importorskip("nats_bench")
    folder = SHARED / "nats_samples" / FOLDERS[space]
    if not folder.is_dir():
        pytest.skip(f"needs the sample records in {folder}")
    os.environ["NASHARNESS_DATA"] = str(home)
    import_any([folder], partial=True, force=True, jobs=1)
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = package.create(str(folder), space, fast_mode=True, verbose=False)
    ours = nats_bench.create(None, space, verbose=False)
    for api in (theirs, ours):
        simulate(api, "12", 1)
    return theirs, ours


def simulate(api, hp, rounds):
    for _ in range(rounds):
        for index in SAMPLES:
            for dataset in ("cifar10", "cifar100", "ImageNet16-120"):
                api.simulate_train_eval(index, dataset, hp=hp)


def more_info(api, hp, rounds):
    for _ in range(rounds):
        for index in SAMPLES:
            for dataset in ("cifar10", "cifar100", "ImageNet16-120"):
                api.get_more_info(index, dataset, hp=hp)


def seconds_a_call(function, api, hp, rounds):
    """Best of five: seconds of one call."""
    times = []
    for _ in range(5):
        started = time.perf_counter()
        function(api, hp, rounds)
        times.append(time.perf_counter() - started)
    return min(times) / (9 * rounds)


def against_nats_bench(home):
    rows = {}
    for space, hps in HPS.items():
        theirs, ours = apis(space, home)
        for hp in hps:
            for function in (simulate, more_info):
                slow, fast = seconds_a_call(function, theirs, hp, 10), seconds_a_call(function, ours, hp, 1_000)
                row = {"nats_bench_us": 1e6 * slow, "stand_in_us": 1e6 * fast, "ratio": slow / fast}
                rows[f"{space} {function.__name__} hp {hp}"] = row
    return rows


def first_touch():
    """Microseconds of the first evaluation of each of 15,625 cells on the embedded table, and of opening the API."""
    source.choose("embedded")
    started = time.perf_counter()
    api = nats_bench.create(None, "tss", verbose=False)
    created = time.perf_counter()
    for index in range(len(api)):
        api.simulate_train_eval(index, "cifar10", hp="200")
    done = time.perf_counter()
    source.choose(None)
    return {"create_ms": 1e3 * (created - started), "first_evaluation_us": 1e6 * (done - created) / len(api)}


@pytest.mark.parametrize("whose", ["nats_bench", "stand-in"])
@pytest.mark.parametrize("hp", HPS["tss"])
def test_simulate_train_eval(benchmark, tmp_path, monkeypatch, whose, hp):
    monkeypatch.setenv("NASHARNESS_DATA", str(tmp_path))  # put back afterwards
    theirs, ours = apis("tss", tmp_path)
    benchmark(simulate, theirs if whose == "nats_bench" else ours, hp, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the numbers there as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        measured = {
            "date": time.strftime("%Y-%m-%d"),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "versions": f"Python {platform.python_version()}, numpy {np.__version__}",
            "a_call_warm": against_nats_bench(home),
            "embedded_table": first_touch(),
        }
    text = json.dumps(measured, indent=1)
    print(text)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
