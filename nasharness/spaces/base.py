"""What every tabular search space offers: integer choices, an index and a published string for each architecture."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasharness.errors import UsageError

Indices = NDArray[np.int32]
Choices = NDArray[np.int8]
Floats = NDArray[np.float64]


class Space:
    """A finite product space: an architecture takes one option at each of ``len(sizes)`` positions.

    Everything is vectorised over leading axes: indices have any shape ``[...]``, choices ``[..., positions]``.
    Randomness comes in as uniforms in [0, 1), never from a generator of the space's own, so that a batch of runs can
    draw in lockstep from each run's own stream.
    """

    name: ClassVar[str]
    #: number of options at each position, e.g. ``(5, 5, 5, 5, 5, 5)``
    sizes: ClassVar[tuple[int, ...]]
    #: names of the options at each position, in the order of their integers
    options: ClassVar[tuple[tuple[str, ...], ...]]
    #: whether the options of a position are ordered (widths) rather than categories (operations)
    ordinal: ClassVar[bool]
    #: data sets for which published measurements exist
    datasets: ClassVar[tuple[str, ...]] = ("cifar10", "cifar100", "ImageNet16-120")
    #: uniforms that one mutation consumes
    mutation_uniforms: ClassVar[int] = 2

    @property
    def size(self) -> int:
        """Number of architectures."""
        return int(np.prod(self.sizes))

    def __len__(self) -> int:
        return self.size

    def __repr__(self) -> str:
        return f"Space({self.name!r}, size={self.size})"
