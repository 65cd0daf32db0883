"""What a search has paid for, a line a training, so that a killed search replays it instead of training again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nasharness.errors import DataError, UsageError
from nasharness.runs.log import Log
from nasharness.training.proxy_search.shrink import Job, Outcome

NAME = "journal.jsonl"
ADVICE = "delete this line to train that network again, or choose another --out"


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
        if not resume and self.path.exists() and self.path.stat().st_size:
            raise UsageError(f"{folder} holds a search already; go on with --resume, or choose another --out")
        self._log = Log(folder, name=NAME, entry=("entry of a journal", ADVICE), table=False)
        plain = json.loads(json.dumps(identity))
        self._read(plain)
        if not self._log.rows:
            self._log.write({"identity": plain})

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
        self._log.write(row)
        self.known[job.key] = outcome

    def _read(self, identity: Mapping[str, Any]) -> None:
        for number, row in enumerate(self._log.rows):
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
                    f"{self.path}, line {number + 1}: no entry of a journal ({type(error).__name__}: {error}); {ADVICE}"
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
