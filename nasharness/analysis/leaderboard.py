"""A leaderboard: every algorithm on every table at hand, by budget and start, over seeds and realisations.

A *cell* of it is a data set of a table at one budget and one start. Within a cell the algorithms' own answers are
compared run by run: one seed on one realisation of the signal, the same for all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from nasharness.analysis.layout import comma_separated, markdown
from nasharness.analysis.rating import elo, shares
from nasharness.errors import DataError
from nasharness.search.interval import crossed
from nasharness.search.registry import ONE_SHOT
from nasharness.search.result import LEAST
from nasharness.studies.load import APART

if TYPE_CHECKING:
    from nasharness.analysis.statistics import Floats
    from nasharness.studies.load import StudyResults


@dataclass(frozen=True)
class Entry:
    """One algorithm in one cell.

    ``mean``, ``low``, ``high``: final metric of its answers with the 95 % interval over seeds and realisations;
    ``regret``: distance of the mean from the table's optimum; ``rank``: mean over runs among the cell's ``rivals``, 1
    is best; ``first``: share of runs in which no other is better, shared with equals; ``wins``: share of comparisons
    won, equals by half; ``optimum``: share of answers at the signal's maximum; ``evaluations``: mean until it was first
    evaluated, runs that never did counted with the whole budget.
    """

    space: str
    dataset: str
    table: str
    budget: int
    start: str
    algorithm: str
    runs: int
    realisations: int
    mean: float
    low: float
    high: float
    regret: float
    rank: float
    rivals: int
    first: float
    wins: float
    optimum: float
    evaluations: float

    @property
    def cell(self) -> tuple[str, str, str, int, str]:
        """What entries share that are compared with each other."""
        return self.space, self.dataset, self.table, self.budget, self.start


@dataclass(frozen=True)
class Standing:
    """One algorithm over all cells of a start; ``cells``: how many it was in. ``elo``: see `elo`."""

    algorithm: str
    cells: int
    elo: float
    rank: float
    first: float
    optimum: float
    evaluations: float


def entries(results: StudyResults) -> list[Entry]:
    """The entries of studies that cross algorithms with realisations, one budget and start each."""
    groups: dict[tuple[str, str, str, int, str], dict[str, list[Mapping[str, Any]]]] = {}
    for cell in results.cells:
        if cell["kind"] == ONE_SHOT:  # a supernet's budget is epochs
            continue
        protocol = cell["protocol"]
        if protocol["evaluations"] is None:
            raise DataError(
                f"{cell['algorithm']} on {cell['dataset']}: its budget is {protocol['seconds']:,.0f} simulated s; "
                "the leaderboard ranks by evaluations (study --evaluations N); nasharness report ranks by both"
            )
        key = (cell["space"], cell["dataset"], cell["table"]["source"], protocol["evaluations"], protocol["start"])
        groups.setdefault(key, {}).setdefault(cell["name"] + _changed(cell), []).append(cell)
    parts = dict(iter(results.frame.groupby(["study", "cell"], observed=True, sort=False)))
    found: list[Entry] = []
    for key, group in groups.items():
        runs = {name: _runs([parts[cell["study"], cell["id"]] for cell in cells]) for name, cells in group.items()}
        sizes = {run.shape for run in runs.values()}
        if len(sizes) > 1:
            raise DataError(f"{key[0]}/{key[1]} at {key[3]}: algorithms have other seeds or realisations: {sizes}")
        names = list(runs)
        first_cells = [cells[0] for cells in group.values()]
        sign = -1 if first_cells[0]["protocol"].get("direction") == "min" else 1
        scores = np.stack([sign * runs[name][..., 0] for name in names])  # [algorithms, realisations, seeds]
        rank, share, wins = shares(scores.reshape(len(names), -1))
        optimum = np.mean([math.nan if one["optimum"] is None else one["optimum"] for one in group[names[0]]])
        for number, name in enumerate(names):
            said = crossed(scores[number])
            low, high = sorted(sign * bound for bound in said["ci95"] or (math.nan, math.nan))
            space, dataset, table, budget, start = key
            found.append(
                Entry(
                    space=space, dataset=dataset, table=table, budget=budget, start=start, algorithm=name,
                    runs=scores[number].size,
                    realisations=len(scores[number]),
                    mean=sign * said["mean"],
                    low=low,
                    high=high,
                    regret=float(sign * optimum - said["mean"]),
                    rank=float(rank[number]),
                    rivals=len(names) - 1,
                    first=float(share[number]),
                    wins=float(wins[number]),
                    optimum=float(runs[name][..., 1].mean()),
                    evaluations=float(np.minimum(runs[name][..., 2], budget).mean()),
                )
            )  # fmt: skip
    return found


def _changed(cell: Mapping[str, Any]) -> str:
    return f"({', '.join(f'{key}={value}' for key, value in cell['changed'].items())})" if cell["changed"] else ""


def _runs(parts: Sequence[Any]) -> Floats:
    """Answer's final metric, whether it is at the signal's maximum, evaluations until that: ``[realisations, seeds,
    3]``.
    """  # noqa: D205
    found = []
    for rows in parts:
        rows = rows.assign(seed=rows["seed"] % APART)
        last = rows[rows["last"]].set_index("seed").sort_index()
        reached = rows[rows["signal_regret"] <= LEAST].groupby("seed")["step"].min().reindex(last.index)
        found.append(
            np.stack(
                [
                    last["recommended_final"].to_numpy(dtype=np.float64),
                    (last["recommended_signal_regret"] <= LEAST).to_numpy(dtype=np.float64),
                    reached.to_numpy(dtype=np.float64, na_value=math.inf),
                ],
                axis=1,
            )
        )
    return np.stack(found)


def standings(found: Sequence[Entry], start: str) -> list[Standing]:
    """All algorithms over the cells of one start, the highest rating first. Ranks are scaled to a field of ten."""
    chosen = [entry for entry in found if entry.start == start]
    ratings = elo(chosen)
    made = []
    for name, rating in ratings.items():
        own = [entry for entry in chosen if entry.algorithm == name]
        largest = max(entry.budget for entry in own)
        made.append(
            Standing(
                name, len(own), rating,
                rank=float(np.mean([1 + 9 * (1 - entry.wins) for entry in own])),
                first=float(np.mean([entry.first for entry in own])),
                optimum=float(np.mean([entry.optimum for entry in own])),
                evaluations=float(np.mean([entry.evaluations for entry in own if entry.budget == largest])),
            )
        )  # fmt: skip
    return sorted(made, key=lambda one: -one.elo)


def as_csv(found: Sequence[Entry]) -> str:
    """A line an entry."""
    names = [field.name for field in fields(Entry)]
    rows = [[_plain(getattr(entry, name)) for name in names] for entry in found]
    return comma_separated(names, rows)


def _span(numbers: set[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"


def _plain(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def page(found: Sequence[Entry], command: str, left_out: Mapping[str, str]) -> str:
    """The leaderboard as Markdown: a table for each start, equal ones first, and the mean final metric by cell."""
    tables = dict.fromkeys(f"{entry.space} / {entry.dataset} ({entry.table})" for entry in found)
    budgets = sorted({entry.budget for entry in found})
    starts = sorted({entry.start for entry in found}, key=lambda start: (start == "own", start))
    seeds, draws = (_span(numbers) for numbers in ({one.runs // one.realisations for one in found},
                                                   {one.realisations for one in found}))  # fmt: skip
    lines = [
        "# Leaderboard",
        "",
        f"Made by `{command}`: {', '.join(tables)}; budgets of {', '.join(map(str, budgets))} evaluations; "
        f"{seeds} seeds on each of {draws} realisation{'' if draws == '1' else 's'} of the signal, the same for all "
        "that meet.",
        "",
        "Scored is each algorithm's own answer. Elo: Bradley-Terry ratings of all comparisons within a cell (data set, "
        "budget), random search 1000. Rank: mean over runs, scaled to a field of ten, 1 is best. First: share of runs "
        "in which nobody is better, shared with equals. P(opt): share of answers at the signal's maximum. "
        "Evaluations: until it was first evaluated, at the largest budget the algorithm was run at; runs that never "
        "did count with the whole budget. Compare algorithms by the table of equal starts: where each begins as it "
        "likes, a prior is compared along with the search.",
    ]
    for start in starts:
        title = "own starts" if start == "own" else f"equal starts: {start}"
        head = ["algorithm", "cells", "Elo", "rank", "first", "P(opt)", "evaluations"]
        rows = [
            [
                one.algorithm, str(one.cells), f"{one.elo:.0f}", f"{one.rank:.2f}", f"{one.first:.3f}",
                f"{one.optimum:.2f}", f"{one.evaluations:.0f}",
            ]
            for one in standings(found, start)
        ]  # fmt: skip
        lines += ["", f"## {title[0].upper()}{title[1:]}", "", markdown(head, rows)]
    if left_out:
        lines += ["", "## Left out", ""]
        lines += [f"- `{name}`: {reason}" for name, reason in left_out.items()]
    return "\n".join(lines) + "\n"
