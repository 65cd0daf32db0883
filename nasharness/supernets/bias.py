"""What shared weights overrate: how each option goes with their ranking, beside how it goes with the table's.

A supernet that ranks well on the whole may still have a favourite (say an operation without weights of its own, that is
good from the first step on), and then what is derived from it is full of it. Kendall's tau does not show that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nasharness.analysis.statistics import percentile_interval
from nasharness.analysis.statistics.correlation import spearman
from nasharness.spaces.base import Floats, Space
from nasharness.spaces.product import product

#: Resamples of architectures behind the intervals.
RESAMPLES = 200


@dataclass(frozen=True)
class Bias:
    """Spearman's rho of one trait of architectures with the ``score`` and with the ``truth``.

    ``trait``: how many positions hold an option, or, where options are ordered, the option at one position. ``excess``:
    the first less the second, with its 95 % interval: above 0, the shared weights overrate the trait.
    """

    trait: str
    score: float
    truth: float
    excess: tuple[float, tuple[float, float]]


def biases(space: Space, index: NDArray[np.int64], score: Floats, truth: Floats, seed: int) -> list[Bias]:
    """How each trait of architectures ``index [n]`` goes with ``score [n]`` and ``truth [n]``, both better if higher.

    Traits that all of them have alike are left out, architectures without a score or truth too. Intervals: bootstrap
    over architectures.
    """
    kept = np.isfinite(score) & np.isfinite(truth)
    score, truth = score[kept], truth[kept]
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, len(score)], dtype=np.uint64)))
    draws = rng.integers(len(score), size=(RESAMPLES, len(score)))
    found = []
    for name, trait in _traits(space, index[kept]):
        if len(trait) < 3 or (trait == trait[0]).all():
            continue
        one, other = spearman(trait, score), spearman(trait, truth)
        again = [spearman(trait[draw], score[draw]) - spearman(trait[draw], truth[draw]) for draw in draws]
        low, high = percentile_interval(np.array(again), len(trait))  # NaN where a resample cannot tell
        found.append(Bias(name, one, other, (one - other, (float(low), float(high)))))
    return found


def _traits(space: Space, index: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[np.int64]]]:
    choices = space.choices(index).astype(np.int64)
    cells = product(space)
    if space.ordinal:
        yield from zip(cells.positions, choices.T, strict=True)
        return
    for option in dict.fromkeys(option for options in cells.options for option in options):
        codes = [options.index(option) if option in options else -1 for options in cells.options]
        yield option, (choices == np.array(codes)).sum(axis=1)
