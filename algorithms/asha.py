"""ASHA: successive halving that promotes as soon as it can, and never waits for a rung to fill."""

from __future__ import annotations

from typing import Any

import numpy as np
from nasharness.algorithms.rungs import rungs
from numpy.typing import NDArray

from nasharness.errors import UsageError
from nasharness.search import Algorithm, Task, register
from nasharness.search.algorithm import Asked
from nasharness.spaces.base import Floats, Indices


class _Rung:
    """What the runs have evaluated at one fidelity, the best first, and what of it they have promoted."""

    def __init__(self, task: Task) -> None:
        self._shape, self._dtype = task.space.arch_shape, task.space.arch_dtype
        self.count = np.zeros(task.runs, dtype=np.int64)
        self.values = np.full((task.runs, 0), -np.inf)
        self.gone = np.zeros((task.runs, 0), dtype=bool)  # promoted
        self.ids = np.zeros((task.runs, 0, *self._shape), dtype=self._dtype)

    def insert(self, rows: NDArray[np.intp], ids: Indices, values: Floats) -> None:
        """Add one evaluation of each of ``rows``; of equals the first stays in front."""
        if len(rows) == 0:
            return
        if self.count.max() == self.values.shape[1]:
            self._grow(max(64, 2 * self.values.shape[1]))
        used = int(self.count[rows].max()) + 1
        place = (self.values[rows, :used] >= values[:, None]).sum(axis=1)
        place = np.minimum(place, self.count[rows])
        columns = np.arange(used)
        source = np.maximum(columns - (columns > place[:, None]), 0)
        at = np.arange(len(rows))
        for held, new in ((self.values, values), (self.gone, np.zeros(len(rows), dtype=bool)), (self.ids, ids)):
            part = held[rows[:, None], source]
            part[at, place] = new
            held[rows, :used] = part
        self.count[rows] += 1

    def promotable(self, eta: int) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
        """Which runs have something to promote, and where it is: the best of the top 1 / ``eta`` that is still here."""
        width = int(self.count.max(initial=0)) // eta
        if width == 0:
            return np.zeros(len(self.count), dtype=bool), np.zeros(len(self.count), dtype=np.intp)
        here = ~self.gone[:, :width] & (np.arange(width) < (self.count // eta)[:, None])
        return here.any(axis=1), here.argmax(axis=1)

    def _grow(self, room: int) -> None:
        for name, empty in (("values", -np.inf), ("gone", False), ("ids", 0)):
            old: NDArray[Any] = getattr(self, name)
            new = np.full((len(old), room, *old.shape[2:]), empty, dtype=old.dtype)
            new[:, : old.shape[1]] = old
            setattr(self, name, new)


@register(
    "asha",
    citation="Li et al., A System for Massively Parallel Hyperparameter Tuning, MLSys 2020 (arXiv 1810.05934)",
    needs=("fidelities",),
    variants={"paper": ("ASHA with its authors' reduction factor of 4", {"eta": 4})},
    meanings={
        "eta": "one in so many is promoted to a rung so many times as long; at least 2; as in Hyperband (Li et al.: 4)",
        "workers": "evaluations that are in flight together; 1 to 1,000; ours",
        "min_epochs": "the lowest rung, in epochs; 1 to the full fidelity; ours",
    },
)
class Asha(Algorithm):
    """Asynchronous successive halving over epochs.

    A free worker promotes, from the highest rung on which it can, the best architecture that is among the top
    1/``eta`` of its rung and was not promoted before; where there is none, it evaluates a new random architecture on
    the lowest rung. Results of ``workers`` evaluations arrive together. Every evaluation trains from scratch and pays
    for all its epochs, as in NATS-Bench. With a single fidelity this is random search. A start that the problem says
    comes first, on the lowest rung.

    The incumbent compares signals across fidelities, which flatters none: fewer epochs score lower.
    """

    def __init__(self, task: Task, *, eta: int = 3, workers: int = 1, min_epochs: int = 1) -> None:
        super().__init__(task)
        self._fidelities = np.array(rungs(task.epochs, eta, min_epochs, "asha"), dtype=np.int32)
        if not 1 <= workers <= 1_000:
            raise UsageError(f"asha: workers = {workers}: expected 1 to 1,000")
        self._eta, self._workers = eta, workers
        self._rungs = [_Rung(task) for _ in self._fidelities]
        self._asked = np.zeros((self.runs, workers), dtype=np.intp)  # on which rung
        self._start = task.start(0, lambda: task.nothing)

    def ask(self) -> Asked:
        if self._start.shape[1]:
            ids, self._start = np.split(self._start, [self._workers], axis=1)
            self._asked = np.zeros(ids.shape[:2], dtype=np.intp)
            return ids, int(self._fidelities[0])
        each, rows = self.space.uniforms_per_sample, np.arange(self.runs)
        u = self.streams.uniform(self._workers * each).reshape(self.runs, self._workers, each)
        ids = np.array(self.space.sample(u))
        self._asked = np.zeros((self.runs, self._workers), dtype=np.intp)
        for slot in range(self._workers):
            free = np.ones(self.runs, dtype=bool)
            for number in range(len(self._rungs) - 2, -1, -1):
                rung = self._rungs[number]
                found, where = rung.promotable(self._eta)
                some = rows[found & free]
                ids[some, slot] = rung.ids[some, where[some]]
                rung.gone[some, where[some]] = True
                self._asked[some, slot] = number + 1
                free[some] = False
        return ids, self._fidelities[self._asked]

    def tell(self, ids: Indices, values: Floats) -> None:
        for slot in range(values.shape[1]):
            known = ~np.isnan(values[:, slot])
            for number, rung in enumerate(self._rungs):
                rows = np.flatnonzero(known & (self._asked[:, slot] == number))
                rung.insert(rows, ids[rows, slot], values[rows, slot])
