"""What a search has paid for, a line a training, so that a killed search replays it instead of training again."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nasharness.errors import DataError, UsageError
from nasharness.storage import append, read_lines, writing
from nasharness.training.proxy_search.shrink import Job, Outcome

NAME = "journal.jsonl"


class Journal:
    """``journal.jsonl`` in ``folder``: a first line with the identity of the search, then a line for each training.

    ``identity``: everything that decides an outcome besides graph and repeat: space, settings, seed, data. A line is
    on the disk before the search goes on. A last line that is torn is dropped when the journal is opened again.

    Raises:
        UsageError: there is a journal and ``resume`` is False, or it is another search's; what differs is named.
        DataError: the file is damaged, or cannot be read or written.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], *, resume: bool) -> None:
        self.path = folder / NAME
        self.known: dict[str, Outcome] = {}
        plain = json.loads(json.dumps(identity))
        with writing(self.path, "", DataError):
            folder.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and self.path.stat().st_size:
                if not resume:
                    raise UsageError(f"{folder} holds a search already; go on with --resume, or choose another --out")
                self._read(plain)
            if not self.path.exists() or not self.path.stat().st_size:
                self._append({"identity": plain})

    def __len__(self) -> int:
        return len(self.known)

    def get(self, job: Job) -> Outcome | None:
        """Return the outcome of ``job`` if it was paid for."""
        return self.known.get(job.key)

    def put(self, job: Job, outcome: Outcome) -> None:
        """Append an outcome. Raises DataError where the disk is full; what was there stays whole."""
        row = {
            "graph": str(job.graph),
            "repeat": job.repeat,
            "value": outcome.value if math.isfinite(outcome.value) else None,
            "curve": [value if math.isfinite(value) else None for value in outcome.curve],
            "stopped": outcome.stopped,
            "seconds": round(outcome.seconds, 3),
        }
        with writing(self.path, f"{len(self)} trainings are kept, go on with --resume", DataError):
            self._append(row)
        self.known[job.key] = outcome

    def _append(self, row: Mapping[str, Any]) -> None:
        append(self.path, json.dumps(row, allow_nan=False) + "\n")

    def _read(self, identity: Mapping[str, Any]) -> None:
        advice = "delete this line to train that network again, or choose another --out"
        rows, whole = read_lines(self.path, "entry of a journal", advice)
        if whole < self.path.stat().st_size:
            os.truncate(self.path, whole)  # the line that was being written when the search was killed
        for number, row in enumerate(rows):
            try:
                if number == 0:
                    self._same(row["identity"], identity)
                    continue
                value = math.nan if row["value"] is None else float(row["value"])
                curve = tuple(math.nan if one is None else float(one) for one in row["curve"])
                outcome = Outcome(value, curve, str(row["stopped"]), float(row["seconds"]))
                self.known[f"{row['graph']} #{int(row['repeat'])}"] = outcome
            except (ValueError, KeyError, TypeError) as error:
                if isinstance(error, UsageError):
                    raise
                raise DataError(
                    f"{self.path}, line {number + 1}: no entry of a journal ({type(error).__name__}: {error}); {advice}"
                ) from error

    def _same(self, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
        differ = [
            f"{name} is {_short(ours.get(name))}, there {_short(theirs.get(name))}"
            for name in sorted({*theirs, *ours})
            if theirs.get(name) != ours.get(name)
        ]
        if differ:
            raise UsageError(f"{self.path.parent} holds another search: {'; '.join(differ)}; choose another --out")


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
