"""NAS-Bench-101: 423,624 cells on CIFAR-10 (C. Ying, A. Klein, E. Real, E. Christiansen, K. Murphy, F. Hutter, 2019).

The official files are ``nasbench_only108.tfrecord`` and ``nasbench_full.tfrecord`` of google-research/nasbench
(Apache-2.0), too large to be fetched here. A record is a JSON list: hash of the cell, epochs, adjacency matrix as 0 and
1, operations, and a message in base 64 with accuracies and seconds at the start, half-way and the end. Trainings of 4,
12, 36 and 108 epochs, three each, with a learning rate that spans each: other epochs are other trainings, not points of
one curve.

Also read: Parquet or CSV files, joined row by row, with a row a cell and the columns

``index``         rank of the cell's hash among all, ascending, from 0
``nodes``         2 to 7, input and output included
``adj``           bit k: k-th entry, row by row, of the strict upper triangle of the adjacency matrix
``ops``           base 3, digit j: operation of node j + 1 (0 conv3x3, 1 conv1x1, 2 maxpool3x3). A negative
                  number was stored in eight bits, and 256 is added
``test_acc_108``  test accuracy after 108 epochs, percent, mean over three trainings
``params``        parameters, single ones; may be absent

Such a file has no validation accuracy, so that a search sees what it is scored by: it says how well a search optimises,
not what a search would find. With a further file of ``index, val_acc_4, val_acc_12, val_acc_36, val_acc_108,
train_time_108_s`` for the cells 0, 1, ... up to some index, those become a table of their own in the space
``nb101-part``: as columns of the whole they would be gaps for most cells, and no search could use them. Neighbours are
there the cells of the part that are at most two edits apart.

In ``nb101`` neighbours differ in one edge or one operation: see ``spaces/cell_moves.py``. Both sources make the same
space: each cell's nodes are put into one order.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import DataError, UsageError
from nasharness.spaces.cell_moves import canonical, near_cells, within_two
from nasharness.spaces.cells import NODES, OPERATIONS, OPTIONS, POSITIONS, CellSpace, features_of, strings_of
from nasharness.tables.columnar import column_names, read_file
from nasharness.tables.importers import files as read
from nasharness.tables.importers.published import Published
from nasharness.tables.importers.tfrecord import fields, records
from nasharness.tables.own import from_frame
from nasharness.tables.table import Table

CELLS = 423_624
PART = "nb101-part"
TRIALS = 3
SCHEDULES = (4, 12, 36, 108)
SEPARATE = "each number of epochs is trainings of its own, with a learning rate that spans it"


def _read(files: Sequence[Path], name: str, force: bool, record: Published) -> Table:
    if any(file.name.lower().endswith(read.TFRECORD) for file in files):
        if len(files) != 1:
            raise UsageError(f"nb101: {len(files)} files; expected one .tfrecord, or Parquet and CSV files")
        return _official(files[0], "official" if name == record.table else name, force, record)
    cells = [file for file in files if {"nodes", "adj", "ops"} <= set(column_names(file))]
    more = [file for file in files if file not in cells]
    if not cells:
        raise UsageError(
            f"{files[0]}: which cells these are, other files say; give those with nodes, adj and ops too: "
            f"nasharness data import nb101_part0.parquet nb101_part1.parquet {files[0]}"
        )
    if len(more) > 1:
        raise UsageError(f"{more[1]}: no column nodes, adj and ops; expected one such file at most, of validation")
    wanted = ["index", "nodes", "adj", "ops", "test_acc_108"]
    wanted += ["params"] if all("params" in column_names(file) for file in cells) else []
    parts = [read_file(file, wanted) for file in cells]
    frame = {column: np.concatenate([part[column] for part in parts]) for column in wanted}
    frame = {column: values[np.argsort(frame["index"], kind="stable")] for column, values in frame.items()}
    what = ", ".join(map(str, cells))
    _complete(frame["index"], what)
    read.check_percent({"test_acc_108": frame["test_acc_108"]}, what)
    operations = frame["ops"].astype(np.int64)
    operations = np.where((operations < 0) & (operations >= -128), operations + 256, operations)
    space = _space(record.space, features_of(frame["nodes"], frame["adj"], operations), what)
    extra = None if not more else _validation(more[0])
    table = from_frame(
        frame,
        name=name,
        space=space,
        arch="index",
        metrics={"test_acc_108": "cifar10/test_acc@108"},
        known=["params"] if "params" in frame else [],
        units={"test_acc_108": "percent"},
        notes={"test_acc_108": "mean over three trainings; no validation accuracy in these files"},
        signal="cifar10/test@108",
        final="cifar10/test@108:mean",
        force=force,
        **record.card(files),
    )
    if extra is not None:
        _part(space, extra, name, force, record, files)
    return table


def _space(name: str, features: NDArray[np.int8], what: str) -> CellSpace:
    try:
        ordered = canonical(features)
    except UsageError as error:
        raise DataError(f"{what}: {error}") from None
    strings = strings_of(ordered)
    if len(set(strings.tolist())) < len(strings):
        _, first, count = np.unique(strings, return_index=True, return_counts=True)
        again = strings[first[count > 1][0]]
        rows = np.flatnonzero(strings == again)[:2]
        raise DataError(f"{what}: rows {rows[0]} and {rows[1]} are the same cell, {again.decode()}")
    return _made(name, strings, ordered, near_cells(ordered), f"NAS-Bench-101: {len(strings):,} cells of 2 to 7 nodes")


def _made(name: str, strings: Any, features: Any, near: Any, summary: str) -> CellSpace:
    return CellSpace(
        name, strings, features=features, options=OPTIONS, positions=POSITIONS, near=near, summary=summary
    )  # fmt: skip


def _complete(index: NDArray[Any], what: str) -> None:
    wrong = np.flatnonzero(index != np.arange(len(index)))
    if len(wrong):
        raise DataError(
            f"{what}: the column 'index' should be 0, 1, 2, ..., each once; beside {wrong[0]} stands {index[wrong[0]]}"
        )
    if len(index) != CELLS:
        raise DataError(f"{what}: {len(index):,} cells; NAS-Bench-101 has {CELLS:,} (were all files given?)")


def _validation(file: Path) -> dict[str, NDArray[Any]]:
    accuracies = [f"val_acc_{epochs}" for epochs in SCHEDULES]
    columns = read_file(file, ["index", *accuracies, "train_time_108_s"])
    columns = {name: values[np.argsort(columns["index"], kind="stable")] for name, values in columns.items()}
    wrong = np.flatnonzero(columns["index"] != np.arange(len(columns["index"])))
    if len(wrong):
        raise DataError(f"{file}: the column 'index' should be 0, 1, 2, ...; beside {wrong[0]} stands "
                        f"{columns['index'][wrong[0]]}")  # fmt: skip
    read.check_percent({name: columns[name] for name in accuracies}, str(file))
    return columns


def _part(
    whole: CellSpace, columns: dict[str, NDArray[Any]], name: str, force: bool, record: Published, files: Sequence[Path]
) -> Table:
    """The table of the cells whose validation accuracies are known."""
    count = len(columns["index"])
    strings, features = whole.definition()["strings"], whole.features
    if features is None or count > whole.size:
        raise DataError(f"{count:,} cells with validation accuracies, of {whole.size:,} cells")
    near = within_two(whole._near, count)
    space = _made(PART, strings[:count], features[:count], near, f"NAS-Bench-101: its first {count:,} cells by hash")
    accuracies = {f"val_acc_{epochs}": epochs for epochs in SCHEDULES}
    return from_frame(
        columns,
        name=name,
        space=space,
        arch="index",
        metrics={column: f"cifar10/val_acc@{epochs}" for column, epochs in accuracies.items()},
        cost="train_time_108_s",
        units=dict.fromkeys(accuracies, "percent"),
        notes=dict.fromkeys(accuracies, SEPARATE) | {"train_time_108_s": "108 epochs; fewer ones in proportion"},
        signal="val@108",
        final="val@108:mean",
        force=force,
        **record.card(files),
    )


# ---- the official file


def _official(file: Path, name: str, force: bool, record: Published) -> Table:
    """Read every record of a .tfrecord, trainings of a cell in the order of the file."""
    rows: dict[str, int] = {}
    cells: list[tuple[int, int, int]] = []
    params: list[int] = []
    found: dict[int, list[list[tuple[float, float, float]]]] = {}
    for number, content in enumerate(records(file)):
        try:
            key, epochs, matrix, operations, metrics = json.loads(content)
            row = rows.get(key)
            if row is None:
                row = rows[key] = len(cells)
                cells.append(_cell(matrix, operations))
                params.append(0)
            params[row], trial = _metrics(base64.b64decode(metrics, validate=True))
            trainings = found.setdefault(int(epochs), [])
            trainings += [[] for _ in range(len(cells) - len(trainings))]
            trainings[row].append(trial)
        except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
            raise DataError(f"{file}: record {number} is none of NAS-Bench-101: {str(error)[:120]}") from None
    if not found:
        raise DataError(f"{file}: no records")
    order = sorted(rows, key=lambda key: rows[key])
    places = np.argsort(np.array(order))  # row of each index: the rank of the hash
    _complete(np.arange(len(places)), str(file))
    frame: dict[str, Any] = {"index": np.arange(len(places)), "params": np.array(params)[places]}
    metrics_of: dict[str, str] = {}
    for epochs, trainings in sorted(found.items()):
        short = next((row for row in range(len(cells)) if row >= len(trainings) or len(trainings[row]) != TRIALS), None)
        if short is not None:
            count = len(trainings[short]) if short < len(trainings) else 0
            raise DataError(f"{file}: cell {order[short]} has {count} trainings of {epochs} epochs, expected {TRIALS}")
        values = np.array(trainings)[places]  # [n, trials, validation, test, seconds]
        for number, (part, split) in itertools.product(range(TRIALS), enumerate(("val", "test"))):
            column = f"{split}_{epochs}_{number}"
            frame[column] = 100 * values[:, number, part]
            metrics_of[column] = f"cifar10/{split}_acc@{epochs}:{number}"
        frame["seconds"] = values[:, :, 2].mean(axis=1)  # those of the longest training stay
    read.check_percent({column: frame[column] for column in metrics_of}, str(file))
    nodes, edges, labels = np.array(cells)[places].T
    longest = max(found)
    return from_frame(
        frame,
        name=name,
        space=_space(record.space, features_of(nodes, edges, labels), str(file)),
        arch="index",
        metrics=metrics_of,
        known=["params"],
        cost="seconds",
        units=dict.fromkeys(metrics_of, "percent"),
        notes=dict.fromkeys(metrics_of, SEPARATE) | {"seconds": f"{longest} epochs, mean; fewer ones in proportion"},
        signal=f"val@{longest}",
        final=f"test@{longest}:mean",
        force=force,
        **record.card([file]),
    )


def _cell(matrix: str, operations: str) -> tuple[int, int, int]:
    """Nodes, edges and operations of a cell as numbers, from the strings of its record."""
    names = operations.split(",")
    nodes = len(names)
    if len(matrix) != nodes * nodes or set(matrix) - {"0", "1"} or not 2 <= nodes <= NODES:
        raise ValueError(f"a matrix of {len(matrix)} entries for {nodes} operations")
    upper = [matrix[row * nodes + column] for row in range(nodes) for column in range(row + 1, nodes)]
    if matrix.count("1") != upper.count("1"):
        raise ValueError("an edge that points backward")
    inner = [OPERATIONS.index(operation) for operation in names[1:-1]]
    return nodes, int("".join(reversed(upper)) or "0", 2), sum(3**place * number for place, number in enumerate(inner))


def _metrics(message: bytes) -> tuple[int, tuple[float, float, float]]:
    """Parameters; and of the last evaluation: validation and test accuracy in [0, 1], and the seconds of training."""
    params, last = 0, b""
    for number, value in fields(message):
        if number == 1 and isinstance(value, bytes):
            last = value
        elif number == 2 and isinstance(value, int):
            params = value
    final = dict(fields(last))
    values = [final[number] for number in (4, 5, 2)]
    if not all(isinstance(value, float) and value >= 0 for value in values):
        raise ValueError("no accuracies and seconds")
    validation, test, seconds = (float(value) for value in values)
    return params, (validation, test, seconds)


RECORD = Published(
    name="nb101",
    space="nb101",
    table="light",
    columns=(
        frozenset({"index", "nodes", "adj", "ops", "test_acc_108"}),
        frozenset({"index", "val_acc_4", "val_acc_12", "val_acc_36", "val_acc_108"}),
        frozenset({read.TFRECORD}),
    ),
    reader=_read,
    repository="google-research/nasbench",
    commit="",
    licence="Apache-2.0",
    citation=(
        "C. Ying, A. Klein, E. Real, E. Christiansen, K. Murphy, F. Hutter: NAS-Bench-101: Towards Reproducible Neural "
        "Architecture Search, ICML 2019, arXiv:1902.09635"
    ),
    files={},
)
