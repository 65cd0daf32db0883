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
from nasharness.search.loop import Trajectories, present
from nasharness.spaces.base import Floats, Indices
from nasharness.tables import Table

if TYPE_CHECKING:
    from nasharness.search.problem import Problem


@dataclass(frozen=True)
class Fronts:
    """The fronts of a batch of runs.

    ``ids``: architectures of each run's front, in the order of evaluation. ``points``: their final values
    ``[members, objectives]`` a run, lower is better. ``hypervolume``: of each run as a share of the exact front's,
    ``[runs]``; ``igd_plus``: distance to it on the scale of its own range, ``[runs]``. ``exact``: the exact front,
    ``[members, objectives]``; ``volume``: its hypervolume in the objectives' units. ``reference``: what all is measured
    against. ``note``: why a measure is missing, else empty.
    """

    ids: list[Indices]
    points: list[Floats]
    hypervolume: Floats
    igd_plus: Floats
    exact: Floats
    volume: float
    reference: fronts.Reference | None
    note: str = ""

    def summary(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        shares = {"values": [None if np.isnan(value) else float(value) for value in self.hypervolume]}
        distances = {"values": [None if not np.isfinite(value) else float(value) for value in self.igd_plus]}
        return {
            "hypervolume": summarise(self.hypervolume) | shares,
            "igd_plus": summarise(np.where(np.isfinite(self.igd_plus), self.igd_plus, np.nan)) | distances,
            "optimum": {
                "hypervolume": None if np.isnan(self.volume) else self.volume,
                "members": len(self.exact),
            },
            "reference_point": None if self.reference is None else list(self.reference.point),
            "size": float(np.mean([len(ids) for ids in self.ids])),
            **({"note": self.note} if self.note else {}),
        }


def fronts_of(problem: Problem, trajectories: Trajectories) -> Fronts | None:
    """The fronts of finished runs; None where there is one objective, or no table tells the exact front."""
    if len(problem.objectives) < 2 or not isinstance(problem.table, Table) or "index" not in problem.space.offers:
        return None
    everything = np.arange(problem.space.size, dtype=np.int32)
    whole = final_points(problem, everything)
    feasible = np.ones(len(whole), dtype=bool)
    known = problem.known()
    if known is not None and known.limited:
        feasible = known.excess(everything) == 0
    exact = whole[feasible]
    exact = np.unique(exact[fronts.non_dominated(exact)], axis=0)
    ids, points = [], []
    runs = len(trajectories.ids)
    made = trajectories.made() & present(trajectories.ids, problem.space)
    seen = signal_points(problem, np.maximum(trajectories.ids, 0), trajectories.signal)
    kept = fronts.non_dominated(np.where(made[..., None], seen, np.nan))
    padded = np.full((runs, max(1, int(kept.sum(axis=1).max(initial=0))), len(problem.objectives)), np.nan)
    for run in range(runs):
        mine, first = np.unique(trajectories.ids[run, kept[run]], return_index=True)
        mine = mine[np.argsort(first)]
        shown = trajectories.shown(np.full(len(mine), run), mine)
        scored = final_points(problem, mine, shown)
        ids.append(mine)
        points.append(scored)
        padded[run, : len(mine)] = scored
    note, volume, shares, distance, reference = "", float("nan"), np.full(runs, np.nan), np.full(runs, np.nan), None
    try:
        reference = fronts.reference_of(exact)
        distance = fronts.igd_plus(reference.normalised(padded), reference.normalised(exact))
        volume = float(fronts.hypervolume(exact, reference.point))
        shares = fronts.hypervolume(padded, reference.point) / volume
    except UsageError as error:  # a front of one point; or three objectives, which need a package that may not be here
        note = str(error)
    return Fronts(ids, points, shares, distance, exact, volume, reference, note)


def signal_points(problem: Problem, ids: Indices, signal: Floats) -> Floats:
    """What a search was told of evaluations ``[...]``: ``[..., objectives]``, lower is better."""
    known, paid = problem.known(), iter(problem.evaluator().more)
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
