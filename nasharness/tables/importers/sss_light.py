"""NATS-Bench's size space without its archive: test accuracy after 90 epochs, seed 777, of all 32,768 networks.

Repository vilhess/MONET, commit 336647a, ``benchmark_scores/{Cifar10,Cifar100,ImageNet}-NATS.csv`` (SHA-256 below):
columns ``index, num_param, score, accuracy, ...``, a file a data set. No licence file; the accuracies descend from
NATS-Bench v1.0 (MIT). Which data set a file is of, its ``num_param`` says: it must be the closed form of the space for
just one number of classes. Also read: a Parquet or CSV file with ``index`` and ``cifar10_test_90``,
``cifar100_test_90`` or ``in16_test_90``.

CIFAR-10 is of networks trained on all 50,000 images and scored on the test set, CIFAR-100 and ImageNet16-120 are scored
on the half of the test images that NATS-Bench calls x-test. Neither validation accuracies nor seconds are in any small
public file, so what a search may see is another data set's accuracy: ``--dataset cifar100 --signal cifar10:test@90``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nasharness import spaces
from nasharness.errors import DataError
from nasharness.spaces.base import Floats
from nasharness.tables.columnar import column_names, read_file
from nasharness.tables.importers import CITATION
from nasharness.tables.importers import files as read
from nasharness.tables.importers.published import Published
from nasharness.tables.own import from_frame
from nasharness.tables.table import Table

SHORT = {"cifar10_test_90": "cifar10", "cifar100_test_90": "cifar100", "in16_test_90": "ImageNet16-120"}
SPLIT = {"cifar10": "the test set", "cifar100": "x-test half of the test set", "ImageNet16-120": "x-test half"}
#: test accuracy of three networks in the official records, percent
ANCHORS = {
    "cifar10": {0: 79.79, 11: 85.77, 284: 89.51},
    "cifar100": {0: 32.30, 11: 53.68, 284: 62.70},
    "ImageNet16-120": {0: 15.5333, 11: 25.4667, 284: 32.7667},
}


def _read(files: Sequence[Path], name: str, force: bool, record: Published) -> Table:
    found: dict[str, Floats] = {}
    for file in files:
        for dataset, values in _one(file).items():
            if dataset in found and not np.allclose(found[dataset], values, rtol=0, atol=1e-4):
                raise DataError(f"{file}: test accuracies of {dataset} differ from those of another file")
            found[dataset] = values
    ordered = [dataset for dataset in SPLIT if dataset in found]
    return from_frame(
        {"index": np.arange(spaces.get("sss").size)} | found,
        name=name,
        space="sss",
        arch="index",
        metrics={dataset: f"{dataset}/test_acc@90:777" for dataset in ordered},
        units=dict.fromkeys(ordered, "percent"),
        notes={dataset: f"on {SPLIT[dataset]}, seed 777 alone" for dataset in ordered},
        force=force,
        **record.card(files),
    )


def _one(file: Path) -> dict[str, Floats]:
    """Accuracies of one file by data set, percent, float64 ``[32768]`` in the order of the space."""
    space, names, what = spaces.get("sss"), column_names(file), str(file)
    csv = {"index", "num_param", "accuracy"} <= set(names)
    wanted = ["num_param", "accuracy"] if csv else [column for column in SHORT if column in names]
    if "index" not in names or not wanted:
        raise DataError(f"{what}: expected index, num_param and accuracy, or index and {', '.join(SHORT)}")
    columns = read_file(file, ["index", *wanted])
    ids = columns["index"].astype(np.int64)
    if (ids != columns["index"]).any() or ids.min(initial=0) < 0 or ids.max(initial=0) >= space.size:
        raise DataError(f"{what}: column 'index' is not of whole numbers from 0 to {space.size - 1}")
    read.check_complete(space, ids, what)
    given = {SHORT[column]: columns[column] for column in wanted if not csv}
    if csv:
        given[_dataset(columns["num_param"], ids, what)] = columns["accuracy"]
    found = {}
    for dataset, values in given.items():
        ordered = np.full(space.size, np.nan)
        ordered[ids] = values
        if csv and np.nanmax(ordered) <= 1:
            ordered *= 100  # the repository writes fractions
        read.check_percent({f"test accuracy of {dataset}": ordered}, what)
        for index, published in ANCHORS[dataset].items():
            if abs(ordered[index] - published) > 0.0051:
                raise DataError(
                    f"{what}: index {index} has {ordered[index]:g} on {dataset}; its official record has {published:g}"
                )
        found[dataset] = ordered
    return found


def _dataset(counts: Floats, ids: NDArray[np.int64], what: str) -> str:
    space = spaces.get("sss")
    for dataset in SPLIT:
        try:
            read.check_counts(space, ids, dataset, {"params": counts}, what)
        except DataError:
            continue
        return dataset
    raise DataError(f"{what}: num_param is not what networks of sss have on any of {', '.join(SPLIT)}")


RECORD = Published(
    name="sss",
    space="sss",
    table="light",
    columns=(
        frozenset({"index", "num_param", "accuracy"}),
        *(frozenset({"index", column}) for column in SHORT),
    ),
    reader=_read,
    repository="vilhess/MONET",
    commit="336647a",
    licence="none stated; values of NATS-Bench v1.0, MIT",
    citation=CITATION,
    files={
        "benchmark_scores/Cifar10-NATS.csv": "96983219294bc264d01df9534deba04e99a0acddc337e4651c72cee6799322db",
        "benchmark_scores/Cifar100-NATS.csv": "ca6f73356f2deabf9ab919e320a63e4ffa2c91a110e08abf9bf49062fe6de806",
        "benchmark_scores/ImageNet-NATS.csv": "8a0cfdfa164ba6718789c9dc900a6aefa7965282586aff8a7de9768e5ff2af64",
    },
)
