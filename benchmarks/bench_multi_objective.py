"""Microseconds an evaluation of searches for fronts, against pymoo's NSGA-II and Syne Tune's MOASHA, in the same run.

    python benchmarks/bench_multi_objective.py [--runs 500] [--evaluations 200] [--out FILE.json]

What is timed, in processor time, is a search of error against the latency on a Raspberry Pi 4 on tss: proposing,
looking up, being told. The peers run one search at a time in their own loops; ours are timed with all runs at once, as
a user's command has them, and with one run alone. Sides take turns, medians count. A peer that is not installed is left
out, with the command that brings it: `pip install pymoo`, `pip install syne-tune`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import pymoo_peer

import nasharness
from nasharness.fronts import hypervolume
from nasharness.search import Problem
from nasharness.search.front import along

OBJECTIVES = ("error", "raspi4_latency")
PIP = {"pymoo-nsga2": "pip install pymoo", "MOASHA": "pip install syne-tune"}
ROUNDS = 3


def problem(evaluations):
    return Problem.create("tss", table="embedded", objectives=OBJECTIVES, evaluations=evaluations)


def ours(name, question, runs):
    """A function that searches, and how many evaluations that makes."""
    return lambda: nasharness.run(name, question, runs=runs), runs * question.evaluations


def pymoos(question, runs):
    """pymoo's NSGA-II in its own loop, with a function that looks the table up."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import Problem as Sought
    from pymoo.operators.crossover.ux import UniformCrossover
    from pymoo.operators.mutation.pm import PolynomialMutation
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.operators.sampling.rnd import IntegerRandomSampling
    from pymoo.optimize import minimize

    space, signal = question.space, -question.evaluator().expected_signal()
    cost = -question.known().values(1, np.arange(space.size))

    class Table(Sought):
        def __init__(self):
            super().__init__(n_var=6, n_obj=2, xl=0, xu=4, vtype=int)

        def _evaluate(self, x, out, *args, **kwargs):
            ids = space.index(x.astype(np.int8))
            out["F"] = np.stack([signal[ids], cost[ids]], axis=1)

    def search():
        for seed in range(runs):
            one = NSGA2(
                pop_size=pymoo_peer.POPULATION,
                sampling=IntegerRandomSampling(),
                crossover=UniformCrossover(),
                mutation=PolynomialMutation(vtype=float, repair=RoundingRepair()),
            )
            minimize(Table(), one, ("n_eval", question.evaluations), seed=seed, verbose=False)

    return search, runs * question.evaluations


def moashas(question, runs):
    """Syne Tune's MOASHA: suggest, add, one result, complete; no backend, no processes."""
    from syne_tune.backend.trial_status import Trial
    from syne_tune.config_space import choice
    from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA

    space, signal = question.space, -question.evaluator().expected_signal()
    cost = -question.known().values(1, np.arange(space.size))
    configurations = {f"x{place}": choice(list(range(5))) for place in range(6)}

    def search():
        for seed in range(runs):
            scheduler = MOASHA(configurations, list(OBJECTIVES), time_attr="epoch", max_t=1, random_seed=seed)
            for number in range(question.evaluations):
                config = scheduler.suggest().config
                trial = Trial(trial_id=number, config=config, creation_time=None)
                scheduler.on_trial_add(trial)
                arch = int(space.index(np.array([config[f"x{place}"] for place in range(6)], dtype=np.int8)))
                told = {"error": float(signal[arch]), "raspi4_latency": float(cost[arch]), "epoch": 1}
                scheduler.on_trial_result(trial, told)
                scheduler.on_trial_complete(trial, told)

    return search, runs * question.evaluations


def measure(runs, evaluations):
    """Medians of microseconds an evaluation, by side; and seconds for the hypervolumes of a study of ``nsga2``."""
    question = problem(evaluations)
    question.exact_front()
    sides = {}
    for name in ("nsga2", "rea", "local-search", "random"):
        sides[f"{name}, {runs} runs"] = ours(name, question, runs)
        sides[f"{name}, 1 run"] = ours(name, question, 1)
    for name, peer in (("pymoo-nsga2", pymoos), ("MOASHA", moashas)):
        try:
            sides[f"{name}, 1 run"] = peer(question, 1)
        except ImportError as error:
            print(f"{name} is left out ({error}): {PIP[name]}")
    spent = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, (search, count) in sides.items():
            started = time.process_time()
            search()
            spent[name].append(1e6 * (time.process_time() - started) / count)
    found = {name: round(statistics.median(values), 2) for name, values in spent.items()}
    result = nasharness.run("nsga2", question, runs=runs)
    started = time.process_time()
    assert result.front is not None
    fronts = time.process_time() - started
    started = time.process_time()
    along(question, result.trajectories)
    grown = time.process_time() - started
    points = np.nan_to_num(np.stack([-result.trajectories.signal] * 2, axis=-1))
    started = time.process_time()
    hypervolume(points, (0.0, 0.0))
    volumes = time.process_time() - started
    return {
        "microseconds an evaluation": found,
        "seconds of a study": {
            name: round(found[f"{name}, {runs} runs"] * runs * evaluations / 1e6, 3) for name in ("nsga2", "rea")
        }
        | {"its fronts": round(fronts, 3), "their hypervolume along": round(grown, 3)}
        | {"hypervolume of whole trajectories": round(volumes, 3)},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--out", type=Path, help="write the numbers there as JSON")
    arguments = parser.parse_args()
    measured = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": f"Python {platform.python_version()}, numpy {np.__version__}",
        "runs": arguments.runs,
        "evaluations": arguments.evaluations,
        **measure(arguments.runs, arguments.evaluations),
    }
    text = json.dumps(measured, indent=1)
    print(text)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
