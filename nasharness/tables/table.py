"""A table: measurements of every architecture of one space, as memory-mapped columns beside their provenance.

On disk a table is a folder: ``table.json`` and one ``.npy`` file per column. A column of a measured quantity has the
axes ``[epochs, trials, architectures]``, the first of length 1 where no epochs are told apart; a column of a scalar
(seconds per epoch, latency) has ``[architectures]``. Accuracies are percent, losses nats, times seconds. A measurement
that was never made is NaN, and asking for one is an error that says which exist.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasharness.errors import DataError, UsageError, unknown
from nasharness.storage import file_sha256, only_writer

FORMAT = "nasharness-table/1"
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


class Table:
    """A table opened for reading. Opening parses one small JSON file and maps nothing until a column is asked for."""

    def __init__(self, path: Path, meta: Mapping[str, Any]) -> None:
        self.path = path
        self.meta = meta
        self.name: str = meta["name"]
        self.space: str = meta["space"]
        self.version: str = meta["version"]
        self.size: int = meta["size"]
        self.checksum: str = meta["checksum"]
        self.columns: dict[str, Column] = {}
        self._mapped: dict[str, NDArray[Any]] = {}
        for entry in meta["columns"]:
            fields = entry | {key: tuple(entry[key]) for key in ("epochs", "seeds", "shape")}
            column = Column(**fields)
            self.columns[column.name] = column

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Table:
        """Open the table in folder ``path``.

        Raises DataError where there is no table, or one that another version of the format wrote.
        """
        folder = Path(path)
        try:
            meta = json.loads((folder / "table.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError(
                f"no table in {folder}: it has no table.json (nasharness list tables shows those there are)"
            ) from None
        except (OSError, ValueError) as error:
            raise DataError(f"cannot read {folder / 'table.json'}: {error}; import the table again") from error
        if not isinstance(meta, dict) or meta.get("format") != FORMAT:
            found = meta.get("format") if isinstance(meta, dict) else type(meta).__name__
            raise DataError(f"{folder / 'table.json'}: format {found!r}, expected {FORMAT!r}; import the table again")
        try:
            return cls(folder, meta)
        except (KeyError, TypeError) as error:
            raise DataError(f"{folder / 'table.json'} is damaged ({error}); import the table again") from error

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
        if name in self._mapped:
            return self._mapped[name]
        column = self.columns[name]
        path = self.path / f"{name}.npy"
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"cannot read {path}: {error}; import table {self.name!r} again") from error
        if array.shape != column.shape or array.dtype != np.dtype(column.dtype):
            raise DataError(
                f"{path}: {array.dtype} {array.shape}, expected {column.dtype} {column.shape}; "
                f"import table {self.name!r} again"
            )
        mapped: NDArray[Any] = array
        self._mapped[name] = mapped
        return mapped

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
            path = self.path / f"{name}.npy"
            if not path.is_file():
                problems.append(f"{path}: missing")
            elif file_sha256(path) != column.sha256:
                problems.append(f"{path}: SHA-256 differs from table.json; import table {self.name!r} again")
        if table_checksum(self.meta["columns"]) != self.checksum:
            problems.append(f"{self.path / 'table.json'}: the checksum over all columns differs")
        return problems


def seed_mean(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over axis 0 of ``[seeds, n]`` leaving NaN out; NaN where every seed is absent."""
    present = ~np.isnan(plane)
    count = present.sum(axis=0)
    total = np.where(present, plane, 0.0).sum(axis=0)
    mean: NDArray[np.float64] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean


class TableWriter:
    """Writes a table into a temporary folder beside ``destination`` and renames it into place when all is well.

    Used as a context manager. An exception leaves the destination as it was; a killed process leaves only a folder
    whose name starts with ``.partial-``, which the next writer to the same place removes.
    """

    def __init__(
        self,
        destination: str | os.PathLike[str],
        *,
        space: str,
        name: str,
        version: str,
        size: int,
        source: str,
        licence: str,
        citation: str,
        attribution: str = "",
        provenance: Mapping[str, Any] | None = None,
        protocol: Mapping[str, str] | None = None,
        space_checksum: str = "",
    ) -> None:
        self.destination = Path(destination)
        self.meta: dict[str, Any] = {
            "format": FORMAT,
            "space": space,
            "name": name,
            "version": version,
            "size": size,
            "source": source,
            "licence": licence,
            "citation": citation,
            "attribution": attribution,
            "provenance": dict(provenance or {}),
        }
        if protocol:
            self.meta["protocol"] = dict(protocol)
        if space_checksum:
            self.meta["space_checksum"] = space_checksum
        self._columns: dict[str, Column] = {}
        self._open: dict[str, np.memmap[Any, Any]] = {}

    def __enter__(self) -> TableWriter:
        parent = self.destination.parent
        self._lock = contextlib.ExitStack()
        try:
            self._lock.enter_context(only_writer(self.destination))
            for stale in parent.glob(f".partial-{self.destination.name}-*"):
                shutil.rmtree(stale, ignore_errors=True)
            self._folder = Path(tempfile.mkdtemp(prefix=f".partial-{self.destination.name}-", dir=parent))
        except OSError as error:
            self._lock.close()
            raise UsageError(f"cannot write a table under {parent}: {error.strerror or error}") from error
        return self

    def create(
        self,
        dataset: str,
        metric: str,
        *,
        unit: str,
        dtype: str = "float32",
        schedule: int | None = None,
        epochs: Sequence[int] = (),
        seeds: Sequence[str] = (),
        note: str = "",
        minimise: bool = False,
    ) -> np.memmap[Any, Any]:
        """Create a column and return it mapped for writing, filled with NaN: ``[epochs, seeds, n]`` or ``[n]``."""
        n = self.meta["size"]
        shape = (max(1, len(epochs)), len(seeds), n) if seeds else (n,)
        column = Column(
            dataset, metric, unit, schedule, tuple(map(int, epochs)), tuple(seeds), np.dtype(dtype).str, shape, "",
            note, minimise,
        )  # fmt: skip
        path = self._folder / f"{column.name}.npy"
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
        array[...] = np.nan
        self._columns[column.name] = column
        self._open[column.name] = array
        return array

    def add(self, dataset: str, metric: str, values: ArrayLike, **options: Any) -> None:
        """Create a column and fill it with ``values``; ``options`` are those of ``create``."""
        array = self.create(dataset, metric, **options)
        array[...] = np.asarray(values).reshape(array.shape)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            with self._lock:
                self._finish(kind is not None)
        except OSError as problem:
            shutil.rmtree(self._folder, ignore_errors=True)
            place = self.destination.parent
            raise DataError(f"cannot write a table under {place}: {problem.strerror or problem}") from problem

    def _finish(self, failed: bool) -> None:
        if failed:
            self._open.clear()
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        entries = []
        for name, column in self._columns.items():
            self._open.pop(name).flush()
            entry = asdict(column) | {"sha256": file_sha256(self._folder / f"{name}.npy")}
            if not column.minimise:
                del entry["minimise"]
            entries.append(entry)
        self.meta["columns"] = entries
        self.meta["checksum"] = table_checksum(entries)
        (self._folder / "table.json").write_text(json.dumps(self.meta, indent=1) + "\n", encoding="utf-8")
        old = None
        self._folder.chmod(0o755)  # mkdtemp makes it private; tables may be shared
        if self.destination.exists():
            old = self.destination.with_name(f".partial-{self.destination.name}-old-{os.getpid()}")
            self.destination.rename(old)
        self._folder.rename(self.destination)
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)


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
