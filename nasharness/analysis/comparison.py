"""Compare the algorithms of one or more studies: per data set a table of scores, intervals and tests.

Within a data set all results must be of one table and one protocol. Runs are paired by seed: only seeds that every
algorithm of a data set has are used, and how many were left out is said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nasharness.analysis import statistics as stats
from nasharness.analysis.significance import critical_difference, friedman, holm, wilcoxon
from nasharness.errors import DataError, UsageError, unknown

if TYPE_CHECKING:
    import pandas as pd

    from nasharness.analysis.statistics import Floats

Interval = tuple[float, float]
SCORES = ("final", "recommended")
#: Numbers drawn for one interval: beyond, a data set of 100,000 runs makes do with fewer resamples.
DRAWS = 40_000_000
COLUMNS = ("study", "cell", "space", "dataset", "algorithm", "seed", "step", "simulated_seconds", "final", "last")


@dataclass(frozen=True)
class Row:
    """One algorithm on one data set. Scores in percent, intervals of 95 %; NaN where there is nothing to say.

    ``improvement``: probability that a run of this algorithm beats one of the reference. ``p``: paired Wilcoxon against
    the reference; ``p_holm``: adjusted for all algorithms of this data set. ``reached``: share of runs whose incumbent
    ever reached the target; ``target_evaluations``, ``target_seconds``: medians over all runs, infinite where most
    never did.
    """

    algorithm: str
    runs: int
    evaluations: float
    seconds: float
    mean: float
    mean_ci: Interval
    median: float
    median_ci: Interval
    iqm: float
    iqm_ci: Interval
    regret: float
    regret_ci: Interval
    rank: float
    rank_ci: Interval
    improvement: float
    improvement_ci: Interval
    p: float
    p_holm: float
    reached: float
    target_evaluations: float
    target_seconds: float


@dataclass(frozen=True)
class Section:
    """One data set: what was compared, and a row for every algorithm, the best mean first."""

    space: str
    dataset: str
    table: str
    protocol: Mapping[str, Any]
    optimum: float
    score: str
    budget: str
    reference: str
    target: float
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Overall:
    """Algorithms over all data sets: mean ranks, Friedman's test and Nemenyi's critical difference."""

    datasets: tuple[str, ...]
    algorithms: tuple[str, ...]
    rank: tuple[float, ...]
    rank_ci: tuple[Interval, ...]
    blocks: int
    friedman_p: float
    critical_difference: float


@dataclass(frozen=True)
class Comparison:
    """What ``nasharness compare`` prints."""

    sections: tuple[Section, ...]
    overall: Overall | None = None


@dataclass
class _Runs:
    """The runs of one algorithm on one data set, ordered by seed."""

    seeds: Any
    score: Floats
    evaluations: Floats
    seconds: Floats
    rows: Any = field(repr=False)


def compare(
    frame: pd.DataFrame,
    cells: Sequence[Mapping[str, Any]],
    *,
    score: str = "final",
    evaluations: int | None = None,
    seconds: float | None = None,
    reference: str | None = None,
    target: float | None = None,
    resamples: int = stats.RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare what ``nasharness.studies.load`` returns as ``frame`` and ``cells``.

    ``score``: ``final`` is the incumbent's final metric, ``recommended`` that of the algorithm's own answer.
    ``evaluations``, ``seconds``: score the incumbents at that budget instead of at the end. ``reference``: the
    algorithm that the others are tested against, by default the one of the best mean. ``target``: final metric, in
    percent, for time-to-target; by default what ``random`` ends with on average, else the weakest algorithm.

    Raises UsageError for an unknown name or a budget that was not run, DataError for columns that are missing or
    results that must not be compared.
    """
    if score not in SCORES:
        raise unknown("score", score, SCORES)
    if evaluations is not None and seconds is not None:
        raise UsageError("--at-evaluations and --at-seconds: give one of them")
    if score == "recommended" and (evaluations is not None or seconds is not None):
        raise UsageError("the algorithm's own answer is known only at the end of a run; leave --at-... out")
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise DataError(f"results lack column {', '.join(missing)}; expected those that nasharness study writes")
    if not len(frame):
        raise DataError("no runs to compare: the results are empty")
    parts = {key: rows for key, rows in frame.groupby(["study", "cell"], observed=True, sort=False)}
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for cell in cells:
        if (cell["study"], cell["id"]) not in parts:
            continue  # of a study read before it was complete
        groups.setdefault((cell["space"], cell["dataset"]), []).append(cell)
    known = list(dict.fromkeys(cell["algorithm"] for group in groups.values() for cell in group))
    if reference is not None and reference not in known:
        raise unknown("reference", reference, known)
    sections, scores = [], {}
    for key, group in groups.items():
        _same_protocol(group, at=evaluations is not None or seconds is not None)
        runs, notes = {}, []
        for cell in group:
            if cell["algorithm"] in runs:
                raise DataError(
                    f"{cell['algorithm']} occurs twice on {key[1]}; compare studies of different algorithms or settings"
                )
            runs[cell["algorithm"]] = _runs_of(parts[cell["study"], cell["id"]], cell, score, evaluations, seconds)
        left_out = _pair(runs, key[1])
        if left_out:
            notes.append(f"{left_out:,} runs left out, whose seed not every algorithm has")
        notes += [
            f"{cell['algorithm']} reads the search signal of the whole table; it is a diagnostic, not a search"
            for cell in group
            if "whole-signal" in cell.get("needs", ())
        ]
        made = _section(group[0], runs, score, _budget(group[0], evaluations, seconds), reference, target, resamples, seed)
        scores[key] = {name: one.score for name, one in runs.items()}
        sections.append(Section(**{**made, "notes": tuple(notes)}))
    return Comparison(tuple(sections), _overall(scores, resamples, seed))


def _same_protocol(group: Sequence[Mapping[str, Any]], at: bool) -> None:
    first = group[0]
    for cell in group[1:]:
        for what, mine, theirs in (
            ("table", first["table"]["checksum"], cell["table"]["checksum"]),
            *(
                (key, first["protocol"].get(key), cell["protocol"].get(key))
                for key in first["protocol"]
                if not (at and key in ("evaluations", "seconds"))
            ),
        ):
            if mine != theirs:
                hint = "; --at-evaluations N compares at a budget both have" if what in ("evaluations", "seconds") else ""
                raise DataError(
                    f"{first['dataset']}: {first['algorithm']} and {cell['algorithm']} differ in {what}: "
                    f"{_short(mine)} and {_short(theirs)}; they must not be compared{hint}"
                )


def _short(value: Any) -> str:
    return str(value)[:40]


def _budget(cell: Mapping[str, Any], evaluations: int | None, seconds: float | None) -> str:
    if evaluations is not None:
        return f"at {evaluations:,} evaluations"
    if seconds is not None:
        return f"at {seconds:,.0f} simulated seconds"
    protocol = cell["protocol"]
    parts = []
    if protocol.get("evaluations") is not None:
        parts.append(f"{protocol['evaluations']:,} evaluations")
    if protocol.get("seconds") is not None:
        parts.append(f"{protocol['seconds']:,.0f} simulated seconds")
    return "at the end, " + " and ".join(parts)


def _runs_of(
    rows: pd.DataFrame, cell: Mapping[str, Any], score: str, evaluations: int | None, seconds: float | None
) -> _Runs:
    rows = rows.sort_values(["seed", "step", "last"], kind="stable")
    last = rows[rows["last"]]
    seeds = last["seed"].to_numpy()
    what = f"{cell['algorithm']} on {cell['dataset']}"
    if not len(seeds):
        raise DataError(f"{what}: no run came to its end; nasharness study --resume finishes it")
    if score == "recommended":
        values = last["recommended_final"].to_numpy(dtype=np.float64)
    elif evaluations is None and seconds is None:
        values = last["final"].to_numpy(dtype=np.float64)
    else:
        column, limit = ("step", evaluations) if evaluations is not None else ("simulated_seconds", seconds)
        ends = float(last[column].max())
        if limit is None or limit > ends:
            raise UsageError(f"--at-{'evaluations' if column == 'step' else 'seconds'} {limit:,}: {what} ends at {ends:,.0f}")
        within = rows[rows[column] <= limit].drop_duplicates("seed", keep="last")
        if len(within) < len(seeds):
            raise UsageError(
                f"--at-{'evaluations' if column == 'step' else 'seconds'} {limit:,}: {len(seeds) - len(within):,} runs of "
                f"{what} have not finished an evaluation by then"
            )
        values = within["final"].to_numpy(dtype=np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"{what}: {int((~np.isfinite(values)).sum())} runs have no {score} metric")
    return _Runs(
        seeds, values, last["step"].to_numpy(np.float64), last["simulated_seconds"].to_numpy(np.float64), rows
    )


def _pair(runs: dict[str, _Runs], dataset: str) -> int:
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
            runs[name] = _Runs(one.seeds[keep], one.score[keep], one.evaluations[keep], one.seconds[keep], rows)
    return left_out


def _section(
    cell: Mapping[str, Any],
    runs: Mapping[str, _Runs],
    score: str,
    budget: str,
    reference: str | None,
    target: float | None,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    names = list(runs)
    scores = np.stack([runs[name].score for name in names])[:, :, None]
    level = stats.mean(scores)
    if reference is None or reference not in names:
        reference = names[int(level.argmax())]
    if target is None:
        target = float(level[names.index("random")] if "random" in names else level.min())
    resamples = max(200, min(resamples, DRAWS // scores[0].size))
    options: dict[str, Any] = {"resamples": resamples, "seed": seed}
    intervals = {key: stats.interval(scores, aggregate, **options) for key, aggregate in stats.AGGREGATES.items()}
    rank, rank_ci = stats.mean_rank(scores), stats.mean_rank_interval(scores, **options)
    base = runs[reference].score
    p = np.array([math.nan if name == reference else wilcoxon(runs[name].score, base).p for name in names])
    adjusted = holm(p)
    optimum = float(cell["optimum"])
    rows = []
    for i in np.argsort(-level, kind="stable").tolist():
        one, same = runs[names[i]], names[i] == reference
        reached, by_step, by_seconds = _reach(one, target)
        low, high = intervals["mean"][i]
        values = {
            f"{key}{suffix}": value
            for key, aggregate in stats.AGGREGATES.items()
            for suffix, value in (
                ("", float(aggregate(scores[i : i + 1])[0])),
                ("_ci", _pair_of(intervals[key][i])),
            )
        }
        rows.append(
            Row(
                algorithm=names[i],
                runs=len(one.score),
                evaluations=float(one.evaluations.mean()),
                seconds=float(one.seconds.mean()),
                **values,
                regret=optimum - float(level[i]),
                regret_ci=(optimum - float(high), optimum - float(low)),
                rank=float(rank[i]),
                rank_ci=_pair_of(rank_ci[i]),
                improvement=math.nan if same else stats.probability_of_improvement(one.score[:, None], base[:, None]),
                improvement_ci=(math.nan, math.nan)
                if same
                else _pair_of(stats.improvement_interval(one.score[:, None], base[:, None], **options)),
                p=float(p[i]),
                p_holm=float(adjusted[i]),
                reached=reached,
                target_evaluations=by_step,
                target_seconds=by_seconds,
            )
        )
    return {
        "space": cell["space"],
        "dataset": cell["dataset"],
        "table": f"{cell['table']['source']} ({cell['table']['version']}), checksum {cell['table']['checksum'][:12]}",
        "protocol": dict(cell["protocol"]),
        "optimum": optimum,
        "score": score,
        "budget": budget,
        "reference": reference,
        "target": target,
        "rows": tuple(rows),
    }


def _pair_of(bounds: Floats) -> Interval:
    return float(bounds[0]), float(bounds[1])


def _reach(one: _Runs, target: float) -> tuple[float, float, float]:
    run = np.searchsorted(one.seeds, one.rows["seed"].to_numpy())
    final = one.rows["final"].to_numpy(dtype=np.float64)
    by = [
        stats.time_to_target(run, one.rows[column].to_numpy(), final, target, len(one.seeds))
        for column in ("step", "simulated_seconds")
    ]
    # the lower middle of an even number: the mean of the two middles might be of a number and infinity
    middle = (len(one.seeds) - 1) // 2
    reached = float(np.isfinite(by[0]).mean())
    if reached < 0.5:
        return reached, math.inf, math.inf
    return reached, float(np.sort(by[0])[middle]), float(np.sort(by[1])[middle])


def _overall(
    scores: Mapping[tuple[str, str], Mapping[str, Floats]], resamples: int, seed: int
) -> Overall | None:
    """Ranks over all data sets, where they have the same algorithms and as many runs."""
    groups = list(scores.values())
    names = sorted(groups[0])
    sizes = {len(values) for group in groups for values in group.values()}
    if len(groups) < 2 or len(names) < 2 or len(sizes) > 1 or any(sorted(group) != names for group in groups):
        return None
    together = np.stack([np.stack([group[name] for name in names]) for group in groups], axis=2)
    rank = stats.mean_rank(together)
    bounds = stats.mean_rank_interval(
        together, resamples=max(200, min(resamples, DRAWS // together[0].size)), seed=seed
    )
    order = np.argsort(rank, kind="stable").tolist()
    blocks = together[0].size
    return Overall(
        datasets=tuple(dataset for _, dataset in scores),
        algorithms=tuple(names[i] for i in order),
        rank=tuple(float(rank[i]) for i in order),
        rank_ci=tuple(_pair_of(bounds[i]) for i in order),
        blocks=blocks,
        friedman_p=friedman(together).p if len(names) > 2 else math.nan,
        critical_difference=critical_difference(len(names), blocks),
    )
