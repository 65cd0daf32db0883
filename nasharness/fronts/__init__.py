"""Fronts of several objectives: who dominates whom, and how good a set of points is.

Pure functions on arrays ``[..., points, objectives]``. **Lower is better in every objective**: what is to be maximised
comes in negated. A point with a NaN in any objective is no point: it is on no front, dominates nothing, is dominated by
nothing and adds nothing to a measure. Nothing here draws random numbers, and a batch gives the bits that its sets give
one by one.
"""

from __future__ import annotations

from nasharness.fronts.attainment import attainment
from nasharness.fronts.distance import igd_plus
from nasharness.fronts.dominance import best_first, crowding, entering, non_dominated, ranks
from nasharness.fronts.hypervolume import hypervolume, hypervolume_along
from nasharness.fronts.limits import best_under
from nasharness.fronts.reference import Reference, reference_of

__all__ = [
    "Reference",
    "attainment",
    "best_first",
    "best_under",
    "crowding",
    "entering",
    "hypervolume",
    "hypervolume_along",
    "igd_plus",
    "non_dominated",
    "ranks",
    "reference_of",
]
