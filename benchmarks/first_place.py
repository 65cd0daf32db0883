"""Who is first at which budget: mean final metric of every algorithm at 25 to 1,000 evaluations.

    python benchmarks/first_place.py --out results/first_place.csv

Both protocols that are here: light (12-epoch validation -> 200-epoch test; needs the light table) and embedded
(200-epoch validation of one trial -> mean over the trials not shown). Both scores: `final` of the incumbent,
`recommended` of the algorithm's own answer. Runs: 500, and 100 for budgets above 200 of the model-based ones, whose
cost grows.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import nasharness
from nasharness.errors import NasharnessError
from nasharness.search import Problem
from nasharness.tables import table_names

ALGORITHMS = (
    "random", "rea", "reinforce", "bohb", "local-search", "darts.table",
    "autoshrink.set", "autoshrink", "autoshrink.pooled",
)  # fmt: skip
COSTLY = ("bohb", "autoshrink.pooled")
BUDGETS = (25, 50, 100, 200, 500, 1_000)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=500)
    arguments = parser.parse_args()
    rows = []
    for table in [name for name in ("light", "embedded") if name in table_names("tss")]:
        for dataset in ("cifar10", "cifar100", "ImageNet16-120"):
            for evaluations in BUDGETS:
                try:
                    problem = Problem.create(dataset=dataset, table=table, evaluations=evaluations)
                except NasharnessError as error:
                    print(f"{table} {dataset}: {error}")
                    break
                for name in ALGORITHMS:
                    runs = min(arguments.runs, 100) if evaluations > 200 and name in COSTLY else arguments.runs
                    summary = nasharness.run(name, problem, runs=runs).summary()
                    row = {
                        "table": table,
                        "dataset": dataset,
                        "evaluations": evaluations,
                        "algorithm": name,
                        "runs": runs,
                    }
                    for score in ("final", "recommended"):
                        row |= {f"{score}_mean": f"{summary[score]['mean']:.3f}"}
                        row |= {f"{score}_ci95": " ".join(f"{bound:.3f}" for bound in summary[score]["ci95"])}
                    rows.append(row | {"spent": f"{summary['evaluations']['mean']:.1f}"})
                    print(*rows[-1].values(), flush=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
