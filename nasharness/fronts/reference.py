"""What fronts are measured against: published with the data, never taken from a run.

A reference point that came from a run's own results would make the hypervolumes of two runs incomparable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from nasharness.errors import UsageError
from nasharness.fronts.checks import Flags, Floats, as_point, as_points
from nasharness.fronts.dominance import non_dominated

#: The reference point lies this much of the front's range behind the ideal point: beyond the front's ends, so that they
#: count as well.
REACH = 1.1


@dataclass(frozen=True)
class Reference:
    """The scale of one set of objectives on one data set; lower is better in each.

    ``ideal``, ``nadir``: the best and the worst value of each objective on the exact front. ``region``: the region of
    interest, an upper bound an objective (``inf`` for none); a point beyond it is left out of every measure, as dead
    networks must be, which cost nothing and classify nothing.
    """

    ideal: tuple[float, ...]
    nadir: tuple[float, ...]
    region: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        count = len(self.ideal)
        ideal, nadir = as_point(self.ideal, count, "the ideal point"), as_point(self.nadir, count, "the nadir point")
        for objective in np.flatnonzero(~(ideal < nadir)):
            raise UsageError(
                f"objective {objective + 1} of {count}: the exact front goes from {ideal[objective]:g} to "
                f"{nadir[objective]:g}; a reference needs a front that varies in every objective"
            )
        if self.region is not None and (len(self.region) != count or np.isnan(self.region).any()):
            raise UsageError(f"a region of interest has {count} bounds, one an objective; got {list(self.region)}")

    @property
    def point(self) -> tuple[float, ...]:
        """The reference point of the hypervolume: ``ideal + 1.1 (nadir - ideal)``."""
        return tuple(low + REACH * (high - low) for low, high in zip(self.ideal, self.nadir, strict=True))

    def inside(self, points: ArrayLike) -> Flags:
        """Bool ``[..., points]``: which points lie in the region of interest; one with NaN does not."""
        array = as_points(points, len(self.ideal))
        bounds = np.inf if self.region is None else np.asarray(self.region)
        return np.asarray((array <= bounds).all(axis=-1))

    def within(self, points: ArrayLike) -> Floats:
        """Return ``points`` with those outside the region of interest as NaN: every measure leaves them out."""
        array = as_points(points, len(self.ideal))
        return np.where(self.inside(array)[..., None], array, np.nan)

    def normalised(self, points: ArrayLike) -> Floats:
        """Return ``points`` on a scale on which the ideal point is 0 and the nadir point 1 in every objective."""
        ideal = np.asarray(self.ideal)
        scaled: Floats = (as_points(points, len(self.ideal)) - ideal) / (np.asarray(self.nadir) - ideal)
        return scaled


def reference_of(points: ArrayLike, region: ArrayLike | None = None) -> Reference:
    """Return the reference of an exact front, or of all points ``[points, objectives]`` of a table.

    Only the front counts; with ``region`` the front of what lies inside it. Raises `UsageError` where there is no such
    point or where they do not vary in an objective.
    """
    array = as_points(points)
    bounds = None if region is None else np.asarray(region, dtype=np.float64)
    if bounds is not None:
        if bounds.shape != array.shape[1:]:
            raise UsageError(
                f"a region of interest has {array.shape[-1]} bounds, one an objective; got {bounds.tolist()}"
            )
        array = array[(array <= bounds).all(axis=1)]
    front = array[non_dominated(array)]
    if not len(front):
        raise UsageError("no point lies in the region of interest" if region is not None else "there is no point")
    return Reference(
        tuple(front.min(axis=0).tolist()),
        tuple(front.max(axis=0).tolist()),
        None if bounds is None else tuple(bounds.tolist()),
    )
