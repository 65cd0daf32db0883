"""What a search of several objectives found: its front, measured against the exact one of the table.

Objectives are brought to the convention of ``nasharness.fronts``: lower is better. A run's front is what no other of
its evaluations dominates by the search signal; it is then scored by the final metrics. Reference point and scale come
from the exact front of the table, never from a run: ``ideal + 1.1 (nadir - ideal)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nasharness import fronts
from nasharness.errors import UsageError
from nasharness.search import measure as measures
from nasharness.search.interval import summarise
from nasharness.search.trajectories import Trajectories, present
from nasharness.spaces.base import Floats, Indices
from nasharness.tables import Table

if TYPE_CHECKING:
    from nasharness.search.problem import Problem

#: Pairs of evaluations that are compared at a time.
_PAIRS = 1 << 21


@dataclass(frozen=True)
class Exact:
    """The exact front of a problem, lower is better; what the fronts of runs are measured against.

    ``points``: its members ``[members, objectives]``, ascending in the first objective, each once; ``ids``: an
    architecture of each. ``reachable``: final values of the front by the *expected* signal: more than that no search by
    this signal can be told, and ``reachable_share`` is its hypervolume as a share of the exact front's. ``volume``: the
    exact front's hypervolume in the objectives' units. ``note``: why there is none, else empty.
    """

    points: Floats
    ids: Indices
    reachable: Floats
    reference: fronts.Reference | None
    volume: float
    reachable_share: float
    note: str = ""

    def describe(self, problem: Problem) -> dict[str, Any]:
        """Plain values, each objective as a person reads it: what study.json says of a problem."""
        point = None if self.reference is None else np.array(self.reference.point)
        return {
            "exact": shown(problem, self.points).tolist(),
            "architectures": self.ids.tolist(),
            "reachable": shown(problem, self.reachable).tolist(),
            "reference_point": None if point is None else shown(problem, point).tolist(),
            "hypervolume": _number(self.volume),
            "reachable_hypervolume": _number(self.reachable_share),
            "limits": limits_of(problem),
        }


@dataclass(frozen=True)
class Fronts:
    """The fronts of a batch of runs.

    ``ids``: architectures of each run's front, in the order of evaluation; ``signals``: what the search was told of
    them in the first objective, in its own direction. ``points``: their final values ``[members, objectives]`` a run,
    lower is better. ``hypervolume``: of each run as a share of the exact front's, ``[runs]``; ``igd_plus``: distance
    to it on the scale of its own range, ``[runs]``. ``found_on``: the exact front.
    """

    ids: list[Indices]
    signals: list[Floats]
    points: list[Floats]
    hypervolume: Floats
    igd_plus: Floats
    found_on: Exact

    @property
    def exact(self) -> Floats:
        """The exact front, ``[members, objectives]``."""
        return self.found_on.points

    @property
    def note(self) -> str:
        """Why a measure is missing, else empty."""
        return self.found_on.note

    def summary(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        exact = self.found_on
        shares = {"values": [_number(value) for value in self.hypervolume]}
        distances = {"values": [_number(value) for value in self.igd_plus]}
        return {
            "hypervolume": summarise(self.hypervolume) | shares,
            "igd_plus": summarise(np.where(np.isfinite(self.igd_plus), self.igd_plus, np.nan)) | distances,
            "optimum": {"hypervolume": _number(exact.volume), "members": len(exact.points)},
            "reachable": {"hypervolume": _number(exact.reachable_share)},
            "reference_point": None if exact.reference is None else list(exact.reference.point),
            "size": float(np.mean([len(ids) for ids in self.ids])),
            **({"note": self.note} if self.note else {}),
        }


def exact_of(problem: Problem) -> Exact | None:
    """The exact front of a problem; None where there is one objective, or no table tells it."""
    if (
        len(problem.objectives) < 2
        or problem.environments
        or not isinstance(problem.table, Table)
        or "index" not in problem.space.offers
    ):
        return None
    everything = np.arange(problem.space.size, dtype=np.int32)
    whole = final_points(problem, everything)
    known = problem.known()
    if known is not None and known.limited:
        everything = everything[known.excess(everything) == 0]
    told = signal_points(problem, everything, problem.evaluator().expected_signal()[everything])
    reachable = whole[everything[fronts.non_dominated(told)]]
    reachable = np.unique(reachable[fronts.non_dominated(reachable)], axis=0)
    front = everything[fronts.non_dominated(whole[everything])]
    points, first = np.unique(whole[front], axis=0, return_index=True)
    try:
        reference = fronts.reference_of(points)
        volume = float(fronts.hypervolume(points, reference.point))
        share = float(fronts.hypervolume(reachable, reference.point)) / volume
    except UsageError as error:  # a front of one point; or three objectives, which need a package that may not be here
        return Exact(points, front[first], reachable, None, np.nan, np.nan, str(error))
    return Exact(points, front[first], reachable, reference, volume, share)


def limits_of(problem: Problem) -> dict[str, list[float]]:
    """Limits to ask under, by known objective: the quartiles of its values over the space, lowest first.

    A quarter of the architectures keeps the first, and so on; they are the table's, whoever searches.
    """
    known, everything = problem.known(), np.arange(problem.space.size, dtype=np.int32)
    found = {}
    for number, objective in enumerate(problem.objectives):
        if objective.known and objective.minimise and known is not None:
            quartiles = np.nanpercentile(-known.values(number, everything), [25, 50, 75])
            found[objective.name] = [float(value) for value in quartiles]
    return found


def fronts_of(problem: Problem, trajectories: Trajectories) -> Fronts | None:
    """The fronts of finished runs; None where there is one objective, or no table tells the exact front."""
    exact = problem.exact_front()
    if exact is None:
        return None
    runs = len(trajectories.ids)
    run, slot = np.nonzero(fronts.non_dominated(_told(problem, trajectories)))
    run, slot = _once(run, trajectories.ids[run, slot], run, slot)
    ids = trajectories.ids[run, slot]
    points = final_points(problem, ids, trajectories.shown(run, ids))
    volume, distance = np.full(runs, np.nan), np.full(runs, np.nan)
    if exact.reference is not None:
        padded = _padded(points, run, runs)
        volume = fronts.hypervolume(padded, exact.reference.point) / exact.volume
        normalised = exact.reference.normalised
        distance = fronts.igd_plus(normalised(padded), normalised(exact.points))
    starts = np.searchsorted(run, np.arange(1, runs))
    signals = problem.sign * trajectories.signal[run, slot]
    return Fronts(np.split(ids, starts), np.split(signals, starts), np.split(points, starts), volume, distance, exact)


def along(problem: Problem, trajectories: Trajectories) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """How the hypervolume of each run's front changes: runs, evaluations made by then, and the share after them.

    Three arrays ``[changes]``, ordered by run and evaluation. Its value after ``n`` evaluations is the hypervolume that
    a run of ``n`` evaluations ends with; it may fall, for the front is chosen by the signal. Empty without a measure.
    """
    exact = problem.exact_front()
    nothing = np.empty(0, dtype=np.intp)
    if exact is None or exact.reference is None:
        return nothing, nothing, np.empty(0)
    parts = []
    told = _told(problem, trajectories)
    entering = fronts.entering(told)
    width = max(1, int(entering.sum(axis=1).max(initial=0)))
    step = max(1, _PAIRS // (width * width))  # pairs of those that joined it
    for first in range(0, len(told), step):
        part = slice(first, first + step)
        run, done, share = _along(problem, trajectories, told[part], entering[part], first)
        new = np.ones(len(run), dtype=bool)
        new[1:] = (run[1:] != run[:-1]) | (share[1:] != share[:-1])
        parts.append((run[new], done[new], share[new]))
    runs, steps, shares = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return runs, steps, shares


def _along(
    problem: Problem, trajectories: Trajectories, told: Floats, entering: NDArray[np.bool_], first: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """The same for the runs of a batch from ``first`` on, with a value wherever it may change."""
    exact = problem.exact_front()
    assert exact is not None
    assert exact.reference is not None
    runs, steps, objectives = told.shape
    run, slot = np.nonzero(entering)
    place = np.arange(len(run)) - np.searchsorted(run, run)
    width = int(place.max(initial=0)) + 1
    slots = np.full((runs, width), steps)
    slots[run, place] = slot
    points = np.full((runs, width, objectives), np.nan)
    points[run, place] = told[run, slot]
    no_worse = np.ones((runs, width, width), dtype=bool)  # [run, of this one, is that one]
    better = np.zeros_like(no_worse)
    for column in np.moveaxis(points, -1, 0):
        no_worse &= column[:, None] <= column[:, :, None]
        better |= column[:, None] < column[:, :, None]
    leaves = np.where(no_worse & better, slots[:, None], steps).min(axis=2)
    seen = None if trajectories.trials is None else _Seen(trajectories, first, runs)
    changes = entering.copy()
    if seen is not None and problem.truth().hides:  # what is shown again is scored by fewer trials from then on
        changes |= seen.again
    run, done = np.nonzero(changes)
    change, member = np.nonzero((slots[run] <= done[:, None]) & (leaves[run] > done[:, None]))
    own, at = run[change], slots[run[change], member]
    change, own, at = _once(change, trajectories.ids[first + own, at], change, own, at)
    ids = trajectories.ids[first + own, at]
    scored = final_points(problem, ids, None if seen is None else seen.until(own, ids, done[change]))
    volume = fronts.hypervolume(_padded(scored, change, len(run)), exact.reference.point)
    return first + run, done + 1, volume / exact.volume


class _Seen:
    """Which trials of an architecture each of ``runs`` runs has been shown, by any evaluation; as `Trajectories.shown`,
    but for many questions at once. ``again``: which evaluations are of an architecture that had one, ``[runs, steps]``.
    """

    def __init__(self, trajectories: Trajectories, first: int, runs: int) -> None:
        part = slice(first, first + runs)
        ids, trials, made = trajectories.ids[part], trajectories.trials, trajectories.made()[part]
        assert trials is not None
        self._steps = ids.shape[1]
        self._span = int(ids.max(initial=0)) + 1
        run, step = np.nonzero(made)
        keys = self._key(run, ids[made], step)
        order = np.argsort(keys)
        self._keys = keys[order]
        self._bits = (np.int64(1) << trials[part][made].astype(np.int64))[order]
        same = np.diff(self._keys // self._steps) == 0
        reach = 1
        while same.any():  # every evaluation takes over the bits of those before it, twice as many each time
            self._bits[reach:][same] |= self._bits[:-reach][same]
            same = same[reach:] & same[:-reach] if 2 * reach < len(self._bits) else np.zeros(0, dtype=bool)
            reach *= 2
        again = np.concatenate([[False], np.diff(self._keys // self._steps) == 0])
        self.again = np.zeros(ids.shape, dtype=bool)
        self.again[run[order][again], step[order][again]] = True

    def _key(self, run: NDArray[np.intp], ids: Indices, step: NDArray[np.intp]) -> NDArray[np.int64]:
        return np.asarray((run.astype(np.int64) * self._span + ids) * self._steps + step)

    def until(self, run: NDArray[np.intp], ids: Indices, step: NDArray[np.intp]) -> NDArray[np.int64]:
        """One bit a trial of ``ids[i]`` that run ``run[i]`` was shown up to the evaluation ``step[i]``."""
        return self._bits[np.searchsorted(self._keys, self._key(run, ids, step), side="right") - 1]


def _told(problem: Problem, trajectories: Trajectories) -> Floats:
    """What each search was told, ``[runs, steps, objectives]``, lower is better; NaN where it was told nothing."""
    made = trajectories.own() & present(trajectories.ids, problem.space)
    seen = signal_points(problem, np.maximum(trajectories.ids, 0), trajectories.signal)
    return np.where(made[..., None], seen, np.nan)


def _once(group: NDArray[np.intp], ids: Indices, *columns: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Of ``columns`` the first entry of each architecture in each group, in the order there is."""
    _, first = np.unique(np.stack([group, ids.astype(np.intp)]), axis=1, return_index=True)
    return [column[np.sort(first)] for column in columns]


def _padded(points: Floats, group: NDArray[np.intp], groups: int) -> Floats:
    """Points ``[n, objectives]`` of ascending groups as ``[groups, most, objectives]``, filled up with NaN."""
    place = np.arange(len(group)) - np.searchsorted(group, group)
    padded = np.full((groups, int(place.max(initial=0)) + 1, points.shape[1]), np.nan)
    padded[group, place] = points
    return padded


def signal_points(problem: Problem, ids: Indices, signal: Floats) -> Floats:
    """What a search was told of evaluations ``[...]``: ``[..., objectives]``, lower is better."""
    known, evaluator = problem.known(), problem.evaluator()
    paid = iter(evaluator.more)
    columns = [-signal]
    for number, objective in enumerate(problem.objectives[1:], 1):
        free = objective.known and known is not None
        columns.append(-known.values(number, ids) if free and known is not None else -next(paid).take(ids))
    return np.stack(columns, axis=-1)


def final_points(problem: Problem, ids: Indices, shown: NDArray[np.int64] | None = None) -> Floats:
    """Final values of architectures ``[n]``: ``[n, objectives]``, lower is better (an error: 100 minus accuracy)."""
    truth, known = problem.truth(), problem.known()
    primary = problem.objectives[0]
    columns = [-truth.sign * truth.score(ids, shown)]
    if primary.error:
        columns[0] = 100.0 + columns[0]
    for number, objective in enumerate(problem.objectives[1:], 1):
        if objective.known and known is not None:
            columns.append(-known.values(number, ids))
        elif objective.final is not None and isinstance(problem.table, Table):
            columns.append(-objective.sign * measures.read_final(objective.final, problem.table)[ids])
    return np.stack(columns, axis=-1)


def shown(problem: Problem, points: Floats) -> Floats:
    """Final values ``[..., objectives]`` as a person reads them: what is maximised has its own sign again."""
    return np.asarray(points * np.array([1 if one.minimise else -1 for one in problem.objectives]))


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
