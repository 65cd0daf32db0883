"""Writing a table: whole or not at all, and replacing one so that either is there, however the process ends."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasharness.errors import DataError, UsageError
from nasharness.storage import allocate, as_json, file_sha256, only_writer, reason, sync
from nasharness.storage.sealed import seal
from nasharness.tables.table import FORMAT, Column, Table, table_checksum

#: what a killed writer of a table leaves, with the table's name in it
_LEFT = re.compile(r"\.previous-(.+)|\.partial-(.+)-[^-]*|\.(.+)\.lock")


class TableWriter:
    """Writes a table into a temporary folder beside ``destination`` and renames it into place when all is well.

    Used as a context manager. An exception leaves the destination as it was. What a killed process leaves, ``recover``
    clears away: folders ``.partial-NAME-*``, and ``.previous-NAME``, which it puts back where no other took its place.
    ``switch``: called between taking the old table away and putting the new one there, to replace what goes with it.
    ``rows``: the architectures that are stored, where most are absent: columns then have an entry for each of these.
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
        switch: Callable[[], object] = lambda: None,
        rows: Sequence[int] | None = None,
    ) -> None:
        self.destination = Path(destination)
        self._switch = switch
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
        if rows is not None:
            self.meta["rows"] = [int(row) for row in rows]
        self._columns: dict[str, Column] = {}
        self._open: dict[str, NDArray[Any]] = {}

    def __enter__(self) -> TableWriter:
        parent = self.destination.parent
        self._lock = contextlib.ExitStack()
        try:
            self._lock.enter_context(only_writer(self.destination))
            tidy(self.destination)
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
    ) -> NDArray[Any]:
        """Create a column and return it mapped for writing, filled with NaN: ``[epochs, seeds, n]`` or ``[n]``.

        Raises DataError where the disk has no room for it.
        """
        n = self.meta["size"]
        shape = (max(1, len(epochs)), len(seeds), n) if seeds else (n,)
        column = Column(
            dataset, metric, unit, schedule, tuple(map(int, epochs)), tuple(seeds), np.dtype(dtype).str, shape, "",
            note, minimise,
        )  # fmt: skip
        rows = self.meta.get("rows")
        array = _mapped(
            self._folder / f"{column.name}.npy", np.dtype(dtype), shape if rows is None else (*shape[:-1], len(rows))
        )
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
                if kind is None:
                    self._finish()
        except OSError as problem:
            raise DataError(f"cannot write a table under {self.destination.parent}: {reason(problem)}") from problem
        finally:
            self._open.clear()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _finish(self) -> None:
        entries = []
        for name, column in self._columns.items():
            self._open.pop(name).flush()  # type: ignore[attr-defined]
            path = self._folder / f"{name}.npy"
            sync(path)
            entry = asdict(column) | {"sha256": file_sha256(path)}
            if not column.minimise:
                del entry["minimise"]
            entries.append(entry)
        self.meta["columns"] = entries
        self.meta["checksum"] = table_checksum(entries)
        card = self._folder / "table.json"
        card.write_text(as_json(seal(self.meta)), encoding="utf-8")
        self._folder.chmod(0o755)  # mkdtemp makes it private; tables may be shared
        for written in (card, self._folder):
            sync(written)
        previous = previous_of(self.destination)
        if self.destination.exists():
            self.destination.rename(previous)
        self._switch()
        self._folder.rename(self.destination)
        sync(self.destination.parent)
        shutil.rmtree(previous, ignore_errors=True)


def _mapped(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """A new ``.npy`` file mapped for writing; its room on the disk is reserved, for a page without any kills us."""
    try:
        with path.open("wb") as file:
            header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            file.flush()
            start = file.tell()
            size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            allocate(file.fileno(), start + size)
            file.truncate(start + size)
    except OSError as error:
        raise DataError(f"cannot write {path}: {reason(error)}") from error
    return np.memmap(path, dtype=dtype, mode="r+", offset=start, shape=shape)


def partial_of(destination: Path, what: str) -> Path:
    """A name beside a table that is cleared away after a killed writer."""
    return destination.with_name(f".partial-{destination.name}-{what}")


def previous_of(destination: Path) -> Path:
    """Where a table lies while another takes its place."""
    return destination.with_name(f".previous-{destination.name}")


def tidy(destination: Path, bound: str | None = None) -> None:
    """Finish or undo what a killed writer began; whoever calls it holds the table's lock.

    ``bound``: the checksum of the space that the folder defines now; a table of another one is not put back.
    """
    previous = previous_of(destination)
    partial = sorted(destination.parent.glob(f".partial-{destination.name}-*"))
    if not destination.exists() and previous.exists():
        for candidate in (previous, *partial):
            if _fits(candidate, bound):
                candidate.rename(destination)
                break
    for left in (previous, *partial):
        if left.exists() and destination.exists() or left != previous:
            shutil.rmtree(left, ignore_errors=True)


def recover(folder: Path, bound: str | None = None) -> bool:
    """Tidy after killed writers in the folder of a space's tables, unless they are still at work.

    Returns whether there were any.
    """
    left = [_LEFT.fullmatch(path.name) for path in folder.glob(".*")]
    names = {next(filter(None, match.groups())) for match in left if match}
    for name in names:
        with contextlib.suppress(DataError, OSError), only_writer(folder / name):  # at work, or a folder not to write
            tidy(folder / name, bound)
    return bool(names)


def _fits(folder: Path, bound: str | None) -> bool:
    try:
        wanted = Table.open(folder).meta.get("space_checksum")
    except DataError:
        return False
    return bound is None or not wanted or wanted == bound
