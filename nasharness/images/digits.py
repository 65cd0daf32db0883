"""Scikit-learn's 8 x 8 digits (UCI, Alpaydin and Kaynak, 1998): 1,797 real images that ship with it."""

from __future__ import annotations

import numpy as np

from nasharness.images.base import ImageSet, build, require
from nasharness.images.stratified import stratified

#: of the split into 1,437 training and 360 test images, the same for everybody
SEED, TEST = 0, 360


def read() -> ImageSet:
    """Return the digits as RGB, 0..16 scaled to 0..255. Raises UsageError where scikit-learn is absent."""
    datasets = require("sklearn.datasets", "scikit-learn", "the image set 'digits'")
    digits = datasets.load_digits()
    grey = np.rint(np.asarray(digits.images) * (255 / 16)).astype(np.uint8)
    x = np.repeat(grey[:, None], 3, axis=1)
    y = np.asarray(digits.target, dtype=np.int64)
    train, test = stratified(y, TEST / len(y), np.random.default_rng(SEED))
    return build(
        "digits",
        (x[train], y[train]),
        (x[test], y[test]),
        source=f"scikit-learn's digits, split {len(train):,} + {len(test):,} by class",
        classes=10,
        mirrored=False,
    )
