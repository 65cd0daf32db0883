"""BOHB: Hyperband brackets whose architectures a kernel density estimator proposes. As run by NATS-Bench."""

from __future__ import annotations

import numpy as np
from nasharness.algorithms.densities import ManyObservations, Observations, cells
from nasharness.algorithms.rungs import promoted, rungs

from nasharness.errors import UsageError
from nasharness.search import Algorithm, Task, register
from nasharness.search.algorithm import Asked
from nasharness.spaces.base import Choices, Floats, Indices

#: Densities below this count as this, in HpBandSter's words "max(1e-32, ...)".
FLOOR = 1e-32
#: Observations at a rung from which on they are counted, see `ManyObservations`. Fewer are summed one by one.
MANY = 1_024
#: Counters a run of space without which evaluations cost time that grows with their number,
_COUNTERS = 100_000
#: and how many of those may be asked for.
_MOST = 20_000


def brackets(fidelities: int, eta: int) -> list[list[int]]:
    """Return Hyperband's cycle for so many rungs: each bracket's numbers of architectures, ending at the top rung.

    Three rungs, eta 3: ``[[9, 3, 1], [3, 1], [3]]``.
    """
    cycle = []
    for below in range(fidelities - 1, -1, -1):
        first = fidelities // (below + 1) * eta**below
        cycle.append([max(first // eta**rung, 1) for rung in range(below + 1)])
    return cycle


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
        self._countable = cells(self._sizes) <= _COUNTERS
        if not self._countable and (task.evaluations or 0) > _MOST:
            raise UsageError(
                f"bohb: {task.evaluations:,} evaluations: on a space as large as {self.space.name} its model costs "
                f"time that grows with their square; expected at most {_MOST:,}"
            )

        self._rungs = rungs(task.epochs, eta, min_epochs, "bohb")
        self._cycle = brackets(len(self._rungs), eta)
        self._bracket = 0
        self._stage = 0
        self._asked: list[tuple[Indices, Floats]] = []  # of the first stage, told one by one
        self._promoted: Indices | None = None
        self._seen: list[Observations | ManyObservations] = [
            Observations(self._positions, self.runs, self._split) for _ in self._rungs
        ]
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
            seen = self._seen[self._rung]
            if isinstance(seen, Observations) and seen.n >= MANY and self._countable:
                seen = self._seen[self._rung] = ManyObservations(seen, self._sizes, self._split)
            seen.insert(choices[:, slot], 100.0 - values[:, slot])

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
        seen = self._seen[rung]
        h, densities = seen.model(self._min_bandwidth)

        best = np.full(self.runs, np.inf)
        found = np.zeros(self.runs, dtype=bool)  # a candidate, if only one that is not worse than the others
        settled = np.zeros(self.runs, dtype=bool)  # no more candidates are looked at
        chosen = np.zeros((self.runs, positions), dtype=np.int8)
        draws = [part.T for part in np.split(u[:, 1 + positions :], self._candidates, axis=1)]
        candidates = np.stack([self._candidate(seen.point(part[0]), h, part) for part in draws], axis=1)
        for number, (inside, outside) in enumerate(zip(*densities(candidates), strict=True)):
            candidate = candidates[:, number]
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

    def _candidate(self, datum: Choices, h: Floats, draws: Floats) -> Choices:
        """A good architecture of each run, ``[positions, runs]``, some choices drawn anew.

        ``draws``: uniforms ``[1 + 2 positions, runs]``, of which the first chose ``datum``.
        """
        keep = draws[1 : 1 + self._positions] < 1.0 - h
        anew = (draws[1 + self._positions :] * self._sizes[:, None]).astype(np.int8)
        return np.where(keep, datum, anew)
