"""The file of scores, written whole or not at all, and the journal from which a run that was stopped goes on."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness import storage
from nasharness.errors import DataError, UsageError

#: Seconds between two writes of what was found so far.
_EVERY = 2.0
ENDINGS = (".csv", ".parquet", ".pq")


class Kept:
    """What was found so far, in a journal beside the file: first the identity, then a line an architecture."""

    def __init__(self, journal: Path | None, identity: dict[str, Any], rows: dict[int, list[float]]) -> None:
        self.journal, self.identity, self.rows = journal, identity, rows
        self.complete: Path | None = None
        self._waiting: list[str] = []
        self._written = time.monotonic()

    def add(self, arch: int, scores: list[float]) -> None:
        if self.journal is None:
            return
        self._waiting.append(json.dumps({"index": arch, "scores": scores}) + "\n")
        if time.monotonic() - self._written > _EVERY:
            self.flush()

    def flush(self) -> None:
        if self.journal is None or not self._waiting:
            return
        if not self.journal.exists():
            self._waiting.insert(0, json.dumps(self.identity) + "\n")
        with storage.writing(self.journal):
            storage.append(self.journal, "".join(self._waiting))
        self._waiting.clear()
        self._written = time.monotonic()

    def done(self) -> None:
        self._waiting.clear()
        if self.journal is not None:
            self.journal.unlink(missing_ok=True)


@contextlib.contextmanager
def keeping(out: Path | None, identity: dict[str, Any], resume: bool) -> Iterator[Kept]:
    """The journal of the file ``out``, locked; flushed when the work stops, for whatever reason.

    Raises UsageError where the file is there, or was begun, and ``resume`` was not asked for or it is of another
    request; DataError for a damaged journal, and where another process writes the file.
    """
    if out is None:
        if resume:
            raise UsageError("--resume goes on with the file in --out; give --out FILE")
        yield Kept(None, identity, {})
        return
    with contextlib.ExitStack() as stack:
        with storage.writing(out):
            stack.enter_context(storage.only_writer(out, "scores"))
        kept = _found(out, identity, resume)
        try:
            yield kept
        finally:
            kept.flush()


def _found(out: Path, identity: dict[str, Any], resume: bool) -> Kept:
    journal = out.with_name(f".{out.name}.begun")
    kept = Kept(journal, identity, {})
    if out.exists():
        if not resume:
            raise UsageError(f"--out {out}: there is one already; choose another name, or remove it")
        _same(_card(out), identity, out)
        kept.complete = out
    elif card_path(out).exists() and not journal.exists():
        raise UsageError(f"--out {out}: {card_path(out)} is there, and would be written over; choose another name")
    elif journal.exists():
        with storage.reading(journal):
            rows, whole = storage.read_lines(journal, "row of scores", "remove it to begin again")
        if not resume:
            raise UsageError(
                f"--out {out}: {max(len(rows) - 1, 0):,} architectures of it are scored; go on with --resume, or "
                f"remove {journal}"
            )
        if rows:
            _same(rows[0], identity, journal)
            try:
                kept.rows = {int(row["index"]): [float(value) for value in row["scores"]] for row in rows[1:]}
            except (KeyError, TypeError, ValueError):
                raise DataError(f"{journal}: no scores in it; remove it to begin again") from None
            if any(len(scores) != len(identity["proxies"]) for scores in kept.rows.values()):
                raise DataError(f"{journal}: rows of another length; remove it to begin again")
        with storage.writing(journal):
            os.truncate(journal, whole)  # behind it lies what was being written when something crashed
            if not whole:
                journal.unlink()
    return kept


def card_path(out: Path) -> Path:
    """The file beside a file of scores that says what they depend on."""
    return out.with_name(out.name + ".json")


def _card(out: Path) -> dict[str, Any]:
    with storage.reading(card_path(out)):
        content = card_path(out).read_bytes()
    try:
        return dict(json.loads(content))
    except (ValueError, TypeError):
        raise DataError(f"{card_path(out)}: no JSON object; choose another --out") from None


def _same(there: dict[str, Any], identity: dict[str, Any], path: Path) -> None:
    differing = [key for key, value in identity.items() if there.get(key) != value]
    if differing:
        key = differing[0]
        raise UsageError(
            f"{path} is of another request: {', '.join(differing)} differ ({key}: {there.get(key)!r} there, "
            f"{identity[key]!r} asked for); choose another --out"
        )


def write(
    out: Path, index: NDArray[np.int64], scores: Mapping[str, NDArray[np.float64]], card: Mapping[str, Any]
) -> None:
    """Write a file of scores, and ``card``, what they depend on, beside it. Raises UsageError where it cannot be."""
    with storage.writing(out):
        if out.suffix == ".csv":
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(["index", *scores])
            columns = [values.tolist() for values in scores.values()]
            for arch, *values in zip(index.tolist(), *columns, strict=True):
                writer.writerow([arch, *("" if math.isnan(value) else repr(value) for value in values)])
            content: Any = text.getvalue()
        else:
            import pyarrow as pa
            import pyarrow.parquet

            table = pa.table({"index": index, **scores})

            def content(path: Path) -> None:
                pyarrow.parquet.write_table(table, path, compression="zstd")

        storage.write_json(card_path(out), card)
        storage.atomically(out, content)
