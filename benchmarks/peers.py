"""Strong peers side by side: mean final metric at 25, 50, 100 and 200 evaluations, all from the same random starts.

    python benchmarks/peers.py --out results/peers.csv [--runs 200]

Every run begins with the same 10 random architectures of its seed (``--start random:10``). Light table: 12-epoch
validation -> 200-epoch test, as far as the table has it. Embedded: the mean of the trials of the 200-epoch validation
accuracy, searched by and scored by, so that no noise stands between; its optimum is 91.61 / 73.49 / 46.73.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np

import nasharness
from nasharness.errors import NasharnessError
from nasharness.search import Problem
from nasharness.tables import table_names

ALGORITHMS = (
    "random", "rea", "local-search", "tpe", "tpe.paper", "gp", "gp.hamming", "gp.paper", "nas-bowl", "nas-bowl.paper",
    "bananas", "bananas.paper", "npenas", "npenas.paper", "weaknas", "autoshrink.pooled",
)  # fmt: skip
BUDGETS = (25, 50, 100, 200)


def problems():
    """The problems that can be asked here, each with the name of its protocol."""
    for table, more in (("light", {}), ("embedded", {"signal": "val@200:mean", "final": "val@200:mean"})):
        if table not in table_names("tss"):
            print(f"no table {table} here")
            continue
        for dataset in ("cifar10", "cifar100", "ImageNet16-120"):
            try:
                yield (
                    table,
                    Problem.create(dataset=dataset, table=table, evaluations=BUDGETS[-1], start="random:10", **more),
                )
            except NasharnessError as error:
                print(f"{table} {dataset}: {error}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--algo", default=",".join(ALGORITHMS))
    arguments = parser.parse_args()
    rows = []
    for table, problem in problems():
        truth = problem.truth().values
        for name in arguments.algo.split(","):
            began = time.process_time()
            result = nasharness.run(name, problem, runs=arguments.runs)
            cost = (time.process_time() - began) / result.evaluations.sum()
            found = truth[result.trajectories.incumbents()]
            row = {"table": table, "dataset": problem.dataset, "algorithm": name, "runs": arguments.runs}
            for budget in BUDGETS:
                scores = found[:, budget - 1]
                row[f"mean_{budget}"] = f"{scores.mean():.3f}"
                row[f"ci95_{budget}"] = f"{1.96 * scores.std(ddof=1) / np.sqrt(len(scores)):.3f}"
            row["optimum"] = f"{result.optimum:.3f}"
            row["cpu_us_per_evaluation"] = f"{1e6 * cost:.0f}"
            rows.append(row)
            print(*row.values(), flush=True)
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
