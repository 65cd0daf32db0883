"""Speed of searching, against a bare numpy loop and against nats_bench, in the same run.

    python benchmarks/bench_search.py [--out results/benchmarks/search.json]

prints ratios; ``pytest benchmarks`` runs the same pieces under pytest-benchmark. No test asserts a time: machines are
shared and noisy, ratios are what counts.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import resource
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

import nasharness
from nasharness import spaces
from nasharness.search import Problem

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def bare_rea(signal, cost, runs, evaluations, population=10, sample=3, seed=0):
    """Regularised evolution in nothing but numpy: the same draws and gathers, no books kept beyond the trajectory."""
    space = spaces.get("tss")
    neighbours = space.neighbours(np.arange(space.size))
    columns = space._mutation_columns
    rng = np.random.default_rng(seed)
    rows = np.arange(runs)
    ids = np.empty((population, runs), dtype=np.int32)
    fitness = np.empty((population, runs))
    history = np.empty((runs, evaluations), dtype=np.int32)
    values = np.empty((runs, evaluations))
    clock = np.zeros(runs)
    for step in range(evaluations):
        if step < population:
            child = (rng.random(runs) * space.size).astype(np.int32)
        else:
            u = rng.random((sample + 1, runs))
            drawn = (u[:sample] * population).astype(np.intp)
            best = drawn[fitness[drawn, rows].argmax(axis=0), rows]
            child = neighbours[ids[best, rows], columns[(u[sample] * 72).astype(np.intp)]]
        value = signal[child]
        clock += cost[child]
        history[:, step], values[:, step] = child, value
        slot = step % population
        ids[slot], fitness[slot] = child, value
    return history, values, clock


def problem(evaluations, table=None):
    return Problem.create(table=table, evaluations=evaluations, signal="val@200:trial0")


def best_of(function, repeats=7):
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times)


def against_bare(runs=500, evaluations=200):
    """Time of `rea` through the public API over the time of the bare loop."""
    asked = problem(evaluations, "embedded")
    signal = asked.table.values("cifar10-valid", "val_acc", 200, seed="trial0")
    cost = 200 * asked.table.values("cifar10-valid", "train_s")
    ours = best_of(lambda: nasharness.run("rea", asked, runs=runs))
    bare = best_of(lambda: bare_rea(signal, cost, runs, evaluations))
    return {"ours_s": ours, "bare_s": bare, "ratio": ours / bare, "evaluations_per_s": runs * evaluations / ours}


def against_nats_bench():
    """Evaluations a second against warm calls of nats_bench.simulate_train_eval on its own sample records."""
    from nats_bench import create

    folder = SHARED / "nats_samples" / "NATS-tss-v1_0-3ffb9-simple"
    if not folder.is_dir():
        return None
    with contextlib.redirect_stdout(io.StringIO()):
        api = create(str(folder), "tss", fast_mode=True, verbose=False)
        api.simulate_train_eval(11, dataset="cifar10", hp="12")
        calls = 200
        started = time.perf_counter()
        for _ in range(calls):
            api.simulate_train_eval(11, dataset="cifar10", hp="12")
        theirs = calls / (time.perf_counter() - started)
    asked = problem(1_000, "embedded")
    rows = {}
    for name in ("random", "rea"):
        seconds = best_of(lambda name=name: nasharness.run(name, asked, runs=1_000), 5)
        rows[name] = {"evaluations_per_s": 1e6 / seconds, "ratio": 1e6 / seconds / theirs}
    return {"nats_bench_evaluations_per_s": theirs, **rows}


def default_protocol():
    """Evaluations a second of what ``nasharness run --table embedded`` asks where it names no measurement.

    Every evaluation draws its trial from a second stream, and scores leave out what the search has seen.
    """
    asked = Problem.create(table="embedded", evaluations=1_000)
    return {
        name: 1e6 / best_of(lambda name=name: nasharness.run(name, asked, runs=1_000), 5) for name in ("random", "rea")
    }


def scaling():
    """How cost grows with runs and evaluations."""
    rows = []
    for name in ("random", "rea", "autoshrink"):
        for runs, evaluations in (
            (1, 200),
            (10, 200),
            (100, 200),
            (1_000, 200),
            (10_000, 200),
            (1_000, 20),
            (1_000, 2_000),
        ):
            asked = problem(evaluations, "embedded")
            seconds = best_of(lambda name=name, runs=runs, asked=asked: nasharness.run(name, asked, runs=runs), 3)
            rows.append(
                {"algorithm": name, "runs": runs, "evaluations": evaluations, "seconds": seconds,
                 "evaluations_per_s": runs * evaluations / seconds}
            )  # fmt: skip
    return rows


def every_algorithm(runs=500, evaluations=200):
    """Seconds for 500 runs of 200 evaluations of everything registered, and the peak memory of all that."""
    from nasharness.search import registry

    asked = problem(evaluations, "embedded")
    rows = {
        name: best_of(lambda name=name: nasharness.run(name, asked, runs=runs), 1)
        for name in registry.names(kind="multi-trial")
        if "environments" not in registry.get(name).needs  # which are no part of that problem
    }
    return {"seconds": rows, "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def opening():
    """Milliseconds to open the embedded table and map a column of it."""
    from nasharness.tables import open_table

    return 1e3 * best_of(lambda: open_table("tss", "embedded").array("cifar10-valid", "val_acc", 200), 20)


def test_rea_500_runs(benchmark):
    benchmark(nasharness.run, "rea", problem(200, "embedded"), runs=500)


def test_bare_rea_500_runs(benchmark):
    asked = problem(200, "embedded")
    signal = asked.table.values("cifar10-valid", "val_acc", 200, seed="trial0")
    benchmark(bare_rea, signal, 200 * asked.table.values("cifar10-valid", "train_s"), 500, 200)


def test_random_a_million_evaluations(benchmark):
    benchmark(nasharness.run, "random", problem(1_000, "embedded"), runs=1_000)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the numbers there as JSON")
    arguments = parser.parse_args()
    home = tempfile.mkdtemp()
    os.environ["NASHARNESS_DATA"] = home
    measured = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": f"Python {platform.python_version()}, numpy {np.__version__}",
        "every_algorithm_500x200": every_algorithm(),
        "rea_500x200_against_bare_numpy": against_bare(),
        "against_nats_bench_warm": against_nats_bench(),
        "default_protocol_evaluations_per_s": default_protocol(),
        "load": os.getloadavg()[0],
        "open_table_ms": opening(),
        "scaling": scaling(),
    }
    shutil.rmtree(home, ignore_errors=True)
    text = json.dumps(measured, indent=1)
    print(text)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
