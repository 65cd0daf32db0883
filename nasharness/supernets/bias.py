"""What shared weights overrate: how each option goes with their ranking, beside how it goes with the table's.

A supernet that ranks well on the whole may still have a favourite (say an operation without weights of its own, that is
good from the first step on), and then what is derived from it is full of it. Kendall's tau does not show that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nasharness.analysis.statistics.correlation import codes, spearman_of_codes
from nasharness.analysis.validation.proxies import RESAMPLES, bounds_of
from nasharness.spaces.base import Floats, Space
from nasharness.spaces.product import product


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
    over architectures, NaN where it cannot tell.
    """
    kept = np.isfinite(score) & np.isfinite(truth)
    by_score, by_truth = codes(score[kept]), codes(truth[kept])
    n = len(by_score)
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, n], dtype=np.uint64)))
    draws = rng.integers(n, size=(RESAMPLES, n))

    def both(trait: NDArray[np.int64], rows: NDArray[np.int64] | slice) -> tuple[float, float]:
        return spearman_of_codes(trait[rows], by_score[rows]), spearman_of_codes(trait[rows], by_truth[rows])

    found = []
    for name, trait in _traits(space, index[kept]):
        if n < 3 or (trait == trait[0]).all():
            continue
        dense = codes(trait)
        one, other = both(dense, slice(None))
        again = np.array([both(dense, draw) for draw in draws])
        low, high = bounds_of(again[:, :1] - again[:, 1:], n)[0]
        found.append(Bias(name, one, other, (one - other, (float(low), float(high)))))
    return found


def _traits(space: Space, index: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[np.int64]]]:
    choices = space.choices(index).astype(np.int64)
    cells = product(space)
    if space.ordinal:
        yield from zip(cells.positions, choices.T, strict=True)
        return
    for option in dict.fromkeys(option for options in cells.options for option in options):
        numbers = [options.index(option) if option in options else -1 for options in cells.options]
        yield option, (choices == np.array(numbers)).sum(axis=1)
