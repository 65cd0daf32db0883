"""Scikit-learn's digits in five domains: each digit turned by five angles (after rotated MNIST, arXiv 1508.07680)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nasharness.images.base import Pixels
from nasharness.images.digits import read
from nasharness.images.domains import DomainSet

#: pixels a side, twice those of the digits: at their own a turned digit is a blur
SIDE = 16
#: degrees, anticlockwise
ANGLES = (-40, -20, 0, 20, 40)


def turned(grey: NDArray[np.uint8], angle: float, side: int = SIDE) -> Pixels:
    """Images ``[n, size, size]`` turned by ``angle`` degrees and drawn with ``side`` pixels: uint8 ``[n, side, side]``.

    One bilinear interpolation does both; beyond the edge is black.
    """
    size = grey.shape[-1]
    at = (np.arange(side) + 0.5) * (size / side) - size / 2  # of the pixels' centres, from the middle
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    down = at[:, None] * cos + at[None] * sin + (size - 1) / 2
    right = at[None] * cos - at[:, None] * sin + (size - 1) / 2
    framed = np.pad(grey.astype(np.float64), ((0, 0), (1, 1), (1, 1)))
    top, left = np.floor(down).astype(np.intp), np.floor(right).astype(np.intp)

    def pixels(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float64]:
        return framed[:, np.clip(rows + 1, 0, size + 1), np.clip(columns + 1, 0, size + 1)]

    across, along = right - left, down - top
    upper = pixels(top, left) * (1 - across) + pixels(top, left + 1) * across
    lower = pixels(top + 1, left) * (1 - across) + pixels(top + 1, left + 1) * across
    return np.asarray(np.rint(upper * (1 - along) + lower * along), dtype=np.uint8)


def rotated() -> DomainSet:
    """Every digit in every domain; those that test as `digits.read` says. UsageError where scikit-learn is absent."""
    digits = read()
    grey = np.concatenate([digits.train_x, digits.test_x])[:, 0]
    labels = np.concatenate([digits.train_y, digits.test_y])
    domains, count = len(ANGLES), len(labels)
    drawn = np.concatenate([turned(grey, angle) for angle in ANGLES])
    return DomainSet(
        name=digits.name,
        x=np.repeat(drawn[:, None], 3, axis=1),
        y=np.tile(labels, domains),
        domain=np.repeat(np.arange(domains), count),
        names=tuple(str(angle) for angle in ANGLES),
        class_names=digits.class_names,
        things=np.tile(np.arange(count), domains),
        kept=np.tile(np.arange(count) >= len(digits.train_y), domains),
        source=f"scikit-learn's digits, turned by {', '.join(map(str, ANGLES))} degrees, {SIDE} x {SIDE} pixels; a "
        "digit is on one side of every split, at all angles",
        default=str(ANGLES[-1]),
        mirrored=False,
    )
