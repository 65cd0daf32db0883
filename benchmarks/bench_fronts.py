"""Speed of dominance and hypervolume, against moocore and pymoo where they are installed, in the same run.

    python benchmarks/bench_fronts.py [--runs 500] [--steps 200] [--out FILE.json]

prints milliseconds for a whole study of ``runs`` trajectories; ``pytest benchmarks`` runs the same pieces under
pytest-benchmark.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import time
from pathlib import Path

import numpy as np

from nasharness.fronts import attainment, crowding, hypervolume, hypervolume_along, igd_plus, non_dominated, ranks

CORNER = {2: np.ones(2), 3: np.ones(3)}


def trajectories(runs, steps, objectives):
    """Made-up searches: points that come closer to the ideal point with every step."""
    rng = np.random.default_rng(0)
    return rng.random((runs, steps, objectives)) ** np.linspace(0.5, 2, steps)[:, None]


def best_of(function, repeats=3):
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return 1e3 * min(times)


def ours(points):
    objectives = points.shape[2]
    corner = CORNER[objectives]
    populations = points[:, :40]
    rank = ranks(populations)
    measured = {
        "non_dominated": best_of(lambda: non_dominated(points)),
        "hypervolume": best_of(lambda: hypervolume(points, corner)),
        "hypervolume_along": best_of(lambda: hypervolume_along(points, corner)),
        "igd_plus": best_of(lambda: igd_plus(points, points[0, :40])),
        "ranks_of_40": best_of(lambda: ranks(populations)),
        "crowding_of_40": best_of(lambda: crowding(populations, rank)),
    }
    if objectives == 2:
        measured["attainment"] = best_of(lambda: attainment(points))
    return measured


def moocores(points):
    """The same with moocore, a loop over the runs; along a trajectory, a loop over its steps as well."""
    import moocore

    corner = CORNER[points.shape[2]]
    populations = points[:, :40]
    some = points[: max(1, len(points) // 20)]  # every step from scratch: a twentieth of the runs is enough to know
    along = best_of(
        lambda: [moocore.hypervolume(one[: n + 1], ref=corner) for one in some for n in range(some.shape[1])], 1
    )
    return {
        "non_dominated": best_of(lambda: [moocore.is_nondominated(one, keep_weakly=True) for one in points]),
        "hypervolume": best_of(lambda: [moocore.hypervolume(one, ref=corner) for one in points]),
        "hypervolume_along": along * len(points) / len(some),
        "igd_plus": best_of(lambda: [moocore.igd_plus(one, ref=points[0, :40]) for one in points]),
        "ranks_of_40": best_of(lambda: [moocore.pareto_rank(one) for one in populations]),
    }


def pymoos(points):
    from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance
    from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

    populations = points[:, :40]
    sort = NonDominatedSorting()
    return {
        "ranks_of_40": best_of(lambda: [sort.do(one) for one in populations]),
        "crowding_of_40": best_of(lambda: [calc_crowding_distance(one) for one in populations]),
    }


PEERS = {"moocore": moocores, "pymoo": pymoos}


def measure(runs, steps):
    rows = {}
    for objectives in (2, 3):
        points = trajectories(runs, steps, objectives)
        rows[f"{objectives} objectives"] = row = {}
        for name, function in {"ours": ours, **PEERS}.items():
            if name != "ours":
                try:
                    importlib.import_module(name)
                except ImportError:
                    continue
            elif objectives > 2:
                try:
                    importlib.import_module("moocore")
                except ImportError:
                    break
            row[name] = {key: round(value, 2) for key, value in function(points).items()}
    return rows


def test_hypervolume_along_500x200(benchmark):
    benchmark(hypervolume_along, trajectories(500, 200, 2), CORNER[2])


def test_ranks_of_500_populations(benchmark):
    benchmark(ranks, trajectories(500, 40, 2))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--out", type=Path, help="write the numbers there as JSON")
    arguments = parser.parse_args()
    measured = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": f"Python {platform.python_version()}, numpy {np.__version__}",
        "runs": arguments.runs,
        "steps": arguments.steps,
        "milliseconds": measure(arguments.runs, arguments.steps),
    }
    text = json.dumps(measured, indent=1)
    print(text)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
