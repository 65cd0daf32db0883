"""When a study will be through: from what each algorithm's runs have taken, for their costs differ a thousandfold.

``progress.json`` in the study's folder says so until it is complete; ``nasharness watch`` reads it.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nasharness.errors import DataError
from nasharness.storage import write_json
from nasharness.storage.sealed import read_text
from nasharness.studies.shard import Shard

NAME = "progress.json"
#: Seconds between two writings of the file.
EVERY = 1.0
#: Seconds of work from which on it says how the machine compares with the probe.
TELLING = 2.0
#: How far the machine may differ from the time of the probe; what differs by more is one algorithm's own.
FACTOR = 2.0


class Forecast:
    """Seconds left for ``shards``, which are handed out in order to ``jobs`` processes.

    ``expected``: seconds of a run by label of the algorithm, from a probe; it is trusted for algorithms of which
    nothing is finished, scaled by how the others compare with theirs. What a process computes first counts only
    where nothing else is known: it has started then, too.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        jobs: int,
        expected: Mapping[str, float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.jobs, self.expected, self.clock = jobs, dict(expected or {}), clock
        self.waiting = deque(shards)
        self.began = clock()
        self.flying: dict[str, tuple[Shard, float]] = {}
        self.runs: dict[str, list[int]] = {}
        for shard in shards:
            self.runs.setdefault(_label(shard), [0, 0])[1] += shard.runs
        self.cold = {shard.name for shard in shards[:jobs]}
        # runs and seconds, of shards that came first to a process, and of others
        self.taken = {label: {True: [0, 0.0], False: [0, 0.0]} for label in self.runs}
        self._fly(self.began)

    def _fly(self, now: float) -> None:
        while self.waiting and len(self.flying) < self.jobs:
            shard = self.waiting.popleft()
            self.flying[shard.name] = shard, now

    def finished(self, shard: Shard) -> None:
        """Take note of a shard that is through."""
        now = self.clock()
        _, since = self.flying.pop(shard.name, (shard, now))
        label = _label(shard)
        self.runs[label][0] += shard.runs
        taken = self.taken[label][shard.name in self.cold]
        taken[0] += shard.runs
        taken[1] += now - since
        self._fly(now)

    def each(self, label: str) -> float | None:
        """Seconds of a run of an algorithm; None where nothing is known."""
        warm = {name: taken[False] for name, taken in self.taken.items()}
        if warm[label][0]:
            return warm[label][1] / warm[label][0]
        if label in self.expected:
            known = [name for name in self.expected if name in warm and warm[name][0]]
            seconds = sum(warm[name][1] for name in known)
            foreseen = sum(self.expected[name] * warm[name][0] for name in known)
            told = seconds / foreseen if seconds >= TELLING and foreseen else 1.0
            return self.expected[label] * min(max(told, 1 / FACTOR), FACTOR)
        # a start and all, or what the others take
        own = self.taken[label][True]
        of = [own] if own[0] else [one for taken in self.taken.values() for one in taken.values()]
        runs = sum(one[0] for one in of)
        return sum(one[1] for one in of) / runs if runs else None

    @property
    def left(self) -> float | None:
        """Seconds until all is through; None where nothing is known."""
        now, work, longest = self.clock(), 0.0, 0.0
        for shard, since in [*((one, None) for one in self.waiting), *self.flying.values()]:
            each = self.each(_label(shard))
            if each is None:
                return None
            rest = max(0.0, each * shard.runs - (0.0 if since is None else now - since))
            work += rest
            longest = max(longest, rest)
        return max(work / self.jobs, longest)

    def told(self) -> dict[str, Any]:
        """What the file says; ``at``: seconds since 1970."""
        algorithms = {
            label: {"done": done, "runs": runs, "seconds_each": self.each(label)}
            for label, (done, runs) in self.runs.items()
        }
        counts = [sum(one[place] for one in self.runs.values()) for place in (0, 1)]
        return {
            "done": counts[0], "runs": counts[1], "jobs": self.jobs, "seconds": self.clock() - self.began,
            "left": self.left, "at": time.time(), "algorithms": algorithms,
        }  # fmt: skip


def _label(shard: Shard) -> str:
    return shard.labels[4]


class Written:
    """A forecast that keeps ``progress.json`` in ``folder``, not more than once a second."""

    def __init__(self, folder: Path, forecast: Forecast) -> None:
        self.folder, self.forecast = folder, forecast
        self.last = float("-inf")

    def finished(self, shard: Shard) -> None:
        """Take note of a shard that is through."""
        self.forecast.finished(shard)
        now = self.forecast.clock()
        if now - self.last >= EVERY:
            self.last = now
            write_json(self.folder / NAME, self.forecast.told())

    def complete(self) -> None:
        """Nothing is left, and the file says nothing any more."""
        (self.folder / NAME).unlink(missing_ok=True)


def read(folder: Path) -> dict[str, Any] | None:
    """What ``progress.json`` says; None where there is none, or it is being written."""
    try:
        found = json.loads(read_text(folder / NAME))
    except (DataError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def left_by_now(folder: Path) -> float | None:
    """Seconds that are left of a study that runs, by its own forecast; None where it has none."""
    found = read(folder)
    if found is None or not isinstance(found.get("left"), int | float):
        return None
    return max(0.0, float(found["left"]) - (time.time() - float(found["at"])))
