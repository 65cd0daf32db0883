"""Learning curves of 200 cells of NATS-Bench's topology space on CIFAR-10: every epoch of the 200-epoch training.

Repository SamuelMintal/Masters_Thesis, commit 5db5b99, ``___my_code/_all_merged.csv`` (SHA-256 below), Apache-2.0: a
row a cell with ``arch_i``, ``arch_str`` and lists ``val_accs``, ``train_accs`` of 200 numbers; other columns are left
out. Also read: a Parquet or CSV file with a row an epoch, ``index, epoch, val, train``. Percent, mean over three seeds,
of the networks trained on half of CIFAR-10's training set (data set ``cifar10-valid``), and validated on the other
half.

A space of its own, ``tss-curves``: the listed cells of tss. Seconds are those of the embedded table, which descend from
the same measurements; an epoch of the training is a true fidelity.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nasharness import spaces
from nasharness.errors import DataError, UsageError
from nasharness.spaces.base import Floats
from nasharness.spaces.part import PartSpace
from nasharness.tables.catalogue import table_path
from nasharness.tables.columnar import column_names, read_file
from nasharness.tables.importers import CITATION_201
from nasharness.tables.importers import files as read
from nasharness.tables.importers.published import Published
from nasharness.tables.own import from_frame
from nasharness.tables.table import Table

SPACE = "tss-curves"
EPOCHS = 200


def _read(files: Sequence[Path], name: str, force: bool, record: Published) -> Table:
    if len(files) != 1:
        raise UsageError(f"{record.name}: {len(files)} files; expected one")
    file, what, tss = files[0], str(files[0]), spaces.get("tss")
    ids, curves = (_wide if "arch_i" in column_names(file) else _long)(file, tss.size)
    columns: dict[str, Any] = {"row": np.arange(len(ids))}
    metrics = {}
    for metric, values in curves.items():
        read.check_percent({metric: values.ravel()}, what)
        for epoch in range(EPOCHS):
            columns[f"{metric}{epoch + 1}"] = values[:, epoch]
            metrics[f"{metric}{epoch + 1}"] = f"cifar10-valid/{metric}_acc@{epoch + 1}/{EPOCHS}"
    seconds = Table.open(table_path("tss", "embedded")).values("cifar10-valid", "train_s")
    columns["seconds"] = EPOCHS * seconds[ids]
    space = PartSpace.of(SPACE, tss, ids, f"{len(ids):,} cells of tss with learning curves")
    return from_frame(
        columns,
        name=name,
        space=space,
        arch="row",
        metrics=metrics,
        units=dict.fromkeys(metrics, "percent"),
        notes=dict.fromkeys(metrics, "mean over three seeds") | {"seconds": "of the embedded table, training alone"},
        cost="seconds",
        signal=f"val@{EPOCHS}",
        final=f"val@{EPOCHS}:mean",
        force=force,
        **record.card(files),
    )


def _wide(file: Path, cells: int) -> tuple[np.ndarray[Any, Any], dict[str, Floats]]:
    """Cells ``[n]`` and curves ``[n, 200]`` of the published file."""
    lists = ["val_accs", "train_accs"]
    columns = read_file(file, ["arch_i", "arch_str", *lists], ["arch_str", *lists])
    ids = _whole(columns["arch_i"], cells, "arch_i", file)
    tss = spaces.get("tss")
    for row, (index, text) in enumerate(zip(ids.tolist(), columns["arch_str"].tolist(), strict=True)):
        if tss.string(index) != text:
            raise DataError(f"{file}: row {row} (index {index}) is {str(text)[:80]!r}, expected {tss.string(index)!r}")
    if len(np.unique(ids)) < len(ids):
        raise DataError(f"{file}: index {int(np.bincount(ids).argmax())} occurs more than once")
    curves = {}
    for column in lists:
        rows = [_list(text, row, column, file) for row, text in enumerate(columns[column].tolist())]
        curves[column.removesuffix("_accs")] = np.array(rows, dtype=np.float64)[np.argsort(ids)]
    return np.sort(ids), curves


def _list(text: str, row: int, column: str, file: Path) -> list[float]:
    try:
        values = json.loads(text)
        if len(values) != EPOCHS or not all(type(value) in (int, float) for value in values):
            raise ValueError
    except (TypeError, ValueError, RecursionError):
        raise DataError(f"{file}: {column} in row {row} is not a list of {EPOCHS} numbers: {str(text)[:60]}") from None
    return list(map(float, values))


def _long(file: Path, cells: int) -> tuple[np.ndarray[Any, Any], dict[str, Floats]]:
    """The same of a file with a row an epoch."""
    columns = read_file(file, ["index", "epoch", "val", "train"])
    index, epoch = _whole(columns["index"], cells, "index", file), _whole(columns["epoch"], EPOCHS + 1, "epoch", file)
    ids, place = np.unique(index, return_inverse=True)
    if (epoch < 1).any():
        raise DataError(f"{file}: epoch 0 in row {int(np.flatnonzero(epoch < 1)[0])}; expected 1 to {EPOCHS}")
    count = np.zeros((len(ids), EPOCHS), dtype=np.int64)
    np.add.at(count, (place, epoch - 1), 1)
    if (count != 1).any():
        cell, at = np.argwhere(count != 1)[0]
        raise DataError(f"{file}: epoch {at + 1} of index {ids[cell]} occurs {count[cell, at]} times; expected once")
    curves = {metric: np.empty(count.shape) for metric in ("val", "train")}
    for metric, values in curves.items():
        values[place, epoch - 1] = columns[metric]
    return ids, curves


def _whole(values: Any, limit: int, column: str, file: Path) -> np.ndarray[Any, Any]:
    whole = np.asarray(values, dtype=np.float64)
    wrong = np.flatnonzero(~((whole >= 0) & (whole < limit) & (whole == np.floor(whole))))
    if len(wrong):
        raise DataError(f"{file}: {column} in row {wrong[0]} is {values[wrong[0]]}, expected 0 to {limit - 1}")
    return whole.astype(np.int64)


RECORD = Published(
    name="curves",
    space=SPACE,
    table="curves",
    columns=(
        frozenset({"index", "epoch", "val", "train"}),
        frozenset({"arch_i", "arch_str", "val_accs", "train_accs"}),
    ),
    reader=_read,
    repository="SamuelMintal/Masters_Thesis",
    commit="5db5b991e4b0761e7c5a60c9f9e2ef18c175abb6",
    licence="Apache-2.0; values of NAS-Bench-201, MIT",
    citation=CITATION_201,
    files={
        "___my_code/_all_merged.csv": "22efe53dcf86cce6403d4d70198a1019ab93dc0abf5fbcd0b037af0a4bceff3f",
    },
)
