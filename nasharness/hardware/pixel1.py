"""The latency table of a Pixel 1 that Single-Path NAS was searched with: read from its file, and relaxed.

D. Stamoulis et al., Single-Path NAS, arXiv 1904.02877; https://github.com/dstamoulis/single-path-nas, file
``nas-search/pixel1_runtime_model.json``, Apache License 2.0: milliseconds of each block of the space ``mobile`` by its
number and choice, one thread of TFLite, mean of 50 runs. The stem, the fixed blocks 0 and 21 and the head cost
19.5999 ms together, a layer that is left out nothing.

``pixel1_latency`` is that table. ``pixel1_relaxed_latency`` is what the search descends at hard decisions: of a layer's
entries a (3x3-e3), b (3x3-e6), c (5x5-e3) and d (5x5-e6) it estimates a as c b / d, and has the others as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nasharness import spaces
from nasharness.errors import DataError
from nasharness.hardware.catalogue import OPERATORS
from nasharness.hardware.imported import Columns
from nasharness.hardware.quantity import MODELLED

FILE = "pixel1_runtime_model.json"
#: milliseconds of what all networks have: a constant of the released search
FIXED = 19.5999
CARD: dict[str, Any] = {
    "version": "21c1f3e",
    "source": "Single-Path NAS 21c1f3e, Pixel 1",
    "licence": "Apache License 2.0, Dimitrios Stamoulis (single-path-nas)",
    "citation": "D. Stamoulis, R. Ding, D. Wang, D. Lymberopoulos, B. Priyantha, J. Liu, D. Marculescu: Single-Path "
    "NAS: Designing Hardware-Efficient ConvNets in less than 4 Hours. ECML-PKDD 2019, arXiv:1904.02877",
}


def columns(content: Mapping[str, Any], what: str = FILE) -> Columns:
    """Prices of every operator of ``mobile``, float64, from the file's content: block -> choice -> milliseconds.

    Raises DataError where a block or a choice is missing.
    """
    mobile: Any = spaces.get("mobile")
    operators = mobile.operators("ImageNet")
    exact, relaxed = dict.fromkeys(operators.before, FIXED), dict.fromkeys(operators.before, FIXED)
    for number, names in enumerate(operators.layers, 1):
        try:
            # its sums of measurements end at four decimals, but for the last bits of a float64
            a, b, c, d = (round(float(content[str(number)][choice]), 4) for choice in "0123")
        except (KeyError, TypeError, ValueError):
            raise DataError(f"{what}: expected four numbers, '0' to '3', of block {number}") from None
        exact |= dict(zip(names, (a, b, c, d, 0.0), strict=False))
        relaxed |= dict(zip(names, (c * b / d, b, c, d, 0.0), strict=False))
    named = operators.names()
    values = {
        (OPERATORS, quantity): np.array([prices[name] for name in named])
        for quantity, prices in (("pixel1_latency", exact), ("pixel1_relaxed_latency", relaxed))
    }
    return Columns(values, dict.fromkeys(values, MODELLED), named)
