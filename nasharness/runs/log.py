"""The journal of a training run: one row an epoch (or interval), as JSON lines and as CSV, and on boards."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nasharness.errors import DataError
from nasharness.runs.boards import Boards
from nasharness.storage import append, as_cell, atomically, read_lines, reading, reason

NAME = "log.jsonl"
#: what a line is, and what to do about one that is none
ENTRY = ("row of a training log", "move the file away to start afresh")


class Log:
    """Rows of numbers and short texts in ``folder``: ``log.jsonl`` is the record, ``log.csv`` the same as a table.

    A row is written with one call and flushed to the disk; a last line that a crash has cut is dropped when the journal
    is opened again. ``key`` (``"step"`` or ``"epoch"``) orders the rows: :meth:`rewind` forgets what a resumed run will
    do again. ``boards``: where its numbers are shown, too, see `nasharness.runs.boards`. ``name``: another name of the
    record, whose lines are another ``entry``; ``table``: whether there is a table.

    Raises:
        UsageError: a board is unknown, or its package not installed.
        DataError: the files cannot be written, or hold something else than a journal.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        key: str = "step",
        boards: Iterable[str] = (),
        name: str = NAME,
        entry: tuple[str, str] = ENTRY,
        table: bool = True,
    ) -> None:
        self.folder, self.key, self.table = Path(folder), key, table
        self.jsonl, self.csv = self.folder / name, self.folder / "log.csv"
        self.rows: list[dict[str, Any]] = []
        self._fields: list[str] = []
        self._boards = Boards(self.folder, boards)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.rows, torn = _read(self.jsonl, entry)
            if torn:
                self._rewrite()
            elif self.rows:
                self._rewrite_csv()
        except OSError as error:
            raise _unwritable(self.folder, error) from error

    def write(self, row: Mapping[str, Any]) -> None:
        """Append a row; values are numbers, strings, booleans or None.

        Raises:
            DataError: the disk is full or not writable; rows written before are whole.
        """
        plain = {name: _plain(value) for name, value in row.items()}
        try:
            append(self.jsonl, json.dumps(plain) + "\n")
            self.rows.append(plain)
            if not self.table:
                return
            if set(plain) <= set(self._fields):
                append(self.csv, _csv_lines([plain], self._fields))
            else:
                self._rewrite_csv()  # a new column: the file is made again
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        self._boards.write(plain, self.key)

    def rewind(self, last: float) -> int:
        """Drop rows whose key is above ``last``, which a run resumed there will write again; return how many."""
        kept = [row for row in self.rows if _number(row.get(self.key)) <= last]
        dropped = len(self.rows) - len(kept)
        if dropped:
            self.rows = kept
            try:
                self._rewrite()
            except OSError as error:
                raise _unwritable(self.folder, error) from error
        return dropped

    def close(self) -> None:
        """Close what the boards hold open; the rest is closed after every row."""
        self._boards.close()

    def _rewrite(self) -> None:
        text = "".join(json.dumps(row) + "\n" for row in self.rows)
        atomically(self.jsonl, text)
        self._rewrite_csv()

    def _rewrite_csv(self) -> None:
        if not self.table:
            return
        self._fields = list(dict.fromkeys(name for row in self.rows for name in row))
        atomically(self.csv, csv_of(self.rows, self._fields))


def read(folder: Path | str) -> list[dict[str, Any]]:
    """Return the rows of a journal without touching it; a cut last line is left out.

    Raises:
        DataError: there is none, or it is damaged.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        raise DataError(f"there is no training log {path}")
    with reading(path):
        return _read(path)[0]


def _read(path: Path, entry: tuple[str, str] = ENTRY) -> tuple[list[dict[str, Any]], bool]:
    """Return the whole rows and whether something was cut off behind them."""
    if not path.exists():
        return [], False
    rows, whole = read_lines(path, *entry)
    return rows, whole < path.stat().st_size


def csv_of(rows: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> str:
    """These columns of ``rows`` as a table with a header; empty where a row lacks one."""
    return _csv_lines([dict(zip(fields, fields, strict=True)), *rows], fields)


def _csv_lines(rows: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fields, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writerows({name: as_cell(value) for name, value in row.items()} for row in rows)
    return buffer.getvalue()


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("-inf")


def _unwritable(folder: Path, error: OSError) -> DataError:
    if isinstance(error, FileExistsError | NotADirectoryError):
        return DataError(f"cannot write the training log in {folder}: that is a file, or lies in one; choose a folder")
    return DataError(f"cannot write the training log in {folder}: {reason(error)}; free some space and resume")
