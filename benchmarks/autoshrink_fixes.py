"""What does each fix of AutoShrink's official code do by itself, on every table that is here?

    python benchmarks/autoshrink_fixes.py --out results/autoshrink_fixes.csv [--runs 500] [--evaluations 100]

Every behaviour of the official code that a table can show is a setting (docs/reproduction/autoshrink.md). Each is asked
about three times: added to the official code (`alone`: `autoshrink.official` with this one fix against without), added
to it once the weight of the cost is gone, which hides the others (`after cost_weight`), and taken from ours (`missing`:
`autoshrink` as it is against without this one fix). Both have the same seeds and the same budget;
effects are points of the final metric of the algorithm's own answer, positive where the fix helps. The chance of any
false verdict is 2 % for a fix on the data sets of a table. Tables: all that are installed and that AutoShrink can
search, by their own protocol; of sss the tests of CIFAR-10 lead to those of CIFAR-100.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import nasharness
from nasharness import spaces
from nasharness.errors import NasharnessError
from nasharness.search import registry
from nasharness.studies.plan import measured_datasets
from nasharness.tables import table_names

#: Where a table's own protocol answers nothing: what leads, to what.
PROTOCOLS = {("sss", "light"): {"datasets": ["cifar100"], "signal": "cifar10:test@90"}}


def fixes():
    """Settings in which the official code differs from ours: name -> (ours, official)."""
    ours, official = (registry.get(name).defaults for name in ("autoshrink", "autoshrink.official"))
    return {name: (ours[name], value) for name, value in official.items() if value != ours[name]}


def asked(name, ours, official):
    """(how, NEW, OLD) for each question about a fix."""
    yield "alone", f"autoshrink.official({name}={ours})", "autoshrink.official"
    if name != "cost_weight":
        freed = "autoshrink.official(cost_weight=0"
        yield "after cost_weight", f"{freed}, {name}={ours})", f"{freed})"
    yield "missing", "autoshrink", f"autoshrink({name}={official})"


def problems():
    """(space, table, what `nasharness.validate` is told) for every table here that AutoShrink can search."""
    record = registry.get("autoshrink")
    for space in spaces.names():
        if record.unfit(spaces.get(space)):
            continue
        for table in table_names(space):
            given = {"space": space, "table": table, "datasets": "all"} | PROTOCOLS.get((space, table), {})
            try:
                measured_datasets(spaces.get(space), {"table": table, "datasets": given["datasets"]})
            except NasharnessError as error:
                print(f"{table} of {space}: left out: {error}")
                continue
            yield space, table, given


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--evaluations", type=int, default=100)
    arguments = parser.parse_args()
    rows = []
    for space, table, given in problems():
        for name, (ours, official) in fixes().items():
            for how, new, old in asked(name, ours, official):
                try:
                    found = nasharness.validate(
                        new, old, runs=arguments.runs, evaluations=arguments.evaluations, **given
                    )
                except NasharnessError as error:
                    print(f"{table} of {space}, {name}: left out: {error}")
                    continue
                for answer in found.answers:
                    rows.append(
                        {
                            "fix": name, "official": official, "ours": ours, "how": how, "space": space, "table": table,
                            "dataset": answer.dataset, "evaluations": arguments.evaluations, "runs": answer.runs,
                            "effect": f"{answer.effect:.4f}", "low": f"{answer.interval[0]:.4f}",
                            "high": f"{answer.interval[1]:.4f}", "detectable": f"{answer.detectable:.4f}",
                            "verdict": answer.verdict,
                        }
                    )  # fmt: skip
                    print(*rows[-1].values(), flush=True)
    with arguments.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
