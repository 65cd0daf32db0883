"""The runs that a comparison is made of: read from a study's rows, checked, paired by seed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nasharness.analysis import statistics as stats
from nasharness.analysis.comparison.fronts import Under, best_under, front_rows
from nasharness.errors import DataError, UsageError
from nasharness.search.registry import ONE_SHOT
from nasharness.studies.load import APART

if TYPE_CHECKING:
    import pandas as pd

    from nasharness.analysis.statistics import Floats


#: The score of fronts, in percent of the exact one's.
HYPERVOLUME = "hypervolume"


@dataclass
class Scored:
    """The runs of one algorithm on one data set, ordered by seed, up to the budget they are compared at.

    ``evaluations``, ``seconds``: spent by then; NaN where the rows, which are those of incumbents, do not say.
    """

    seeds: Any
    score: Floats
    evaluations: Floats
    seconds: Floats
    rows: Any = field(repr=False)
    signal_regret: Floats = field(default_factory=lambda: np.empty(0))

    @property
    def realisations(self) -> int:
        """How many realisations of the signal the runs saw."""
        return len(np.unique(self.seeds // APART))

    def crossed(self, values: Floats) -> Floats:
        """``values [runs]`` as ``[realisations, seeds]``, of the seeds that all realisations have."""
        numbers, place = np.unique(self.seeds // APART, return_inverse=True)
        seeds, column, count = np.unique(self.seeds % APART, return_inverse=True, return_counts=True)
        grid = np.full((len(numbers), len(seeds)), np.nan)
        grid[place, column] = values
        if not (count == len(numbers)).any():
            raise DataError("no seed was run on all realisations of the signal")
        return grid[:, count == len(numbers)]


def joined(parts: Sequence[Scored]) -> Scored:
    """The runs on all realisations, one after the other."""
    if len(parts) == 1:
        return parts[0]
    import pandas as pd

    arrays = ("seeds", "score", "evaluations", "seconds", "signal_regret")
    stacked = {name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays}
    return Scored(**stacked, rows=pd.concat([part.rows for part in parts]))


def controls(cells: Iterable[Mapping[str, Any]]) -> list[str]:
    """Labels of the algorithms that others are held against, such as random search, as their records say."""
    return list(dict.fromkeys(cell["algorithm"] for cell in cells if cell.get("control", False)))


def same_protocol(group: Sequence[Mapping[str, Any]], at: bool) -> None:
    """Raise DataError where cells of a data set differ in table or protocol; budgets may, with ``at``.

    Another start is another row, which its label says (`nasharness.studies.load`). Realisations of a signal are
    compared each with its like.

    One-shot runs have a signal and a budget of their own: with searches of a table they share table and final metric.
    """
    firsts: dict[tuple[str, int | None], Mapping[str, Any]] = {}
    for cell in group:
        own = firsts.setdefault((cell["kind"], cell.get("realisation")), cell)
        first = next(iter(firsts.values())) if own is cell and cell.get("realisation") is None else own
        keys = first["protocol"] if first["kind"] == cell["kind"] else ("final", "direction")
        for what, mine, theirs in (
            ("table", first["table"]["checksum"], cell["table"]["checksum"]),
            *(
                (key, first["protocol"].get(key), cell["protocol"].get(key))
                for key in keys
                if key != "start" and not (at and key in ("evaluations", "seconds"))
            ),
        ):
            if mine != theirs:
                hint = (
                    "; --at-evaluations N compares at a budget both have" if what in ("evaluations", "seconds") else ""
                )
                raise DataError(
                    f"{first['dataset']}: {first['algorithm']} and {cell['algorithm']} differ in {what}: "
                    f"{_short(mine)} and {_short(theirs)}; they must not be compared{hint}"
                )


def trained(cells: Iterable[Mapping[str, Any]]) -> list[str]:
    """Labels of the algorithms whose runs trained supernets: their steps are epochs, their seconds real ones."""
    return list(dict.fromkeys(cell["algorithm"] for cell in cells if cell["kind"] == ONE_SHOT))


def optimum(*cells: Mapping[str, Any]) -> float:
    """The best final metric there is, NaN where it is not known; the mean over realisations, each with its own."""
    each = {cell.get("realisation"): cell["optimum"] for cell in cells}
    return math.nan if None in each.values() else float(np.mean(list(each.values())))


def sign_of(cell: Mapping[str, Any]) -> int:
    """What makes a higher score better: -1 where the final metric is minimised."""
    return -1 if cell["protocol"].get("direction") == "min" else 1


def percent(cell: Mapping[str, Any]) -> bool:
    """Whether the final metric is a share of what is classified rightly, in percent: nothing found is 0 of it."""
    objectives = cell["protocol"].get("objectives") or [{"unit": "percent"}]
    return objectives[0]["unit"] == "percent" and sign_of(cell) > 0


def _short(value: Any) -> str:
    return str(value)[:40]


def runs_of(
    rows: pd.DataFrame,
    cell: Mapping[str, Any],
    score: str,
    evaluations: int | None,
    seconds: float | None,
    under: Under | None = None,
) -> Scored:
    """The runs of a cell, scored at the end or at a budget. Raises UsageError for a budget that was not run.

    ``under``: the limit whose best is the score. A run that found nothing within it scores 0 where scores are percent.
    """
    if score == HYPERVOLUME:
        rows = front_rows(rows, cell)
    rows = rows.sort_values(["seed", "step", "last"], kind="stable")
    last = rows[rows["last"]]
    seeds = last["seed"].to_numpy()
    what = f"{cell['algorithm']} on {cell['dataset']}"
    column, limit = ("step", evaluations) if evaluations is not None else ("simulated_seconds", seconds)
    ended = np.full(len(seeds), True)
    if not len(seeds):
        raise DataError(f"{what}: no run came to its end; nasharness study --resume finishes it")
    if sign_of(cell) < 0 and score != HYPERVOLUME:
        rows = rows.assign(final=-rows["final"], recommended_final=-rows["recommended_final"])
        last = rows[rows["last"]]
    if under is not None:
        values = sign_of(cell) * best_under(last, cell, under).final
        if percent(cell):
            values = np.where(np.isnan(values), 0.0, values)
    elif score == "recommended":
        values = last["recommended_final"].to_numpy(dtype=np.float64)
    elif limit is None:
        values = last["final"].to_numpy(dtype=np.float64)
    else:
        option = f"--at-{'evaluations' if column == 'step' else 'seconds'} {limit:,g}"
        ends = float(last[column].max())
        if limit > ends:
            raise UsageError(f"{option}: {what} ends at {ends:,.0f}")
        within = rows[rows[column] <= limit].drop_duplicates("seed", keep="last")
        if len(within) < len(seeds):
            raise UsageError(
                f"{option}: {len(seeds) - len(within):,} runs of {what} have not finished an evaluation by then"
            )
        values = within["final"].to_numpy(dtype=np.float64)
        rows = rows[rows[column] <= limit]
        whole, last = last, within
        ended = whole[column].to_numpy() <= limit
    if not np.isfinite(values).all():
        nothing = f"found nothing that keeps '{under}'" if under is not None else f"have no {score} metric"
        raise DataError(f"{what}: {int((~np.isfinite(values)).sum())} runs {nothing}")
    spent = {name: last[name].to_numpy(dtype=np.float64) for name in ("step", "simulated_seconds")}
    if limit is not None:
        # the last incumbent was found within the budget, but a run that goes on has spent more since then
        on = ~ended & (spent[column] < limit)
        for name, numbers in spent.items():
            spent[name] = np.where(on, float(limit) if name == column else math.nan, numbers)
    if under is not None:  # which is known of the end alone
        rows = last.assign(final=values)
    if under is not None or score == HYPERVOLUME:
        rows = rows.assign(simulated_seconds=np.nan)
    name = "recommended_signal_regret" if score == "recommended" else "signal_regret"
    known = under is None and score != HYPERVOLUME and name in last
    of_signal = last[name].to_numpy(dtype=np.float64) if known else np.full(len(seeds), np.nan)
    return Scored(seeds, values, spent["step"], spent["simulated_seconds"], rows, of_signal)


def pair(runs: dict[str, Scored], dataset: str) -> int:
    """Keep the seeds that every algorithm has; return how many runs that leaves out."""
    common = next(iter(runs.values())).seeds
    for one in runs.values():
        common = np.intersect1d(common, one.seeds)
    if not len(common):
        raise DataError(f"{dataset}: the algorithms have no seed in common; run them with the same --seed")
    left_out = 0
    for name, one in runs.items():
        keep = np.isin(one.seeds, common)
        left_out += int((~keep).sum())
        if not keep.all():
            rows = one.rows[one.rows["seed"].isin(common)]
            kept = (one.seeds, one.score, one.evaluations, one.seconds, one.signal_regret)
            seeds, score, evaluations, seconds, of_signal = (values[keep] for values in kept)
            runs[name] = Scored(seeds, score, evaluations, seconds, rows, of_signal)
    return left_out


def reach(one: Scored, target: float) -> tuple[float, float, float]:
    """Share of runs that reached ``target``, and their median evaluations and simulated seconds until then."""
    run = np.searchsorted(one.seeds, one.rows["seed"].to_numpy())
    final = one.rows["final"].to_numpy(dtype=np.float64)
    steps, clock = (one.rows[column].to_numpy() for column in ("step", "simulated_seconds"))
    by = [
        stats.time_to_target(run, when, final, target, len(one.seeds))
        for when in (steps, np.where(np.isnan(clock), np.inf, clock))  # no clock, no time to anything
    ]
    # the lower middle of an even number: the mean of the two middles might be of a number and infinity
    middle = (len(one.seeds) - 1) // 2
    reached = float(np.isfinite(by[0]).mean())
    if reached < 0.5:
        return reached, math.inf, math.inf
    return reached, float(np.sort(by[0])[middle]), float(np.sort(by[1])[middle])
