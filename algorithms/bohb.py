"""BOHB: Hyperband brackets whose architectures a kernel density estimator proposes. As run by NATS-Bench."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from nasharness.algorithms.rungs import promoted, rungs
from numpy.typing import NDArray

from nasharness.errors import UsageError
from nasharness.search import Algorithm, Task, register
from nasharness.search.algorithm import Asked
from nasharness.spaces.base import Choices, Floats, Indices

#: Densities below this count as this, in HpBandSter's words "max(1e-32, ...)".
FLOOR = 1e-32
#: Positions whose patterns of agreement are looked up at once.
_BITS = 8


def brackets(fidelities: int, eta: int) -> list[list[int]]:
    """Return Hyperband's cycle for so many rungs: each bracket's numbers of architectures, ending at the top rung.

    Three rungs, eta 3: ``[[9, 3, 1], [3, 1], [3]]``.
    """
    cycle = []
    for below in range(fidelities - 1, -1, -1):
        first = fidelities // (below + 1) * eta**below
        cycle.append([max(first // eta**rung, 1) for rung in range(below + 1)])
    return cycle


@dataclass
class Density:
    """Kernel densities of ``data``, int8 ``[positions, runs, points]``: one for each run.

    A product of Aitchison-Aitken kernels: 1 - h where the categories agree, else h / (levels - 1), with the levels that
    occur in the data, as statsmodels counts them. A position with one level makes the density elsewhere infinite, or
    not a number.

    The bandwidth ``h``, float64 ``[positions, runs]``, follows the normal reference rule, 1.06 std n^(-1 / (4 +
    positions)), but is at least ``least``. That treats the numbers of categories as if they were quantities, and it is
    clipped from below alone: above 1 a kernel is negative where the categories agree. Both are so in HpBandSter with
    statsmodels, hence in the published results.
    """

    data: NDArray[np.int8]
    least: float

    def __post_init__(self) -> None:
        positions, runs, n = self.data.shape
        total, squares = (np.zeros((positions, runs), dtype=np.int64) for _ in range(2))
        levels = np.zeros((positions, runs))
        for option in range(int(self.data.max()) + 1):
            count = np.add.reduce(self.data == option, axis=-1, dtype=np.int64)
            total += option * count
            squares += option * option * count
            levels += count > 0
        deviation = np.sqrt(n * squares - total * total) / n  # of integers: exact up to the root
        self.h: Floats = np.maximum(1.06 * deviation * float(n) ** (-1.0 / (4 + positions)), self.least)
        with np.errstate(divide="ignore", invalid="ignore"):
            self._differs = self.h / (levels - 1.0)
        self._agrees = 1.0 - self.h
        with np.errstate(invalid="ignore", over="ignore"):
            self._products = [self._table(first, min(first + _BITS, positions)) for first in range(0, positions, _BITS)]

    def _table(self, first: int, end: int) -> Floats:
        """The product of kernels for every pattern of agreement: ``[runs, 2^(end - first)]``, bit 0 for ``first``."""
        table = np.ones((self.data.shape[1], 1))
        for position in range(first, end):
            differs, agrees = self._differs[position][:, None], self._agrees[position][:, None]
            table = np.concatenate([table * differs, table * agrees], axis=1)
        return table

    def at(self, choices: Choices) -> Floats:
        """The density, float64 ``[runs]``, at ``choices [positions, runs]``."""
        kernels = np.ones(self.data.shape[1:])
        with np.errstate(invalid="ignore", over="ignore"):
            for part, table in enumerate(self._products):
                pattern = np.zeros(self.data.shape[1:], dtype=np.uint8)
                for bit, position in enumerate(range(part * _BITS, min((part + 1) * _BITS, len(self.data)))):
                    same = self.data[position] == choices[position][:, None]
                    pattern |= same.view(np.uint8) << np.uint8(bit)
                runs, patterns = table.shape
                kernels *= table.ravel().take(pattern + np.arange(0, runs * patterns, patterns)[:, None])
            # along the last, contiguous axis: a run's sum is the same bits in any batch
            return np.asarray(np.add.reduce(kernels, axis=1) / self.data.shape[2])


class _Observations:
    """What the runs have seen at one rung, sorted by loss: all runs have seen equally much."""

    def __init__(self, positions: int, runs: int) -> None:
        self.n = 0
        self._data = np.zeros((positions, runs, 32), dtype=np.int8)
        self._loss = np.full((runs, 32), np.inf)

    @property
    def data(self) -> NDArray[np.int8]:
        """Choices, best first: ``[positions, runs, n]``."""
        return self._data[:, :, : self.n]

    def insert(self, choices: Choices, loss: Floats) -> None:
        """Add one observation a run: choices ``[runs, positions]``, loss ``[runs]``; behind its equals."""
        n = self.n
        if n == self._loss.shape[1]:
            self._data = np.concatenate([self._data, np.zeros_like(self._data)], axis=2)
            self._loss = np.concatenate([self._loss, np.full_like(self._loss, np.inf)], axis=1)
        place = (self._loss[:, :n] <= loss[:, None]).sum(axis=1)[:, None]
        behind = np.arange(n) >= place  # these make room
        for array, fresh in ((self._loss, loss), *zip(self._data, choices.T, strict=True)):
            old = array[:, :n].copy()
            np.copyto(array[:, 1 : n + 1], old, where=behind)
            array[np.arange(len(array)), place[:, 0]] = fresh
        self.n += 1


@register(
    "bohb",
    citation="Falkner et al., BOHB: Robust and Efficient Hyperparameter Optimization at Scale, ICML 2018",
    needs=("fidelities", "product"),
    meanings={
        "eta": "one in so many goes on to the next fidelity, which is so many times as long; at least 2; NATS-Bench's",
        "min_epochs": "the lowest fidelity, in epochs; 1 to the full fidelity; NATS-Bench's",
        "num_samples": "candidates of which the most promising is evaluated; at least 1; NATS-Bench's (HpBandSter: 64)",
        "random_fraction": "share of architectures drawn uniformly; 0 to 1; NATS-Bench's (HpBandSter: 1/3)",
        "min_bandwidth": "least bandwidth of a kernel; more than 0 and at most 1; NATS-Bench's (HpBandSter: 1e-3)",
        "top_n_percent": "percent of the architectures that count as good; 1 to 99; HpBandSter's",
        "min_points": "least number of good ones, and of bad ones; at least positions + 1, the default; HpBandSter's",
    },
)
class BOHB(Algorithm):
    """Hyperband with a kernel density sampler, with the settings of NATS-Bench and the arithmetic of HpBandSter 0.7.4.

    Brackets of successive halving cycle: with ``eta`` 3 and fidelities of 1 to 12 epochs 9, 3, 1 architectures at
    1, 4, 12 epochs; 3, 1 at 4, 12; and 3 at 12. Every evaluation trains from scratch.
    (docs/reproduction/multi-trial.md#bohb)

    A new architecture is drawn uniformly (always before a model exists, later with probability ``random_fraction``), or
    proposed by the model of the largest fidelity that has one: of ``num_samples`` candidates, the one with the smallest
    ratio of the density of bad architectures to that of good ones. A candidate is a random good architecture, each
    choice kept with probability 1 - bandwidth, else drawn uniformly. The good ones are the best ``top_n_percent``, the
    bad ones the rest, each at least ``min_points`` (default: positions + 1). Results at less than the largest modelled
    fidelity are ignored.

    With a single fidelity each bracket is one architecture, which leaves the sampler alone: no better than random
    search on 12-epoch validation of tss, for its bandwidths often exceed 1 (see `Density`). What NATS-Bench reports
    owes to the short rungs, which buy 2.4 times as many evaluations.
    """

    def __init__(
        self,
        task: Task,
        *,
        eta: int = 3,
        min_epochs: int = 1,
        num_samples: int = 4,
        random_fraction: float = 0.0,
        min_bandwidth: float = 0.3,
        top_n_percent: int = 15,
        min_points: int | None = None,
    ) -> None:
        super().__init__(task)
        self._positions = len(self.space.sizes)
        min_points = self._positions + 1 if min_points is None else min_points
        if not isinstance(min_points, int) or min_points <= self._positions:
            raise UsageError(f"bohb: min_points = {min_points}: expected a whole number above {self._positions}")
        if num_samples < 1:
            raise UsageError(f"bohb: num_samples = {num_samples}: expected at least 1")
        if not 0 <= random_fraction <= 1:
            raise UsageError(f"bohb: random_fraction = {random_fraction}: expected 0 to 1")
        if not 0 < min_bandwidth <= 1:
            raise UsageError(f"bohb: min_bandwidth = {min_bandwidth}: expected more than 0 and at most 1")
        if not 1 <= top_n_percent <= 99:
            raise UsageError(f"bohb: top_n_percent = {top_n_percent}: expected 1 to 99")
        self._min_points = min_points
        self._candidates = num_samples
        self._random_fraction = random_fraction
        self._min_bandwidth = min_bandwidth
        self._top = top_n_percent
        self._sizes = np.array(self.space.sizes)

        self._rungs = rungs(task.epochs, eta, min_epochs, "bohb")
        self._cycle = brackets(len(self._rungs), eta)
        self._bracket = 0
        self._stage = 0
        self._asked: list[tuple[Indices, Floats]] = []  # of the first stage, told one by one
        self._promoted: Indices | None = None
        self._seen = [_Observations(self._positions, self.runs) for _ in self._rungs]
        self._start = task.start(self._cycle[0][0], lambda: task.nothing)

    # -- Hyperband -------------------------------------------------------------------------------------------------

    @property
    def _rung(self) -> int:
        return len(self._rungs) - len(self._cycle[self._bracket]) + self._stage

    def ask(self) -> Asked:
        if self._promoted is not None:
            ids = self._promoted
        elif self._start.shape[1]:
            ids, self._start = self._start[:, :1], self._start[:, 1:]
        else:
            ids = self._propose()[:, None]
        return ids, self._rungs[self._rung]

    def tell(self, ids: Indices, values: Floats) -> None:
        self._learn(ids, values)
        self._asked.append((ids, values))
        sizes = self._cycle[self._bracket]
        if sum(part.shape[1] for part, _ in self._asked) < sizes[self._stage]:
            return
        ids, values = (np.concatenate(parts, axis=1) for parts in zip(*self._asked, strict=True))
        self._asked = []
        self._stage += 1
        if self._stage < len(sizes):
            self._promoted = promoted(ids, values, sizes[self._stage])
        else:
            self._promoted = None
            self._stage = 0
            self._bracket = (self._bracket + 1) % len(self._cycle)

    # -- the model -------------------------------------------------------------------------------------------------

    def _learn(self, ids: Indices, values: Floats) -> None:
        if (self._modelled() or 0) > self._rung:
            return
        choices = self.space.choices(np.maximum(ids, 0))
        for slot in range(ids.shape[1]):
            self._seen[self._rung].insert(choices[:, slot], 100.0 - values[:, slot])

    def _split(self, n: int) -> tuple[int, int]:
        """How many of ``n`` architectures are good, and how many of the others are bad."""
        good = max(self._min_points, self._top * n // 100)
        bad = max(self._min_points, (100 - self._top) * n // 100)
        return min(good, n), min(bad, max(n - good, 0))

    def _modelled(self) -> int | None:
        """The largest rung with a model: where both parts have more architectures than there are positions."""
        for rung in range(len(self._rungs) - 1, -1, -1):
            if min(self._split(self._seen[rung].n)) > self._positions:
                return rung
        return None

    def _propose(self) -> Indices:
        positions = self._positions
        u = self.streams.uniform(1 + positions + self._candidates * (1 + 2 * positions))
        uniform = self.space.sample(u[:, 1 : 1 + positions])
        rung = self._modelled()
        if rung is None:
            return uniform
        n_good, n_bad = self._split(self._seen[rung].n)
        data = self._seen[rung].data
        good = Density(data[:, :, :n_good], self._min_bandwidth)
        bad = Density(data[:, :, n_good : n_good + n_bad], self._min_bandwidth)

        best = np.full(self.runs, np.inf)
        found = np.zeros(self.runs, dtype=bool)  # a candidate, if only one that is not worse than the others
        settled = np.zeros(self.runs, dtype=bool)  # no more candidates are looked at
        chosen = np.zeros((self.runs, positions), dtype=np.int8)
        for draws in np.split(u[:, 1 + positions :], self._candidates, axis=1):
            candidate = self._candidate(good, draws.T)
            inside, outside = good.at(candidate), bad.at(candidate)
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                # as Python's max() decides where a density is not a number
                ratio = np.where(outside > FLOOR, outside, FLOOR) / np.where(inside < FLOOR, FLOOR, inside)
            # A choice that no bad architecture has: HpBandSter takes such a candidate at once.
            at_once = ~settled & ~np.isfinite(ratio) & np.isfinite(inside)
            take = at_once | (~settled & (ratio < best))
            chosen[take] = candidate.T[take]
            best[take] = ratio[take]
            found |= take
            settled |= at_once
        random = ~found | (u[:, 0] < self._random_fraction)
        return np.where(random, uniform, self.space.index(chosen))

    def _candidate(self, good: Density, draws: Floats) -> Choices:
        """A random good architecture of each run, some choices drawn anew: ``[positions, runs]``.

        ``draws``: uniforms ``[1 + 2 positions, runs]``.
        """
        point = (draws[0] * good.data.shape[2]).astype(np.intp)
        datum = good.data[:, np.arange(self.runs), point]
        keep = draws[1 : 1 + self._positions] < 1.0 - good.h
        anew = (draws[1 + self._positions :] * self._sizes[:, None]).astype(np.int8)
        return np.where(keep, datum, anew)
