"""Compare the algorithms of one or more studies: per data set a table of scores, intervals and tests.

Within a data set all results must be of one table and one protocol. Runs are paired by seed: only seeds that every
algorithm of a data set has are used, and how many were left out is said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nasharness.analysis import caveats
from nasharness.analysis import statistics as stats
from nasharness.analysis.comparison.fronts import Under, best_under, optimum_under, read_limit
from nasharness.analysis.comparison.runs import (
    HYPERVOLUME,
    Scored,
    controls,
    joined,
    optimum,
    pair,
    percent,
    reach,
    runs_of,
    same_protocol,
    sign_of,
    trained,
)
from nasharness.analysis.layout import budget
from nasharness.analysis.statistics import hierarchical
from nasharness.analysis.statistics.significance import critical_difference, friedman, holm, wilcoxon
from nasharness.errors import DataError, UsageError, unknown
from nasharness.search.caveats import Caveat
from nasharness.search.registry import ONE_SHOT
from nasharness.search.result import LEAST

if TYPE_CHECKING:
    import pandas as pd

    from nasharness.analysis.statistics import Floats

Interval = tuple[float, float]
SCORES = ("final", "recommended", HYPERVOLUME)
#: Numbers drawn for one interval: beyond, a data set of 100,000 runs makes do with fewer resamples.
DRAWS = 40_000_000
COLUMNS = ("study", "cell", "space", "dataset", "algorithm", "seed", "step", "simulated_seconds", "final", "last")


@dataclass(frozen=True)
class Row:
    """One algorithm on one data set. Scores in percent, intervals of 95 %; NaN where there is nothing to say.

    ``improvement``: probability that a run of this algorithm beats one of the reference. ``p``: paired Wilcoxon against
    the reference; ``p_holm``: adjusted for all algorithms of this data set. ``reached``: share of runs whose incumbent
    reached the target by then; ``target_evaluations``, ``target_seconds``: medians over all runs, infinite where most
    never did. ``signal_regret``: mean distance of the same architecture's expected signal from the best there is,
    ``at_maximum``: share of runs without any. Over realisations of the signal intervals are of both, and p is
    Student's with two crossed random effects (`nasharness.analysis.statistics.hierarchical`).
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
    signal_regret: float = math.nan
    at_maximum: float = math.nan


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
    realised: str = ""  # its realisations of the signal, where seeds are crossed with several
    caveats: tuple[Caveat, ...] = ()


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

    def __str__(self) -> str:
        from nasharness.analysis.comparison.text import render

        return render(self)


def compare(
    frame: pd.DataFrame,
    cells: Sequence[Mapping[str, Any]],
    *,
    score: str = "final",
    limit: str | None = None,
    evaluations: int | None = None,
    seconds: float | None = None,
    reference: str | None = None,
    target: float | None = None,
    resamples: int = stats.RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare what ``nasharness.studies.load`` returns as ``frame`` and ``cells``.

    ``score``: ``final`` is the incumbent's final metric, ``recommended`` that of the algorithm's own answer,
    ``hypervolume`` that of the run's front, in percent of the exact front's. ``limit``: score what each run found best,
    by the signal, that keeps it, as in ``raspi4_latency <= 15``; on one of the objectives that were searched by.
    ``evaluations``, ``seconds``: score the incumbents at that budget instead of at the end. ``reference``: the
    algorithm that the others are tested against, by default the one of the best mean. ``target``: final metric, in
    percent, for time-to-target; by default what the control (random search) ends with on average, else the weakest.

    Raises UsageError for an unknown name or a budget that was not run, DataError for columns that are missing or
    results that must not be compared.
    """
    if score not in SCORES:
        raise unknown("score", score, SCORES)
    if evaluations is not None and seconds is not None:
        raise UsageError("--at-evaluations and --at-seconds: give one of them")
    if evaluations is not None and evaluations < 1:
        raise UsageError(f"--at-evaluations {evaluations}: expected a whole number of at least 1")
    if seconds is not None and not 0 < seconds < math.inf:
        raise UsageError(f"--at-seconds {seconds:g}: expected a number of simulated seconds above 0")
    if limit is not None and score != "final":
        raise UsageError(f"--limit scores the best that keeps it, --score {score} something else; give one of them")
    at = evaluations is not None or seconds is not None
    if at and (score == "recommended" or limit is not None):
        what = "best under a limit" if limit is not None else f"score {score!r}"
        raise UsageError(f"the {what} is known only at the end of a run; leave --at-... out")
    if score == HYPERVOLUME and seconds is not None:
        raise UsageError("how the hypervolume grew is known by evaluations; use --at-evaluations N")
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise DataError(f"results lack column {', '.join(missing)}; expected those that nasharness study writes")
    if not len(frame):
        raise DataError("no runs to compare: the results are empty")
    parts = dict(iter(frame.groupby(["study", "cell"], observed=True, sort=False)))
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
        group.sort(key=lambda cell: bool(cell["kind"] == ONE_SHOT))  # what is said of all is of the searches
        same_protocol(group, at=at)
        under = None if limit is None else read_limit(limit, group[0])
        found: dict[str, dict[int | None, Scored]] = {}
        notes: list[str] = []
        for cell in group:
            realised = found.setdefault(cell["algorithm"], {})
            if cell.get("realisation") in realised:
                raise DataError(
                    f"{cell['algorithm']} occurs twice on {key[1]}; compare studies of different algorithms or settings"
                )
            realised[cell.get("realisation")] = runs_of(
                parts[cell["study"], cell["id"]], cell, score, evaluations, seconds, under
            )
            if under is not None:
                notes += _within(parts[cell["study"], cell["id"]], cell, under)
        runs = {name: joined(list(each.values())) for name, each in found.items()}
        signals = list(
            dict.fromkeys(cell["protocol"]["signal"] for cell in group if cell.get("realisation") is not None)
        )
        if signals:
            notes.append(
                f"intervals: 95 %, over seeds and realisations: each seed on {len(signals)} realisations of the "
                "signal; p: Student's with crossed effects, Holm over the other algorithms of this data set"
            )
        left_out = pair(runs, key[1])
        if left_out:
            notes.append(f"{left_out:,} runs left out, whose seed not every algorithm has")
        if learnt := trained(group):
            notes.append(f"{', '.join(learnt)}: a supernet was trained; evaluations are epochs, seconds real ones")
        scores[key] = {name: one.score for name, one in runs.items()}
        sign, best = (1, 100.0) if score == HYPERVOLUME else (sign_of(group[0]), optimum(*group))
        if under is not None:
            best, arch = optimum_under(group[0], under)
            notes.insert(0, f"the best there is under {under}: architecture {arch}")
        warned = caveats.before(group)
        if score != HYPERVOLUME and under is None and not at:
            warned += caveats.after([(cell, parts[cell["study"], cell["id"]]) for cell in group])
        aim = sign * target if target is not None else _target(runs, controls(group))
        rows, held_against = _rows(runs, sign * best, reference, aim, resamples, seed, sign)
        table = group[0]["table"]
        sections.append(
            Section(
                *key, f"{table['source']} ({table['version']}), checksum {table['checksum'][:12]}",
                dict(group[0]["protocol"]), best, score if under is None else f"best under {under}",
                _budget(group[0], evaluations, seconds), held_against, sign * aim, rows, tuple(notes),
                f"{signals[0]} ... {signals[-1]}" if signals else "", tuple(warned),
            )
        )  # fmt: skip
    crossed = any(cell.get("realisation") is not None for cell in cells)
    return Comparison(tuple(sections), None if crossed else _overall(scores, resamples, seed))


def _within(rows: pd.DataFrame, cell: Mapping[str, Any], under: Under) -> list[str]:
    """What to say of runs that found nothing within a limit."""
    empty = int(np.isnan(best_under(rows[rows["last"]], cell, under).final).sum())
    if not empty or not percent(cell):
        return []
    return [f"{empty:,} runs of {cell['algorithm']} found nothing that keeps {under}; they count as 0 %"]


def _budget(cell: Mapping[str, Any], evaluations: int | None, seconds: float | None) -> str:
    if evaluations is None and seconds is None:
        return f"at the end, {budget(cell['protocol'])}"
    return f"at {budget({'evaluations': evaluations, 'seconds': seconds})}"


def _target(runs: Mapping[str, Scored], held_against: Sequence[str]) -> float:
    """What the first control ends with on average, else the weakest algorithm."""
    levels = {name: float(one.score.mean()) for name, one in runs.items()}
    return next((levels[name] for name in held_against if name in levels), min(levels.values()))


def _rows(
    runs: Mapping[str, Scored],
    best: float,
    reference: str | None,
    target: float,
    resamples: int,
    seed: int,
    sign: int,
) -> tuple[tuple[Row, ...], str]:
    """A row for every algorithm, the best mean first, and the algorithm that they are held against.

    Scores, ``best`` and ``target`` come in higher for better; ``sign`` turns what is shown back.
    """
    names = list(runs)
    scores = np.stack([runs[name].score for name in names])[:, :, None]
    level = stats.mean(scores)
    if reference is None or reference not in names:
        reference = names[int(level.argmax())]
    resamples = max(200, min(resamples, DRAWS // scores[0].size))
    options: dict[str, Any] = {"resamples": resamples, "seed": seed}
    intervals = {key: stats.interval(scores, aggregate, **options) for key, aggregate in stats.AGGREGATES.items()}
    rank, rank_ci = stats.mean_rank(scores), stats.mean_rank_interval(scores, **options)
    base = runs[reference].score
    grid = runs[reference].crossed
    crossed = runs[reference].realisations > 1

    def test(name: str) -> float:
        if crossed:
            return hierarchical.p_value(grid(runs[name].score - base))
        return wilcoxon(runs[name].score, base).p

    p = np.array([math.nan if name == reference else test(name) for name in names])
    adjusted = holm(p)
    if crossed:
        placed = stats.ranks(scores)[:, :, 0]
        rank_ci = np.array([hierarchical.interval(grid(one)) for one in placed])
        by_score = [grid(one) for one in scores[:, :, 0]]
        for key, aggregate in stats.AGGREGATES.items():
            of = None if key == "mean" else _of_runs(aggregate)
            intervals[key] = np.array([hierarchical.interval(one, of, resamples=200) for one in by_score])
    rows = []
    for i in np.argsort(-level, kind="stable").tolist():
        one, same = runs[names[i]], names[i] == reference
        reached, by_step, by_seconds = reach(one, target)
        of_signal = one.signal_regret
        improvement, ahead = math.nan, (math.nan, math.nan)
        if not same and crossed:
            beats = (one.score > base) + 0.5 * (one.score == base)
            improvement, ahead = float(beats.mean()), hierarchical.interval(grid(beats))
        elif not same:
            improvement = stats.probability_of_improvement(one.score[:, None], base[:, None])
            ahead = _pair_of(stats.improvement_interval(one.score[:, None], base[:, None], **options))
        low, high = intervals["mean"][i]
        values: dict[str, Any] = {key: sign * float(by(scores[i : i + 1])[0]) for key, by in stats.AGGREGATES.items()}
        values |= {f"{key}_ci": _pair_of(np.sort(sign * intervals[key][i])) for key in stats.AGGREGATES}
        rows.append(
            Row(
                algorithm=names[i],
                runs=len(one.score),
                evaluations=float(one.evaluations.mean()),
                seconds=float(one.seconds.mean()),
                **values,
                regret=best - float(level[i]),
                regret_ci=(best - float(high), best - float(low)),
                rank=float(rank[i]),
                rank_ci=_pair_of(rank_ci[i]),
                improvement=improvement,
                improvement_ci=(max(ahead[0], 0.0), min(ahead[1], 1.0)),
                p=float(p[i]),
                p_holm=float(adjusted[i]),
                reached=reached,
                target_evaluations=by_step,
                target_seconds=by_seconds,
                signal_regret=float(of_signal.mean()) if len(of_signal) else math.nan,
                at_maximum=float((of_signal <= LEAST).mean()) if np.isfinite(of_signal).any() else math.nan,
            )
        )
    return tuple(rows), reference


def _of_runs(aggregate: Any) -> Any:
    """An aggregate of ``[algorithms, runs, problems]`` as one of runs."""
    return lambda values: float(aggregate(values[None, :, None])[0])


def _pair_of(bounds: Floats) -> Interval:
    return float(bounds[0]), float(bounds[1])


def _overall(scores: Mapping[tuple[str, str], Mapping[str, Floats]], resamples: int, seed: int) -> Overall | None:
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
