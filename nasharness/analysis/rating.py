"""Ratings over many cells: Elo and win rates of algorithms that meet on data sets of tables at budgets.

In a *cell* algorithms are compared run by run, on equal seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nasharness.analysis import statistics as stats
from nasharness.analysis.comparison.runs import sign_of
from nasharness.search.registry import ONE_SHOT

if TYPE_CHECKING:
    from nasharness.analysis.statistics import Floats
    from nasharness.studies.load import StudyResults

#: Elo of random search, which anchors the scale; 400 points are odds of ten to one (Elo 1978).
ANCHOR, SCALE = 1000.0, 400.0
#: Rounds of the fit, and the pseudo-win by which an algorithm that never wins stays finite.
_ROUNDS, _PRIOR = 500, 0.1
#: Shares of its budget at which a study is looked at.
SHARES = (0.125, 0.25, 0.5, 1.0)


class Rated(Protocol):
    """One algorithm in one cell: ``wins`` is the share of comparisons it won, equals by half."""

    @property
    def algorithm(self) -> str: ...
    @property
    def cell(self) -> tuple[Any, ...]: ...
    @property
    def wins(self) -> float: ...


@dataclass(frozen=True)
class Contest:
    """One algorithm in one cell of studies.

    ``rank``: mean over runs, 1 is best; ``first``: share of runs in which no other is better, shared with equals.
    """

    cell: tuple[Any, ...]
    algorithm: str
    wins: float
    rank: float
    first: float


def shares(scores: Floats) -> tuple[Floats, Floats, Floats]:
    """Rank, share of first places and win rate of ``[algorithms, runs]``, higher scores the better."""
    count = len(scores)
    rank = stats.ranks(scores[:, :, None]).mean(axis=(1, 2))
    best = scores == scores.max(axis=0)
    first = (best / best.sum(axis=0)).mean(axis=1)
    return rank, first, (count - rank) / max(1, count - 1)


def contests(results: StudyResults, parts: Sequence[float] = SHARES) -> list[Contest]:
    """The cells of studies that share their protocol: every data set, at ``parts`` of its budget.

    Compared are incumbents; a run that has none yet is behind every other. Supernets, whose budget is epochs, take no
    part.
    """
    searches: list[Mapping[str, Any]] = [cell for cell in results.cells if cell["kind"] != ONE_SHOT]
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for cell in searches:
        groups.setdefault((cell["space"], cell["dataset"]), []).append(cell)
    found = []
    for part in parts:
        for (space, dataset), group in groups.items():
            protocol = group[0]["protocol"]
            evaluations, seconds = protocol["evaluations"], protocol["seconds"]
            if part < 1 and evaluations is not None and evaluations * part < 1:
                continue
            at = _at(results, evaluations, seconds, part)
            values: dict[str, dict[int, float]] = {}
            for cell in group:
                own = at[(at["study"] == cell["study"]) & (at["cell"] == cell["id"])]
                score = sign_of(cell) * own["final"].to_numpy(dtype=np.float64)
                values.setdefault(cell["algorithm"], {}).update(zip(own["seed"].tolist(), score, strict=True))
            seeds = sorted(set.intersection(*(set(each) for each in values.values())))
            if len(values) < 2 or not seeds:
                continue
            scores = np.array([[each[seed] for seed in seeds] for each in values.values()])
            measured = shares(np.round(np.where(np.isnan(scores), -np.inf, scores), 9).astype(np.float64))
            key = (space, dataset, group[0]["table"]["source"], evaluations, seconds, part)
            found += [
                Contest(key, name, wins=float(wins), rank=float(rank), first=float(first))
                for name, rank, first, wins in zip(values, *measured, strict=True)
            ]
    return found


def _at(results: StudyResults, evaluations: int | None, seconds: float | None, part: float) -> Any:
    if part >= 1:
        return results.last
    if evaluations is not None:
        return results.at(evaluations=int(evaluations * part))
    return results.at(seconds=float(seconds or 0) * part)


def elo(found: Sequence[Rated], anchor: str = "random") -> dict[str, float]:
    """Ratings by the Bradley-Terry model of all comparisons within cells, each cell with the same weight.

    Wins follow from mean ranks, which are sums of won comparisons; fitted by the rounds of Hunter (MM Algorithms for
    Generalized Bradley-Terry Models, Annals of Statistics 2004) on each algorithm's wins against the field of its
    cells. ``anchor`` has 1000, or the mean where it takes no part.
    """
    names = list(dict.fromkeys(entry.algorithm for entry in found))
    place = {name: number for number, name in enumerate(names)}
    cells: dict[tuple[Any, ...], list[Rated]] = {}
    for entry in found:
        cells.setdefault(entry.cell, []).append(entry)
    strength = np.ones(len(names))
    for _ in range(_ROUNDS):
        won, faced = np.full(len(names), _PRIOR), _PRIOR * 2 / (strength + 1)
        for group in [group for group in cells.values() if len(group) > 1]:
            members = np.array([place[entry.algorithm] for entry in group])
            s = strength[members]
            weight = 1.0 / (len(members) - 1)
            won[members] += [entry.wins for entry in group]
            odds = 1 / (s[:, None] + s)
            faced[members] += weight * (odds.sum(axis=1) - np.diag(odds))
        new = won / faced
        new /= np.exp(np.log(new).mean())
        if np.abs(np.log(new / strength)).max() < 1e-9:
            break
        strength = new
    rating = SCALE * np.log10(strength)
    rating += ANCHOR - (rating[place[anchor]] if anchor in place else rating.mean())
    return dict(zip(names, rating.tolist(), strict=True))
