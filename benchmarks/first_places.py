"""Is `autoshrink.pooled` first, or not to be told from the first, among all that is registered, at equal starts?

    python benchmarks/first_places.py --out results/first_places.csv [--runs 20]

Every multi-trial algorithm with its defaults, all from the same ten random architectures of a seed; tss, the light
table's 12-epoch validation and, in its place, one trial of the embedded table's 200-epoch validation (`trial0`,
`trial1`), each scored by the best final metric that is here (tests after 200 epochs; for ImageNet16-120 the mean
200-epoch validation); three data sets; 25, 50, 100 and 200 evaluations. A cell is a signal, a data set and a budget.
The final metric of the algorithm's own answer counts. Level with the first: the 95 % interval of the difference, paired
by seed, reaches 0, without a correction for how many were compared.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

import nasharness
from nasharness.errors import NasharnessError
from nasharness.search import Problem, registry
from nasharness.tables import open_table, table_names

DATASETS = ("cifar10", "cifar100", "ImageNet16-120")
BUDGETS = (25, 50, 100, 200)
OURS = "autoshrink.pooled"
#: Searches that ask for more than a signal: several objectives, stages, environments, or the whole signal.
EXTRA = ("objectives", "stages", "environments", "whole-signal", "images")


def finals(dataset):
    """What an architecture is scored by, whatever the signal: float ``[n]``."""
    if dataset != "ImageNet16-120" and "light" in table_names("tss"):
        return open_table("tss", "light").values(dataset, "test_acc", 200)
    return open_table("tss", "embedded").values(dataset, "val_acc", 200)


def problems(dataset, evaluations):
    """(name of the signal, problem) of each realisation that is here."""
    asked = [("embedded", f"val@200:trial{number}", "val@200:mean") for number in (0, 1)]
    asked.append(("light", "val@12", "test@200" if dataset != "ImageNet16-120" else "test@12"))
    for table, signal, final in asked:
        try:
            yield (
                f"{table} {signal}",
                Problem.create(
                    dataset=dataset, table=table, signal=signal, final=final, evaluations=evaluations, start="random:10"
                ),
            )
        except NasharnessError as error:
            print(f"{table} {dataset}: {error}")


def searchers(problem):
    """Names of all that can search it from a given start."""
    for name in registry.names(kind="multi-trial"):
        record = registry.get(name)
        if name.startswith("optuna") or set(record.needs) & set(EXTRA):
            continue
        try:
            nasharness.run(name, problem, runs=1)
        except NasharnessError as error:
            print(f"{name}: left out: {error}")
            continue
        yield name


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=20)
    arguments = parser.parse_args()
    names = list(searchers(next(problems(DATASETS[0], BUDGETS[0]))[1]))
    rows, first, cells = [], 0, 0
    for dataset in DATASETS:
        truth = finals(dataset)
        for budget in BUDGETS:
            for signal, problem in problems(dataset, budget):
                scores = {name: truth[nasharness.run(name, problem, runs=arguments.runs).recommended] for name in names}
                best = max(names, key=lambda name: scores[name].mean())
                level = []
                for name in names:
                    behind = scores[best] - scores[name]
                    half = 1.96 * behind.std(ddof=1) / np.sqrt(arguments.runs)
                    level.append(bool(behind.mean() <= half))
                    rows.append(
                        (signal, dataset, budget, name, arguments.runs, f"{scores[name].mean():.3f}",
                         f"{behind.mean():.3f}", f"{half:.3f}", int(level[-1]))
                    )  # fmt: skip
                cells += 1
                first += level[names.index(OURS)]
                print(signal, dataset, budget, "first:", best, f"{OURS} level: {level[names.index(OURS)]}", flush=True)
    print(f"{OURS} is first or level with the first in {first} of {cells} cells")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ("signal", "dataset", "evaluations", "algorithm", "runs", "mean", "behind_the_first", "ci95", "level")
        )
        writer.writerows(rows)


if __name__ == "__main__":
    main()
