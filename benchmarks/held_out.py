"""NAS-OoD on turned digits beside its controls: every held-out domain, several seeds, equal epochs, one CSV row a run.

    python benchmarks/held_out.py --seeds 5 --targets=-40,40 --arms learned,none -o results/nas_ood.csv

Rows that the file has are not computed again. Last it prints each arm's accuracy on what was held out, as selected on
source images, and how far it is from the search without a generator, paired by seed and domain.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np

from nasharness.search.interval import summarise
from nasharness.supernets.run import run_one_shot

ARMS = {
    "learned": {},
    "none": {"generator": "none"},
    "random-generator": {"generator": "random"},
    "augment": {"generator": "augment"},
    "random-cell": {"generator": "none", "cell": "random"},
    "fixed-cell": {"generator": "none", "cell": "15000"},
}
FIELDS = ("arm", "target", "seed", "epochs", "channels", "source", "held_out", "last", "oracle", "arch", "seconds")


def measure(arm: str, target: str, seed: int, epochs: int, channels: int, changes: dict[str, str]) -> dict[str, object]:
    """One run of an arm."""
    result = run_one_shot(
        "nas-ood", images="digits", target_domain=target, seed=seed, epochs=epochs, channels=channels, device="cpu",
        settings=ARMS[arm] | changes,
    )  # fmt: skip
    (run,) = result.runs
    return {
        "arm": arm, "target": target, "seed": seed, "epochs": epochs, "channels": channels,
        "source": run.end.signal, "held_out": run.end.held_out, "last": run.chosen("last").held_out,
        "oracle": run.chosen("oracle").held_out, "arch": run.epochs[-1].arch, "seconds": run.seconds,
    }  # fmt: skip


def told(rows: list[dict[str, str]]) -> list[str]:
    """A line an arm: mean over seeds and domains with its interval, and the difference from ``none``."""
    by_arm = {arm: {(row["target"], row["seed"]): row for row in rows if row["arm"] == arm} for arm in ARMS}
    lines = []
    for arm, found in by_arm.items():
        if not found:
            continue
        value = {key: np.array([float(row[key]) for row in found.values()]) for key in FIELDS[5:9]}
        line = f"{arm:<17} {len(found):>3} runs  " + "  ".join(f"{key} {value[key].mean():.1f}" for key in value)
        both = sorted(found.keys() & by_arm["none"].keys())
        if arm != "none" and len(both) > 1:
            seeds = sorted({seed for _, seed in both})
            gaps = [
                np.mean(
                    [
                        float(found[at]["held_out"]) - float(by_arm["none"][at]["held_out"])
                        for at in both
                        if at[1] == seed
                    ]
                )
                for seed in seeds
            ]
            summary = summarise(np.array(gaps))
            line += f"  against none {summary['mean']:+.2f}, 95 % {summary['ci95']} over {len(seeds)} seeds"
        lines.append(line)
    return lines


def main() -> None:
    """Measure what is missing, and tell."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--targets", default="-40,-20,0,20,40")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("-o", "--out", type=Path, required=True)
    asked = parser.parse_args()
    changes = dict(item.split("=", 1) for item in asked.set)
    rows = list(csv.DictReader(asked.out.open())) if asked.out.exists() else []
    done = {(row["arm"], row["target"], row["seed"]) for row in rows}
    for seed in range(asked.seeds):
        for target in asked.targets.split(","):
            for arm in asked.arms.split(","):
                if (arm, target, str(seed)) in done:
                    continue
                row = measure(arm, target, seed, asked.epochs, asked.channels, changes)
                with asked.out.open("a", newline="") as file:
                    writer = csv.DictWriter(file, FIELDS)
                    if not file.tell():
                        writer.writeheader()
                    writer.writerow(row)
                print(row, file=sys.stderr, flush=True)
    print("\n".join(told(list(csv.DictReader(asked.out.open())))))


if __name__ == "__main__":
    main()
