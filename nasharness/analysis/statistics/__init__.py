"""Statistics of many runs: aggregates with bootstrap intervals, ranks, probability of improvement, time to target.

Scores are arrays ``[algorithms, runs, problems]``; run ``r`` has the same seed for every algorithm. Every function that
draws takes ``seed`` and makes its own generator: the global one is neither read nor written. Definitions follow
R. Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS 2021. Tests of
hypotheses are in ``significance``, rank correlations in ``correlation``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasharness.analysis.statistics.distributions import normal_sf
from nasharness.errors import UsageError
from nasharness.search.interval import t_quantile

Floats = NDArray[np.float64]
#: Resamples of a bootstrap: the ends of an interval then vary by about 2 % of its width from seed to seed.
RESAMPLES = 2_000
CONFIDENCE = 0.95
#: Numbers that a chunk of resamples may hold at a time (32 MB of float64).
CHUNK = 4_000_000


# ---- aggregates: [algorithms, runs, problems] -> [algorithms], over runs and problems together


def mean(scores: ArrayLike) -> Floats:
    """Mean over runs and problems: ``[..., runs, problems]`` -> ``[...]``."""
    return np.asarray(np.mean(_flat(scores), axis=-1))


def median(scores: ArrayLike) -> Floats:
    """Median over runs and problems: ``[..., runs, problems]`` -> ``[...]``."""
    return np.asarray(np.median(_flat(scores), axis=-1))


def iqm(scores: ArrayLike) -> Floats:
    """Interquartile mean, of what is left when the lowest and the highest quarter are dropped (floor of n / 4 each).

    ``[..., runs, problems]`` -> ``[...]``.
    """
    values = np.sort(_flat(scores), axis=-1)
    cut = values.shape[-1] // 4
    return np.asarray(values[..., cut : values.shape[-1] - cut].mean(axis=-1))


AGGREGATES: dict[str, Callable[[ArrayLike], Floats]] = {"mean": mean, "median": median, "iqm": iqm}


def _flat(scores: ArrayLike) -> Floats:
    values = np.asarray(scores, dtype=np.float64)
    return values.reshape(*values.shape[:-2], -1)


def interval(
    scores: ArrayLike,
    aggregate: Callable[[Floats], Floats] = mean,
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Floats:
    """Stratified bootstrap interval of ``aggregate``: ``[algorithms, runs, problems]`` -> ``[algorithms, 2]``.

    Every problem is a stratum: its runs are resampled on their own, the problems never. Percentiles, taken somewhat
    further out than the confidence says, since the bootstrap knows the spread of n runs only by its ddof 0 estimate and
    the normal for Student's t (T. Hesterberg, "What Teachers Should Know About the Bootstrap", 2015, section 3.6);
    at 500 runs that is nothing, at 10 runs it is what makes 95 % of it. NaN for a single run.
    """
    values = _checked(scores)
    algorithms, runs, problems = values.shape
    bounds = np.full((algorithms, 2), np.nan)
    if runs < 2:
        return bounds
    rng = np.random.default_rng(seed)
    chunk = max(1, CHUNK // (runs * problems))
    for a in range(algorithms):
        # sorted once, so that a sorted resample is a cheap integer sort and the aggregates' own sorts find no work
        ordered = np.sort(values[a], axis=0)
        found = []
        for first in range(0, resamples, chunk):
            draws = rng.integers(runs, size=(min(chunk, resamples - first), runs, problems), dtype=np.int32)
            found.append(aggregate(np.take_along_axis(ordered[None], draws, axis=1)))
        bounds[a] = percentile_interval(np.concatenate(found), runs, confidence)
    return bounds


def percentile_interval(draws: Floats, n: int, confidence: float = CONFIDENCE) -> Floats:
    """Expanded percentile interval of bootstrap ``draws`` ``[resamples, ...]`` of ``n`` observations: ``[..., 2]``."""
    z = t_quantile(0.5 + confidence / 2, n - 1) * math.sqrt(n / (n - 1))
    tail = normal_sf(z)
    return np.moveaxis(np.quantile(draws, [tail, 1 - tail], axis=0, method="weibull"), 0, -1)


# ---- ranks


def ranks(scores: ArrayLike, *, higher_is_better: bool = True) -> Floats:
    """Rank of every algorithm within every run and problem, 1 the best, equals share the mean of their places.

    ``[algorithms, runs, problems]`` -> the same shape.
    """
    values = _checked(scores)
    if higher_is_better:
        values = -values
    better = np.zeros(values.shape)
    for other in values:  # algorithms are few
        better += (other < values) + 0.5 * (other == values)
    return better + 0.5


def mean_rank(scores: ArrayLike, *, higher_is_better: bool = True) -> Floats:
    """Mean of ``ranks`` over runs and problems: ``[algorithms]``."""
    return np.asarray(ranks(scores, higher_is_better=higher_is_better).mean(axis=(1, 2)))


def mean_rank_interval(
    scores: ArrayLike,
    *,
    higher_is_better: bool = True,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Floats:
    """Bootstrap interval of ``mean_rank``, seeds resampled with all their algorithms: ``[algorithms, 2]``."""
    return interval(
        ranks(scores, higher_is_better=higher_is_better), mean, resamples=resamples, confidence=confidence, seed=seed
    )


# ---- probability of improvement


def probability_of_improvement(x: ArrayLike, y: ArrayLike) -> float:
    """P(X > Y) + P(X = Y) / 2 for two runs taken at random, the mean over problems: ``[runs, problems]`` each."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    return float(np.mean([_placements(x[:, p], y[:, p]).mean() for p in range(x.shape[1])]))


def improvement_interval(
    x: ArrayLike,
    y: ArrayLike,
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Floats:
    """Stratified bootstrap interval of ``probability_of_improvement``: ``[2]``.

    Runs of equal number are resampled in pairs, which is right whether or not runs of one seed resemble each other;
    otherwise each side on its own. The statistic is linearised (every run counts by the share of the other side that it
    beats): comparing resamples in full would meet a run's own partner too often, and is quadratic.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    least, problems = min(len(x), len(y)), x.shape[1]
    if least < 2:
        return np.full(2, np.nan)
    rng = np.random.default_rng(seed)
    found = np.zeros(resamples)
    for p in range(problems):
        mine, theirs = _placements(x[:, p], y[:, p]), 1 - _placements(y[:, p], x[:, p])
        if len(x) == len(y):
            part = _resampled_means(rng, mine + theirs, resamples)
        else:
            part = _resampled_means(rng, mine, resamples) + _resampled_means(rng, theirs, resamples)
        found += (part - mine.mean()) / problems
    return np.clip(percentile_interval(found, least, confidence), 0.0, 1.0)


def _placements(x: Floats, y: Floats) -> Floats:
    """Share of ``y`` that each of ``x`` beats, equals by half: ``[len(x)]``."""
    ordered = np.sort(y)
    return (np.searchsorted(ordered, x, "left") + np.searchsorted(ordered, x, "right")) / (2 * len(y))


def _resampled_means(rng: np.random.Generator, values: Floats, resamples: int) -> Floats:
    """Means of bootstrap resamples of ``values`` ``[n]``: ``[resamples]``."""
    chunk = max(1, CHUNK // len(values))
    parts = [
        values[rng.integers(len(values), size=(min(chunk, resamples - first), len(values)), dtype=np.int32)].mean(
            axis=1
        )
        for first in range(0, resamples, chunk)
    ]
    return np.concatenate(parts)


# ---- time to target


def time_to_target(run: ArrayLike, when: ArrayLike, values: ArrayLike, target: float, runs: int) -> Floats:
    """When each run first holds a value of at least ``target``: ``[runs]``, infinite where it never does.

    ``run``, ``when``, ``values`` ``[rows]``: rows of incumbents, ``run`` numbered from 0, in any order. A run that
    reaches the target and loses it again (the final metric of an incumbent may fall) has reached it.
    """
    run, when, values = np.asarray(run), np.asarray(when, dtype=np.float64), np.asarray(values)
    first = np.full(runs, np.inf)
    reached = values >= target
    np.minimum.at(first, run[reached], when[reached])
    return first


def _checked(scores: ArrayLike) -> Floats:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 3 or 0 in values.shape:
        raise UsageError(f"scores of shape {values.shape}: expected [algorithms, runs, problems], none of them 0")
    if not np.isfinite(values).all():
        raise UsageError(f"scores: {int((~np.isfinite(values)).sum())} of {values.size} are not finite numbers")
    return values
