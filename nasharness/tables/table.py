"""A table: measurements of every architecture of one space, as memory-mapped columns beside their provenance.

On disk a table is a folder: ``table.json`` and one ``.npy`` file per column. A column of a measured quantity has the
axes ``[epochs, trials, architectures]``, the first of length 1 where no epochs are told apart; a column of a scalar
(seconds per epoch, latency) has ``[architectures]``. Accuracies are percent, losses nats, times seconds. A measurement
that was never made is NaN, and asking for one is an error that says which exist.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from nasharness.errors import DataError, UsageError, unknown
from nasharness.storage.sealed import read_sealed
from nasharness.storage.verified import verify

FORMAT = "nasharness-table/2"
#: Scalar column that holds the seconds of one evaluation, where they are no multiple of those of an epoch.
COST = "cost_s"


@dataclass(frozen=True)
class Column:
    """One column of a table.

    ``dataset``: what the network was trained on, in NATS-Bench's words (``cifar10-valid`` is the half of CIFAR-10's
    training set that searches train on, ``cifar10`` the whole of it).
    ``metric``: ``val_acc``, ``test_acc``, ``train_acc``, ``val_loss``, ... or a scalar such as ``train_s``.
    ``schedule``: epochs of the training run the value comes from, None where there are none to tell apart. A 12-epoch
    run and the 12th epoch of a 200-epoch run are different measurements, since the learning-rate schedule spans the
    whole run. ``epochs``: 1-based epochs along axis 0, empty without a schedule. ``seeds``: labels of the trials along
    axis 1 (``"777"``, ``"mean"``), empty for a scalar. ``minimise``: whether less is better.
    """

    dataset: str
    metric: str
    unit: str
    schedule: int | None
    epochs: tuple[int, ...]
    seeds: tuple[str, ...]
    dtype: str
    shape: tuple[int, ...]
    sha256: str
    note: str = ""
    minimise: bool = False

    @property
    def name(self) -> str:
        """The column's name and, with ``.npy``, its file's: ``cifar10-valid.val_acc@12``."""
        return column_name(self.dataset, self.metric, self.schedule)


def column_name(dataset: str, metric: str, schedule: int | None) -> str:
    """Return a column's name from its parts, e.g. ``cifar100.test_acc@200`` or ``cifar100.train_s``."""
    return f"{dataset}.{metric}" + ("" if schedule is None else f"@{schedule}")


_Index = Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]


class _Card(msgspec.Struct):
    """What ``table.json`` must hold."""

    format: Literal["nasharness-table/2"]
    space: str
    name: str
    version: str
    size: _Index
    checksum: str
    columns: list[Column]
    source: str = ""
    licence: str = ""
    citation: str = ""
    attribution: str = ""
    provenance: dict[str, Any] = {}
    protocol: dict[str, str] = {}
    space_checksum: str = ""
    rows: list[_Index] | None = None


class Table:
    """A table opened for reading. Opening parses one small JSON file and maps nothing until a column is asked for."""

    def __init__(self, path: Path, meta: Mapping[str, Any]) -> None:
        card = msgspec.convert(meta, _Card)
        self.path = path
        self.meta = meta
        self.name, self.space, self.version = card.name, card.space, card.version
        self.size, self.checksum = card.size, card.checksum
        self.columns = {column.name: column for column in card.columns}
        #: where only some architectures are stored: which
        self._rows = None if card.rows is None else np.array(card.rows, dtype=np.int64)
        self._mapped: dict[str, NDArray[Any]] = {}

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Table:
        """Open the table in folder ``path``.

        Raises DataError where there is no table, one that another version of the format wrote, or one whose
        ``table.json`` is not what was written.
        """
        folder = Path(path)
        file = folder / "table.json"
        absent = DataError(f"no table in {folder}: it has no table.json (nasharness list tables shows those there are)")
        meta = read_sealed(file, _Card, "import the table again", missing=absent)
        table = cls(folder, meta)
        wrong = table._wrong()
        if wrong:
            raise DataError(f"{file} is damaged: {wrong}; import the table again")
        return table

    def _wrong(self) -> str:
        """What in the card contradicts itself, empty where nothing does."""
        for name, column in self.columns.items():
            shape = (max(1, len(column.epochs)), len(column.seeds), self.size) if column.seeds else (self.size,)
            if column.shape != shape or "/" in name or "\0" in name or column.dtype not in ("<f4", "<f8"):
                return f"column {name!r:.80} of {column.dtype!r:.20}, shape {column.shape!s:.40}"
        if self._rows is not None and not ((np.diff(self._rows) > 0).all() and (self._rows < self.size).all()):
            return "rows out of order"
        return "" if table_checksum(self.meta["columns"]) == self.checksum else "the checksum over all columns differs"

    def __repr__(self) -> str:
        return f"Table({self.name!r}, space={self.space!r}, version={self.version!r}, columns={len(self.columns)})"

    @property
    def protocol(self) -> Mapping[str, str]:
        """``signal``, ``final`` and ``dataset`` that its card names as defaults; empty where it names none."""
        named: Mapping[str, str] = self.meta.get("protocol", {})
        return named

    # ---- finding columns

    @property
    def datasets(self) -> list[str]:
        """Data sets that networks were trained on, in the order of the columns."""
        return list(dict.fromkeys(column.dataset for column in self.columns.values()))

    def schedules(self, dataset: str, metric: str) -> list[int]:
        """Epoch counts of the training runs for which ``metric`` is stored, ascending."""
        return sorted(
            column.schedule
            for column in self.columns.values()
            if column.dataset == dataset and column.metric == metric and column.schedule is not None
        )

    def has(self, dataset: str, metric: str, schedule: int | None = None) -> bool:
        """Whether the column exists."""
        return column_name(dataset, metric, schedule) in self.columns

    def column(self, dataset: str, metric: str, schedule: int | None = None) -> Column:
        """Return the column's record. Raises UsageError naming the nearest columns that exist."""
        name = column_name(dataset, metric, schedule)
        if name not in self.columns:
            command = f"nasharness data status --table {self.name}"
            raise unknown(f"column of table {self.name!r}", name, self.columns, command)
        return self.columns[name]

    # ---- reading

    def array(self, dataset: str, metric: str, schedule: int | None = None) -> NDArray[Any]:
        """Map a whole column read-only: ``[epochs, seeds, n]``, or ``[n]`` for a scalar."""
        return self._map(self.column(dataset, metric, schedule).name)

    def _map(self, name: str) -> NDArray[Any]:
        """A column, verified when it is first asked for. Raises DataError where it is not what was written."""
        if name in self._mapped:
            return self._mapped[name]
        column = self.columns[name]
        path = self.path / f"{name}.npy"
        again = f"import table {self.name!r} again"
        verify(path, column.sha256, again)
        try:
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"cannot read {path}: {error}; {again}") from error
        shape = column.shape if self._rows is None else (*column.shape[:-1], len(self._rows))
        if array.shape != shape or array.dtype != np.dtype(column.dtype):
            raise DataError(f"{path}: {array.dtype} {array.shape}, expected {column.dtype} {shape}; {again}")
        if self._rows is not None:
            whole = np.full(column.shape, np.nan, dtype=array.dtype)
            whole[..., self._rows] = array
            array = whole
        self._mapped[name] = array
        return array

    def values(
        self, dataset: str, metric: str, schedule: int | None = None, *, epoch: int | None = None, seed: str = "mean"
    ) -> NDArray[np.float64]:
        """Return one value per architecture: float64 ``[n]``, NaN where nothing was measured.

        ``epoch``: 1-based, the last stored one by default. ``seed``: a label of the column's seed axis, or ``"mean"``
        for the mean over the seeds that exist (an absent seed is left out, never imputed).
        """
        column = self.column(dataset, metric, schedule)
        array = self.array(dataset, metric, schedule)
        if not column.seeds:
            return np.asarray(array, dtype=np.float64)
        plane = np.asarray(array[self.place(column, epoch)], dtype=np.float64)
        if seed in column.seeds:
            one: NDArray[np.float64] = plane[column.seeds.index(seed)].copy()
            return one
        if seed != "mean":
            raise unknown(f"seed of {column.name}", seed, (*column.seeds, "mean"))
        return seed_mean(plane)

    def place(self, column: Column, epoch: int | None) -> int:
        """Where along axis 0 an epoch stands, by default the last one. Raises UsageError for one that is not stored."""
        if epoch is None or not column.epochs:
            return -1
        if epoch not in column.epochs:
            raise UsageError(
                f"{column.name} of table {self.name!r} has no epoch {epoch}; it has {_span(column.epochs)}"
            )
        return column.epochs.index(epoch)

    # ---- checking

    def verify(self) -> list[str]:
        """Compare every column's SHA-256 with the recorded one; return what is wrong, a line each (empty: all good)."""
        problems = []
        for name, column in self.columns.items():
            try:
                verify(self.path / f"{name}.npy", column.sha256, f"import table {self.name!r} again", trust=False)
            except DataError as error:
                problems.append(str(error))
        return problems


def seed_mean(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over axis 0 of ``[seeds, n]`` leaving NaN out; NaN where every seed is absent."""
    present = ~np.isnan(plane)
    count = present.sum(axis=0)
    total = np.where(present, plane, 0.0).sum(axis=0)
    mean: NDArray[np.float64] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean


def table_checksum(columns: Sequence[Mapping[str, Any]]) -> str:
    """One checksum for a table: SHA-256 over its columns' names and their SHA-256, in the order of the names."""
    digest = hashlib.sha256()
    names = {column_name(c["dataset"], c["metric"], c["schedule"]): c["sha256"] for c in columns}
    for name in sorted(names):
        digest.update(f"{name} {names[name]}\n".encode())
    return digest.hexdigest()


def _span(epochs: Sequence[int]) -> str:
    """Say which epochs are stored, shortly."""
    if len(epochs) > 3 and list(epochs) == list(range(epochs[0], epochs[-1] + 1)):
        return f"{epochs[0]} to {epochs[-1]}"
    return ", ".join(map(str, epochs))
