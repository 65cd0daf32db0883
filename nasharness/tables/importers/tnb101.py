"""TransNAS-Bench-101: cells (4,096) and macro skeletons (3,256) on several tasks, one training each.

Read from a Parquet or CSV file with the column ``arch`` and a column ``TASK_val`` for each task: the final value on
validation images, in percent where it is an accuracy, SSIM for ``normal`` and ``autoencoder``, and for ``room_layout``
the negative loss. A task is a data set here, its metric ``val``, and more is better. Cells are tuples of six numbers or
64-41414-a_bc_def (see the space ``tnb101-micro``); skeletons are 64-DIGITS-basic, and become the listed space
``tnb101-macro``. Other columns are left out: scores without training, and counts that only 711 cells have.

Such a file of the cells can be made from automl/NASLib, ``naslib/data/zc_benchmarks`` and ``run/results`` (Apache-2.0).
The benchmark's own file, a pickle of PyTorch, is not read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nasharness import spaces
from nasharness.errors import DataError
from nasharness.spaces.base import Space
from nasharness.tables.columnar import column_names, read_file
from nasharness.tables.importers import files as read
from nasharness.tables.importers.published import Published
from nasharness.tables.own import from_frame
from nasharness.tables.table import Table

#: task -> unit of its value
TASKS = {
    "class_scene": "percent",
    "class_object": "percent",
    "room_layout": "negative loss",
    "jigsaw": "percent",
    "segmentsemantic": "percent",
    "normal": "SSIM",
    "autoencoder": "SSIM",
}
MACRO = "tnb101-macro"
_SKELETON = re.compile(r"64-[1-4]{4,6}-basic")


def _read(files: Sequence[Path], name: str, force: bool, record: Published) -> Table:
    if len(files) != 1:
        raise DataError(f"{record.name}: {len(files)} files; expected one, of cells or of skeletons")
    file, names, what = files[0], column_names(files[0]), str(files[0])
    tasks = {f"{task}_val": task for task in TASKS if f"{task}_val" in names}
    columns = read_file(file, ["arch", *tasks], ["arch"])
    archs = [str(text).strip() for text in columns["arch"].tolist()]
    space: Space
    if archs and _SKELETON.fullmatch(archs[0]):
        wrong = next((row for row, text in enumerate(archs) if not _SKELETON.fullmatch(text)), None)
        if wrong is not None:
            raise DataError(f"{what}: row {wrong} is {archs[wrong]!r}, expected a skeleton as in {archs[0]}")
        if len(set(archs)) < len(archs):
            raise DataError(f"{what}: {next(text for text in archs if archs.count(text) > 1)!r} occurs more than once")
        from nasharness.tables.strings import space_of  # with pyarrow, which takes long to import

        space = space_of(MACRO, ["arch"], [np.array(archs)], False)
    else:
        space = spaces.get(record.space)
        ids = np.array([space.from_string(text) for text in archs], dtype=np.int64)
        read.check_complete(space, ids, what)
    percent = {column: columns[column] for column, task in tasks.items() if TASKS[task] == "percent"}
    read.check_percent(percent, what)
    layout = columns.get("room_layout_val")
    if layout is not None and not layout.max(initial=-1.0) <= 0:
        raise DataError(f"{what}: room_layout_val reaches {layout.max():g}; expected the loss with a minus, at most 0")
    return from_frame(
        columns | {"arch": np.array(archs, dtype=object)},
        name=name,
        space=space,
        arch="arch",
        metrics={column: f"{task}/val" for column, task in tasks.items()},
        units={column: TASKS[task] for column, task in tasks.items()},
        force=force,
        **record.card(files),
    )


RECORD = Published(
    name="tnb101",
    space="tnb101-micro",
    table="tnb101",
    columns=tuple(frozenset({"arch", f"{task}_val"}) for task in TASKS),
    reader=_read,
    repository="",
    commit="",
    licence="that of the imported file",
    citation=(
        "Y. Duan, X. Chen, H. Xu, Z. Chen, X. Liang, T. Zhang, Z. Li: TransNAS-Bench-101: Improving Transferability "
        "and Generalizability of Cross-Task Neural Architecture Search, CVPR 2021, arXiv:2105.11871"
    ),
    files={},
)
