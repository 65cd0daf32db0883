"""Rank quality of a proxy (zero-cost score, shared weights, predictor) against the table, with bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness.analysis.layout import estimate, json_ready, plain
from nasharness.analysis.statistics import percentile_interval
from nasharness.analysis.statistics.correlation import codes, kendall, kendall_of_codes, spearman, spearman_of_codes
from nasharness.errors import DataError, UsageError

Floats = NDArray[np.float64]
Interval = tuple[float, float]
RESAMPLES = 200
#: Share of resamples that may be without a value (all scores equal, say) for an interval to be given.
UNDEFINED = 0.05
#: what is said of intervals
INTERVALS = (
    "intervals  95 %, bootstrap over architectures; equal scores in random order; regret in percentage points; "
    "[-] where resampling cannot tell"
)
TOP = (0.01, 0.05, 0.10)
#: ks of precision@k and regret@k
KS = (1, 10, 100)
#: random orders of equal scores over which precision and regret are averaged
TIE_BREAKS = 20


@dataclass(frozen=True)
class Quality:
    """How well one score ranks. Correlations leave architectures without a score out; in precision and regret they come
    last, since a proxy never proposes what it cannot score.

    ``tau``, ``rho``: by part of the space, ``all`` or ``top 1 %`` by truth. ``precision``: share of the k best by score
    that are among the k best by truth. ``regret``: best truth of all less the best among the k best by score.
    """

    name: str
    rows: int
    unscored: int
    tau: dict[str, tuple[float, Interval]]
    rho: dict[str, tuple[float, Interval]]
    precision: dict[int, tuple[float, Interval]]
    regret: dict[int, tuple[float, Interval]]


def quality(
    name: str,
    scores: Floats,
    truth: Floats,
    *,
    lower_is_better: bool = False,
    ks: Sequence[int] = KS,
    top: Sequence[float] = TOP,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Quality:
    """Rank quality of ``scores`` ``[n]`` (NaN: none) against ``truth`` ``[n]`` of the same architectures.

    Intervals: architectures resampled as if those here had been drawn from a larger space of the same kind.
    """
    n = len(truth)
    for k in ks:
        if not 1 <= k <= n:
            raise UsageError(f"k {k}: expected 1 to {n:,}, the number of architectures in the file")
    values = -scores if lower_is_better else scores
    scored = ~np.isnan(values)
    if scored.sum() < 3 or len(np.unique(values[scored])) < 2:
        different = len(np.unique(values[scored]))
        raise DataError(f"score {name!r}: {int(scored.sum())} scores, {different} different ones; nothing to rank")
    rng = np.random.default_rng(seed)
    parts = {"all": scored}
    for share in top:
        kept = max(2, math.ceil(share * n))
        parts[f"top {100 * share:g} %"] = scored & (truth >= np.sort(truth)[-kept])
    tau, rho = {}, {}
    for label, mask in parts.items():
        tau[label], rho[label] = _correlations(values[mask], truth[mask], resamples, rng)
    precision, regret = _proposals(np.where(scored, values, -np.inf), scored, truth, ks, resamples, rng)
    return Quality(name, n, int((~scored).sum()), tau, rho, precision, regret)


def _correlations(
    x: Floats, y: Floats, resamples: int, rng: np.random.Generator
) -> tuple[tuple[float, Interval], tuple[float, Interval]]:
    nothing = (math.nan, math.nan)
    if len(x) < 3:
        return (math.nan, nothing), (math.nan, nothing)
    a, b = codes(x), codes(y)
    draws = np.full((resamples, 2), np.nan)
    for i in range(resamples):
        chosen = rng.integers(len(x), size=len(x), dtype=np.int32)
        first, second = a[chosen], b[chosen]
        draws[i] = kendall_of_codes(first, second), spearman_of_codes(first, second)
    bounds = bounds_of(draws, len(x))
    return (
        (kendall(x, y), (float(bounds[0, 0]), float(bounds[0, 1]))),
        (spearman(x, y), (float(bounds[1, 0]), float(bounds[1, 1]))),
    )


def bounds_of(draws: Floats, n: int) -> Floats:
    """Interval of bootstrap ``draws`` ``[resamples, ...]`` of ``n`` rows: ``[..., 2]``, NaN where they cannot tell.

    That is where more are undefined than may lie outside of the interval, and where both its ends are equal: an
    interval of no width says that what was never drawn cannot be.
    """
    undefined = ~np.isfinite(draws)
    bounds = percentile_interval(np.where(undefined.any(axis=0), 0.0, draws), n)
    few = undefined.mean(axis=0) <= UNDEFINED
    for place in zip(*np.nonzero(undefined.any(axis=0) & few), strict=True):
        bounds[place] = percentile_interval(draws[(slice(None), *place)][~undefined[(slice(None), *place)]], n)
    bounds[~few | (bounds[..., 1] - bounds[..., 0] < 1e-12)] = np.nan
    return bounds


def _proposals(
    values: Floats,
    scored: NDArray[np.bool_],
    truth: Floats,
    ks: Sequence[int],
    resamples: int,
    rng: np.random.Generator,
) -> tuple[dict[int, tuple[float, Interval]], dict[int, tuple[float, Interval]]]:
    n = len(truth)

    def measure(chosen: NDArray[Any]) -> Floats:
        # best first: scored before unscored, by score, equals in random order
        order = np.lexsort((rng.random(len(chosen)), -values[chosen], ~scored[chosen]))
        ranked = truth[chosen][order]
        ordered = np.sort(ranked)
        return np.array([[(ranked[:k] >= ordered[-k]).mean(), ordered[-1] - ranked[:k].max()] for k in ks])

    everyone = np.arange(n)
    point = np.mean([measure(everyone) for _ in range(TIE_BREAKS)], axis=0)
    draws = np.stack([measure(rng.integers(n, size=n, dtype=np.int32)) for _ in range(resamples)])
    bounds = bounds_of(draws, n)  # [ks, 2, 2]
    found: list[dict[int, tuple[float, Interval]]] = [{}, {}]
    for i, k in enumerate(ks):
        for which in (0, 1):
            low, high = bounds[i, which]
            found[which][k] = float(point[i, which]), (float(low), float(high))
    return found[0], found[1]


def render(found: Sequence[Quality], told: Sequence[str]) -> str:
    """Two tables: correlations, and what the best by score are worth. ``[-]``: resampling gives no interval."""
    parts = list(found[0].tau)
    first = []
    for one in found:
        for what, by in (("Kendall tau", one.tau), ("Spearman rho", one.rho)):
            first.append([one.name, what, *(estimate(*by[part], 3) for part in parts)])
    second = []
    for one in found:
        row = [one.name, f"{one.unscored:,}"]
        for k in one.precision:
            row += [estimate(*one.precision[k], 3), estimate(*one.regret[k], 2)]
        second.append(row)
    heads = [text for k in found[0].precision for text in (f"precision@{k}", f"regret@{k}")]
    return "\n".join(
        [
            *told,
            "",
            plain(["score", "", *parts], first),
            "",
            plain(["score", "unscored", *heads], second),
        ]
    )


def as_dict(found: Sequence[Quality]) -> list[Mapping[str, Any]]:
    """The same as plain values, for JSON."""
    return [
        {
            "score": one.name,
            "architectures": one.rows,
            "unscored": one.unscored,
            "kendall": _values(one.tau),
            "spearman": _values(one.rho),
            "precision": _values(one.precision),
            "regret": _values(one.regret),
        }
        for one in found
    ]


def _values(by: Mapping[Any, tuple[float, Interval]]) -> dict[str, Any]:
    return {str(key): plain_estimate(*one, "value") for key, one in by.items()}


def plain_estimate(value: float, bounds: Interval, name: str) -> dict[str, Any]:
    """A value called ``name`` with its interval, None where they are unknown."""
    return {name: json_ready(value), "ci95": None if math.isnan(bounds[0]) else list(bounds)}
