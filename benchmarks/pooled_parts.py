"""What the parts of `autoshrink.pooled` are worth, at equal starts, beside its peers.

    python benchmarks/pooled_parts.py --out results/pooled_parts.csv [--runs 40]

Embedded table, three data sets. Exact: one trial as the signal (`val@200:trial0`, `val@200:trial1`): how far the best
evaluated is from the signal's maximum after 25, 50, 100 and 200 evaluations, and the share of runs that are there.
Noisy: a trial an evaluation (`val@200:random`): the share of runs whose own answer is the optimum of the means, at
budgets of 100, 192 and 300.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

import nasharness
from nasharness.search import Problem

DATASETS = ("cifar10", "cifar100", "ImageNet16-120")
PARTS = {
    "default": {},
    "flat": {"topology": False},
    "growth=10": {"growth": 10.0},
    "explore=1": {"explore": 1.0},
    "no repeats": {"repeats": 0.0},
}
PEERS = ("gp", "nas-bowl", "local-search", "rea")


def exact(name, settings, start, runs):
    """Mean distance from the signal's maximum and share of runs at it, over data sets and signals: a row a budget."""
    found = {budget: [] for budget in (25, 50, 100, 200)}
    for dataset in DATASETS:
        for trial in ("trial0", "trial1"):
            measure = f"val@200:{trial}"
            problem = Problem.create(
                dataset=dataset, table="embedded", signal=measure, final=measure, evaluations=200, start=start
            )
            trajectories = nasharness.run(name, problem, runs=runs, settings=settings).trajectories
            best = np.maximum.accumulate(np.where(trajectories.made(), trajectories.signal, -np.inf), axis=1)
            for budget, gaps in found.items():
                gaps.append(problem.truth().optimum - best[:, min(budget, best.shape[1]) - 1])
    for budget, gaps in found.items():
        joined = np.concatenate(gaps)
        yield budget, f"{joined.mean():.3f}", f"{(joined < 1e-6).mean():.3f}"


def noisy(name, settings, start, runs):
    """Share of runs whose own answer is the optimum: a row a data set and budget."""
    for dataset in DATASETS:
        for budget in (100, 192, 300):
            problem = Problem.create(
                dataset=dataset, table="embedded", signal="val@200:random", final="val@200:mean",
                evaluations=budget, start=start,
            )  # fmt: skip
            result = nasharness.run(name, problem, runs=runs, settings=settings)
            gap = problem.truth().optimum - problem.truth().score(result.recommended)
            yield dataset, budget, f"{gap.mean():.3f}", f"{(gap < 1e-6).mean():.3f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=40)
    arguments = parser.parse_args()
    rows = []

    def keep(*row):
        rows.append(row)
        print(*row, flush=True)

    searchers = [("autoshrink.pooled", part, settings) for part, settings in PARTS.items()]
    searchers += [(name, "default", {}) for name in PEERS]
    for name, part, settings in searchers:
        if part in ("default", "no repeats"):
            for row in noisy(name, settings, "own", arguments.runs):
                keep("noisy", name, part, "own", *row, arguments.runs)
        if part != "no repeats":  # an exact signal is not repeated
            for row in exact(name, settings, "random:10", arguments.runs):
                keep("exact", name, part, "random:10", "all", *row, arguments.runs)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        header = ("signal", "algorithm", "part", "start", "dataset", "evaluations", "regret", "at_optimum", "runs")
        writer.writerow(header)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
