"""Published values that an import must reproduce (docs/reproduction/nats-bench.md#anchors).

They were read from the six records that NATS-Bench's repository ships. An archive that says otherwise was changed, or
is read wrongly; either way the table is not what its name promises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import DataError

Columns = Mapping[tuple[str, str, int], NDArray[Any]]

#: where the four groups of three accuracies come from: CIFAR-10, CIFAR-100, ImageNet16-120
VALID = ("cifar10-valid", "cifar100", "ImageNet16-120")
TEST = ("cifar10", "cifar100", "ImageNet16-120")
#: space -> architecture -> 12-epoch val, 12-epoch test, full-length val, full-length test (percent, mean over seeds),
#: seconds of a 12-epoch evaluation (training and one validation pass), latency in ms per batch of 256
ANCHORS: dict[str, dict[int, tuple[tuple[float, float, float], ...]]] = {
    "tss": {
        0: (
            (63.364, 31.84, 18.4667),
            (69.55, 31.26, 17.0),
            (81.9827, 52.70, 28.2111),
            (85.8633, 52.9133, 26.6333),
            (89.2021, 173.8160, 526.1170),
            (13.936, 13.1829, 12.9765),
        ),
        11: (
            (63.278, 33.64, 15.6667),
            (74.0, 32.76, 14.7333),
            (87.94, 67.4533, 30.4111),
            (91.5833, 67.6067, 30.1667),
            (153.6959, 299.9196, 907.9353),
            (16.1633, 16.1389, 16.465),
        ),
        284: (
            (72.876, 40.48, 22.2),
            (79.46, 39.44, 21.7333),
            (86.0467, 61.68, 33.4),
            (88.79, 62.14, 32.4667),
            (60.8990, 117.4970, 355.3226),
            (12.4577, 11.145, 12.1534),
        ),
    },
    "sss": {
        0: (
            (66.48, 23.7067, 14.1444),
            (71.72, 23.7933, 13.3111),
            (76.888, 32.24, 16.6),
            (79.79, 32.3, 15.5333),
            (43.7965, 62.0009, 117.7577),
            (13.0291, 17.9768, 19.1667),
        ),
        11: (
            (73.4373, 41.5467, 20.7222),
            (79.8133, 41.8933, 20.4333),
            (83.724, 54.46, 25.6667),
            (85.77, 53.68, 25.4667),
            (36.6423, 66.8071, 134.6799),
            (15.3008, 17.4456, 19.2626),
        ),
        284: (
            (79.3147, 49.0133, 26.8889),
            (84.1967, 48.9467, 25.1667),
            (86.796, 62.78, 33.3333),
            (89.51, 62.7, 32.7667),
            (41.6258, 73.9287, 143.5110),
            (16.367, 19.7139, 20.5963),
        ),
    },
}
FULL = {"tss": 200, "sss": 90}
#: the published values are rounded to four decimals
ACCURACY_TOLERANCE = 6e-5
#: relative; times are rounded too
TIME_TOLERANCE = 2e-5


def accuracies(space: str, index: int) -> Iterator[tuple[str, str, int, float]]:
    """(data set, metric, epochs, published accuracy) of an architecture of ``ANCHORS``."""
    for group, datasets, metric, schedule in zip(
        ANCHORS[space][index][:4],
        (VALID, TEST) * 2,
        ("val_acc", "test_acc") * 2,
        (12, 12, *[FULL[space]] * 2),
        strict=True,
    ):
        for dataset, published in zip(datasets, group, strict=True):
            yield dataset, metric, schedule, published


def costs(space: str, index: int) -> Iterator[tuple[str, float, float]]:
    """(data set, seconds of a 12-epoch run, latency in ms) of an architecture of ``ANCHORS``."""
    return zip(VALID, *ANCHORS[space][index][4:], strict=True)


def check_anchors(space: str, columns: Columns, what: str, rows: Sequence[int] | None = None) -> int:
    """Compare the architectures of ``ANCHORS`` with ``columns``; return how many values were compared.

    ``columns``: float64 ``[epochs, seeds, n]`` by (data set, metric, schedule), ``[n]`` with schedule 0 for a scalar.
    ``rows``: which architectures these are, None for all.
    Raises DataError naming the first value that differs.
    """
    compared = 0

    def check(index: int, label: str, found: float, published: float, tolerance: float) -> None:
        nonlocal compared
        if np.isnan(found):
            return
        compared += 1
        if abs(found - published) > tolerance:
            raise DataError(
                f"{what}: architecture {index}, {label}: {found:.6g} in the archive, {published:.6g} as published; the "
                "archive was changed or is another version (anchors=False imports it all the same)"
            )

    for index in ANCHORS[space]:
        if rows is not None and index not in rows:
            continue
        place = index if rows is None else rows.index(index)
        for dataset, metric, schedule, published in accuracies(space, index):
            found = _value(columns, place, dataset, metric, schedule)
            check(index, f"{dataset} {metric} after {schedule} epochs", found, published, ACCURACY_TOLERANCE)
        for dataset, cost, ms in costs(space, index):
            found = 12 * _value(columns, place, dataset, "train_s") + _value(columns, place, dataset, "val_s")
            check(index, f"{dataset} seconds of a 12-epoch run", found, cost, TIME_TOLERANCE * cost)
            found = 1000 * _value(columns, place, dataset, "latency_s")
            check(index, f"{dataset} latency in ms", found, ms, TIME_TOLERANCE * ms)
    return compared


def _value(columns: Columns, place: int, dataset: str, metric: str, schedule: int = 0) -> float:
    """Mean over seeds at the last epoch; NaN where the archive has no such column."""
    column = columns.get((dataset, metric, schedule))
    if column is None:
        return float("nan")
    values = column[-1, :, place] if schedule else column[place : place + 1]
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")
