"""NAS-Bench-Macro: 6,561 networks on CIFAR-10, test accuracy of three trainings each.

Repository xiusu/NAS-Bench-Macro, commit 61a2bfc, ``data/nas-bench-macro_cifar10.json`` (SHA-256 below), Apache-2.0: an
entry an architecture with ``test_acc`` (three numbers, percent), ``params`` and ``flops``. Also read: a Parquet or CSV
file with the columns ``arch, test_acc_1, test_acc_2``, and ``params``, ``flops`` if there are. Parameters and FLOPs are
not stored: they must equal the closed forms of the space.

There is no validation accuracy. So a search sees the test accuracy of one training, drawn for each evaluation, and is
scored by the mean of the trainings that it has not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness import spaces
from nasharness.errors import UsageError
from nasharness.tables.columnar import column_names, read_file
from nasharness.tables.importers import files as read
from nasharness.tables.importers.published import Published
from nasharness.tables.own import from_frame
from nasharness.tables.table import Table

ONE_TRIAL = "test accuracy of single trainings; none on validation images was published"


def import_trials(
    files: Sequence[Path], name: str, force: bool, record: Published, *, key: str, trials: str, arch: str, table: str
) -> Table:
    """Import one file of trials: JSON with ``key``, or with the column ``arch`` and columns ``table`` + a number."""
    if len(files) != 1:
        raise UsageError(f"{record.name}: {len(files)} files; expected one")
    file, space = files[0], spaces.get(record.space)
    columns: dict[str, NDArray[Any]]
    if file.suffix.lower() == ".json":
        columns = read.read_entries(file, key, ("params", "flops"), 3)
        accuracies = [f"{key}{number}" for number in range(3)]
        counts = {"params": columns["params"], "macs": columns["flops"]}
    else:
        names = column_names(file)
        accuracies = sorted(column for column in names if column.startswith(table) and column[len(table) :].isdigit())
        counted = [column for column in ("params", "flops", "flops_m") if column in names]
        columns = read_file(file, [arch, *accuracies, *counted], [arch])
        columns["arch"] = columns.pop(arch)
        counts = {}
        for column in counted:
            scale = 1e6 if column == "flops_m" else 1.0
            counts["params" if column == "params" else "macs"] = scale * columns[column].astype(np.float64)
    what = str(file)
    ids = np.array([space.from_string(str(text)) for text in columns["arch"].tolist()], dtype=np.int64)
    read.check_complete(space, ids, what)
    read.check_counts(space, ids, "cifar10", counts, what)
    read.check_percent({column: columns[column] for column in accuracies}, what)
    return from_frame(
        {"index": ids} | {column: columns[column] for column in accuracies},
        name=name,
        space=space,
        arch="index",
        metrics={column: f"cifar10/test_acc:{number}" for number, column in enumerate(accuracies)},
        units=dict.fromkeys(accuracies, "percent"),
        notes=dict.fromkeys(accuracies, trials),
        # a signal of a table's card may be of a test set, one of a user's may not
        signal="cifar10/test:random",
        final="cifar10/test:others",
        force=force,
        **record.card(files),
    )


def _read(files: Sequence[Path], name: str, force: bool, record: Published) -> Table:
    return import_trials(
        files, name, force, record, key="test_acc", trials=ONE_TRIAL, arch="arch", table="test_acc_"
    )  # fmt: skip


RECORD = Published(
    name="nbmacro",
    space="macro",
    table="nbmacro",
    columns=(
        frozenset({"arch", "test_acc_1", "test_acc_2"}),
        frozenset({"test_acc", "mean_acc", "params", "flops"}),
    ),
    reader=_read,
    repository="xiusu/NAS-Bench-Macro",
    commit="61a2bfc2ca0dce04d0997e6cf498047c27d6acf2",
    licence="Apache-2.0",
    citation=(
        "X. Su, T. Huang, Y. Li, S. You, F. Wang, C. Qian, C. Zhang, C. Xu: Prioritized Architecture Sampling with "
        "Monto-Carlo Tree Search, CVPR 2021"
    ),
    files={
        "data/nas-bench-macro_cifar10.json": "686dee8363cc21cca8c1f321ad5749454f2d9b9ca5972682e137e539bc522297",
    },
)
