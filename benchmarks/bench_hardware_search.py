"""How good the fronts of `autoshrink.pareto` are on real devices, and how good the best under a limit is.

    python benchmarks/bench_hardware_search.py --out results/hardware_search.csv [--runs 200] [--only tss/cifar10,...]

Fronts: mean hypervolume, as a share of the exact front's, of error against one cost at 50, 100 and 200 evaluations,
and what `autoshrink.pareto` is ahead of the others, seed by seed: NSGA-II, that of pymoo at the same budgets (where it
is installed: `pip install pymoo`), Pareto local search and random search. On tss, CIFAR-10: six costs; on its other
data sets, and on the spaces sss, channel-resnet and macro: the costs that are known there. Limits, tss and CIFAR-10:
the 25th and the 50th percentile of a device; how far the answer is from the best there is, and how far it would be if
*everything* that keeps the limit were evaluated once and the best by the signal answered. Every protocol that is here:
light (12-epoch validation -> 200-epoch test; needs the light table), embedded (200-epoch validation of one trial ->
mean of the others), and those of the other spaces' tables. What is not here is left out and said; the edge GPU and the
edge TPU are of HW-NAS-Bench (docs/how-to/hardware.md).
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import pymoo_peer

import nasharness
from nasharness.errors import NasharnessError
from nasharness.search import Problem
from nasharness.search.objective import reader
from nasharness.tables import table_names

COSTS = ("macs", "params", "eyeriss_latency", "gold_6226_latency", "raspi4_latency", "edgegpu_energy")
DEVICES = (
    "eyeriss_latency", "fpga_latency", "raspi4_latency", "pixel3_latency", "edgegpu_latency", "edgetpu_latency",
    "gold_6226_latency",
)  # fmt: skip
#: (space, data set) -> costs
QUESTIONS = {
    ("tss", "cifar10"): COSTS,
    ("tss", "cifar100"): ("macs", "params", "eyeriss_latency", "fpga_latency"),
    ("tss", "ImageNet16-120"): ("macs", "params", "eyeriss_latency"),
    ("sss", "cifar10"): ("macs", "params"),
    ("sss", "cifar100"): ("macs", "params"),
    ("channel-resnet", "cifar10"): ("macs", "params"),
    ("macro", "cifar10"): ("macs", "params"),
}
#: a table of tests alone is searched by another data set
TRANSFERS = {("sss", "cifar10"): "cifar100:test@90", ("sss", "cifar100"): "cifar10:test@90"}
SEARCHERS = ("autoshrink.pareto", "nsga2", "pymoo-nsga2", "local-search", "random")
LIMITED = ("autoshrink.pooled", "autoshrink", "rea", "nsga2", "random")
BUDGETS = (50, 100, 200)


def interval(values):
    """Mean and the half width of its 95 % interval, by the normal approximation."""
    return f"{values.mean():.4f}", f"{1.96 * values.std(ddof=1) / np.sqrt(len(values)):.4f}"


def problem(table, space="tss", dataset="cifar10", **options):
    """A problem, or None where a column is not here."""
    try:
        signal = None if table == "embedded" else TRANSFERS.get((space, dataset))
        return Problem.create(space, dataset, table=table, signal=signal, **options)
    except NasharnessError as error:
        print(f"{space}/{dataset}, {table}: {error}")
        return None


def searchers():
    """Those that are here."""
    try:
        pymoo_peer.register()
    except ImportError:
        print("pymoo is not installed (pip install pymoo): its NSGA-II is left out")
        return [name for name in SEARCHERS if name != "pymoo-nsga2"]
    return SEARCHERS


def of_fronts(space, dataset, table, runs):
    """A row for each cost, budget and searcher: share of the exact hypervolume, and how far behind it is."""
    for cost in QUESTIONS[space, dataset]:
        for evaluations in BUDGETS:
            question = problem(table, space, dataset, objectives=["error", cost], evaluations=evaluations)
            if question is None:
                break
            shares = {name: nasharness.run(name, question, runs=runs).front.hypervolume for name in searchers()}
            for name, share in shares.items():
                ahead = interval(shares[SEARCHERS[0]] - share) if name != SEARCHERS[0] else ("", "")
                asked = (space, dataset, table, cost, "", evaluations, name, runs)
                yield ("hypervolume", *asked, *interval(share), *ahead, "")


def of_everything(question, ids, draws=200):
    """Mean final metric of the best of ``ids`` by one evaluation of each."""
    evaluator, scores = question.evaluator(), []
    for _, rng in zip(range(draws), np.random.default_rng(0).spawn(draws), strict=True):
        trials = evaluator.drawn(ids, rng.random(len(ids)))
        signal = evaluator.signal_of_trial(ids, len(evaluator.epochs) - 1, trials)
        best = rng.choice(np.flatnonzero(signal == signal.max()))  # of equals any
        scores.append(question.truth().score(ids[best], np.int64(1) << trials[best]))
    return np.mean(scores)


def of_limits(space, dataset, table, runs):
    """A row for each device, percentile and searcher: percentage points that the answer is below the best there is."""
    for device in DEVICES if (space, dataset) == ("tss", "cifar10") else ():
        bare = problem(table, objectives=["error", device])
        if bare is None:
            continue
        everything = np.arange(bare.space.size)
        costs = reader(bare.table, bare.space, bare.dataset)(bare.objectives[1])(everything)
        for percentile in (25, 50):
            bound = np.nanpercentile(costs, percentile)
            question = problem(table, limits=[f"{device} <= {bound:.6g}"], evaluations=200)
            kept = np.flatnonzero(question.known().excess(everything) == 0)
            truth = question.truth()
            left = f"{truth.optimum - of_everything(question, kept):.4f}"
            for name in LIMITED:
                result = nasharness.run(name, question, runs=runs)
                regret = interval(truth.optimum - result.recommended_final)
                yield ("regret under a limit", space, dataset, table, device, percentile, 200, name, runs, *regret, "",
                       "", left)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--only", help="SPACE/DATASET,...: these alone")
    parser.add_argument("--fronts", action="store_true", help="no limits")
    parser.add_argument("--limits", action="store_true", help="no fronts")
    arguments = parser.parse_args()
    wanted = arguments.only.split(",") if arguments.only else [f"{space}/{dataset}" for space, dataset in QUESTIONS]
    rows = []
    for space, dataset in [tuple(name.split("/")) for name in wanted]:
        # the official archive's protocol is the light table's; where both are here one is enough
        for table in [name for name in table_names(space) if name != "official" or "light" not in table_names(space)]:
            for part in [of_limits] * (not arguments.fronts) + [of_fronts] * (not arguments.limits):
                for row in part(space, dataset, table, arguments.runs):
                    print(*row, flush=True)
                    rows.append(row)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ("measure", "space", "dataset", "table", "cost", "percentile", "evaluations", "algorithm", "runs", "mean",
             "ci95", "ahead", "ahead_ci95", "everything")
        )  # fmt: skip
        writer.writerows(rows)


if __name__ == "__main__":
    main()
