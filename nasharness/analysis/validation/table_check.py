"""Check a table against published anchors: single records, whole-space statistics, optima.

They are those of NATS-Bench (arXiv 2009.00437) and of its published files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nasharness.analysis.layout import plain
from nasharness.tables import Table
from nasharness.tables.importers.nats_official.anchors import (
    ACCURACY_TOLERANCE,
    ANCHORS,
    TIME_TOLERANCE,
    accuracies,
    costs,
)

Floats = NDArray[np.float64]
OK, WRONG, ABSENT = "ok", "differs", "not in the table"

#: accuracy of single seeds, where a table has one seed in place of the mean: 12-epoch validation on CIFAR-10
SINGLE_SEEDS: dict[str, dict[int, tuple[float, ...]]] = {
    "tss": {0: (64.016, 62.712), 11: (62.580, 63.976), 284: (71.708, 74.044)},
    "sss": {11: (74.212, 73.164, 72.936)},
}
QUANTILES = {"median": 50, "95th percentile": 95, "99th percentile": 99}


def _statistics(mean: float, *quantiles: float) -> tuple[tuple[str, float, float], ...]:
    """(name, published value, tolerance) of each."""
    return ("mean", mean, 6e-5), *((name, value, 0.0051) for name, value in zip(QUANTILES, quantiles, strict=True))


#: whole-space statistics of test accuracy, by space and column; the percentiles were printed with two decimals
WHOLE: dict[str, dict[tuple[str, int], tuple[tuple[str, float, float], ...]]] = {
    "tss": {
        ("cifar10", 200): _statistics(87.0629, 90.75, 93.28, 93.77),
        ("cifar100", 200): _statistics(61.4055, 65.29, 70.11, 71.13),
        ("ImageNet16-120", 200): _statistics(33.5864, 36.39, 44.07, 45.39),
    },
    "sss": {("cifar10", 90): (("mean", 91.08546, 5e-4),)},
}
#: the best architecture of a column and its accuracy
BEST: dict[str, dict[tuple[str, str, int], tuple[int | None, float | None]]] = {
    "tss": {
        ("cifar10", "test_acc", 200): (6111, 94.37),
        ("cifar100", "test_acc", 200): (9930, 73.51),
        ("ImageNet16-120", "test_acc", 200): (857, 47.31),
        ("cifar10-valid", "val_acc", 200): (None, 91.61),
        ("cifar100", "val_acc", 200): (9930, 73.49),
        ("ImageNet16-120", "val_acc", 200): (10676, 46.73),
        ("cifar10-valid", "val_acc", 12): (13714, None),
    },
    "sss": {},
}
#: cells of the topology space whose output is constant: 10 % on CIFAR-10, and no other is below 15 %
CONSTANT = {"tss": 341}


@dataclass(frozen=True)
class Check:
    """One comparison: what, published value, found value as text, and OK, WRONG or ABSENT."""

    what: str
    published: str
    found: str
    verdict: str


def check_table(table: Table) -> list[Check]:
    """Every anchor of the table's space, also those that it has no column for, and its own checksums."""
    damage = table.verify()
    checks = [
        Check(
            "checksums of its columns", "as recorded", damage[0] if damage else "as recorded", WRONG if damage else OK
        )
    ]
    if damage or table.space not in ANCHORS:  # what is damaged is not read
        return checks
    checks += _records(table)
    return [*checks, *_whole_space(table), *_constant(table), *_optima(table)]


def _values(table: Table, dataset: str, metric: str, schedule: int | None) -> Floats | None:
    if not table.has(dataset, metric, schedule):
        return None
    return table.values(dataset, metric, schedule)


def _compare(what: str, published: float, found: float | None, tolerance: float) -> Check:
    if found is None or np.isnan(found):
        return Check(what, f"{published:.6g}", "-", ABSENT)
    return Check(what, f"{published:.6g}", f"{found:.6g}", OK if abs(found - published) <= tolerance else WRONG)


def _records(table: Table) -> list[Check]:
    checks = []
    for index in ANCHORS[table.space]:
        for dataset, metric, schedule, published in accuracies(table.space, index):
            values = _values(table, dataset, metric, schedule)
            what = f"architecture {index}: {dataset} {metric}@{schedule}"
            check = _compare(what, published, None if values is None else values[index], ACCURACY_TOLERANCE)
            if check.verdict == WRONG and values is not None:
                found = float(values[index])
                single = (
                    SINGLE_SEEDS[table.space].get(index, ()) if (dataset, schedule) == ("cifar10-valid", 12) else ()
                )
                if any(abs(found - one) <= ACCURACY_TOLERANCE for one in single):
                    check = Check(what, check.published, f"{check.found} (one of the published seeds)", OK)
                elif abs(found - published) <= 0.00501 and round(found, 2) == round(found, 4):
                    check = Check(what, check.published, f"{check.found} (to two decimals)", OK)
            checks.append(check)
        for dataset, cost, ms in costs(table.space, index):
            train, extra = _values(table, dataset, "train_s", None), _values(table, dataset, "val_s", None)
            what, seconds, tolerance = f"architecture {index}: {dataset} seconds of a 12-epoch run", None, 0.0
            if train is not None and extra is not None:
                seconds = 12 * train[index] + extra[index]
                estimated = "estimated" in table.column(dataset, "val_s").note
                tolerance = (0.013 if estimated else TIME_TOLERANCE) * cost
                what += " (estimated)" if estimated else ""
            checks.append(_compare(what, cost, seconds, tolerance))
            values = _values(table, dataset, "latency_s", None)
            latency = None if values is None else 1000 * values[index]
            checks.append(_compare(f"architecture {index}: {dataset} latency, ms", ms, latency, TIME_TOLERANCE * ms))
    return checks


def _whole_space(table: Table) -> list[Check]:
    checks = []
    for (dataset, schedule), known in WHOLE[table.space].items():
        values = _values(table, dataset, "test_acc", schedule)
        found: dict[str, float] = {}
        if values is not None and np.isfinite(values).all():
            marks = zip(QUANTILES, np.percentile(values, [*QUANTILES.values()]).tolist(), strict=True)
            found = {"mean": float(values.mean())} | dict(marks)
        for name, wanted, tolerance in known:
            what = f"{dataset} test_acc@{schedule}, {name} of all"
            checks.append(_compare(what, wanted, found.get(name), tolerance))
    return checks


def _constant(table: Table) -> list[Check]:
    if table.space not in CONSTANT:
        return []
    what, expected = (
        "cells with constant output: cifar10 test_acc@200 is 10, all others above 15",
        CONSTANT[table.space],
    )
    values = _values(table, "cifar10", "test_acc", 200)
    if values is None:
        return [Check(what, str(expected), "-", ABSENT)]
    low, between = int((np.abs(values - 10) < 0.005).sum()), int(((values < 15) & (np.abs(values - 10) >= 0.005)).sum())
    found = f"{low}" + (f", and {between} in between" if between else "")
    return [Check(what, str(expected), found, OK if low == expected and not between else WRONG)]


def _optima(table: Table) -> list[Check]:
    checks = []
    for (dataset, metric, schedule), (index, published) in BEST[table.space].items():
        values = _values(table, dataset, metric, schedule)
        what = f"best of {dataset} {metric}@{schedule}"
        wanted = " ".join(
            [*([] if index is None else [f"index {index}"]), *([] if published is None else [f"{published:.2f}"])]
        )
        if values is None or not np.isfinite(values).all():
            checks.append(Check(what, wanted, "-", ABSENT))
            continue
        if index == 13714 and len([s for s in table.column(dataset, metric, schedule).seeds if s != "mean"]) < 2:
            # the published best is by the mean of two trials; a table of one trial has another, rightly
            checks.append(Check(what + ", mean of both seeds", wanted, "-", ABSENT))
            continue
        best = int(values.argmax())
        good = (index is None or values[index] >= values[best] - 1e-6) and (
            published is None or abs(values[best] - published) <= 0.00501
        )
        checks.append(Check(what, wanted, f"index {best} {values[best]:.2f}", OK if good else WRONG))
    return checks


def render(table: Table, checks: Sequence[Check]) -> str:
    """A line a check."""
    rows = [[check.what, check.published, check.found, check.verdict] for check in checks]
    counts = {verdict: sum(check.verdict == verdict for check in checks) for verdict in (OK, WRONG, ABSENT)}
    return "\n".join(
        [
            f"table      {table.name} of space {table.space}: {table.version}, checksum {table.checksum[:12]}",
            "",
            plain(["anchor", "published", "here", "verdict"], rows),
            "",
            f"verdict    {', '.join(f'{count} {verdict}' for verdict, count in counts.items())}",
        ]
    )
