"""Architectures as points, so that their distance tells how much evidence about one says about another.

Two views. *Flat*: the options at the positions, which every space with positions has. *Topology*: what the network
computes, whatever its positions are called: how many operations of each kind lie on a path from input to output, and
how many such paths apply which operations in which order, with those left out that pass their input on. Two cells that
compute the same have the same topology up to what sums hide; a position tells nothing where no path leads through it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nasharness.spaces.base import Choices, Indices, Space
from nasharness.spaces.graph import Skeleton


@dataclass(frozen=True)
class Embedding:
    """Points of all architectures of a space: int8 ``[n, dimensions]``, and the ``unit`` of their distances.

    Coordinates are whole numbers, so that squared distances are exact on any machine.
    """

    name: str
    points: NDArray[np.int8]
    unit: float

    def pieces(self, ids: Indices) -> NDArray[np.float32]:
        """Points of architectures ``[...]``: float32 ``[..., dimensions]``."""
        return self.points[ids].astype(np.float32)


#: Differences of one operation more, and of one path more, in twelfths of a unit: as a count is less than a path.
_COUNT, _PATH, _TWELVE = 3, 4, 12.0
#: Squared distance of two options that are kinds: two coordinates differ by one. In units: -log of what is shared.
_KINDS = 1 / np.sqrt(np.log(1.3))
#: Share of the range of an ordered option that is one unit.
_RANGE = 0.5


@lru_cache(maxsize=16)
def embeddings(space: Space) -> tuple[Embedding, ...]:
    """The views of a space that there are, topology first; empty where architectures have no positions."""
    if not space.positions:
        return ()
    choices = space.choices(np.arange(space.size, dtype=np.int32))
    found = [_flat(space, choices)]
    if space.skeleton is not None:
        found.insert(0, _topology(space.skeleton, choices, max(space.sizes)))
    return tuple(found)


def _flat(space: Space, choices: Choices) -> Embedding:
    if space.ordinal:
        return Embedding("flat", choices.astype(np.int8), _RANGE * max(1, max(space.sizes) - 1))
    kinds = [choices[:, position, None] == np.arange(count) for position, count in enumerate(space.sizes)]
    return Embedding("flat", np.concatenate(kinds, axis=1).astype(np.int8), _KINDS)


def _topology(skeleton: Skeleton, choices: Choices, options: int) -> Embedding:
    live = skeleton.live(choices)
    counts = [((choices == option) & live).sum(axis=1) for option in range(options) if option != skeleton.absent]
    columns: dict[int, NDArray[np.int8]] = {}
    for path in skeleton.paths():
        whole = (choices[:, path] != skeleton.absent).all(axis=1)
        word = np.zeros(len(choices), dtype=np.int64)  # the operations in order, as digits
        for position in path:
            option = choices[:, position].astype(np.int64)
            word = np.where(option == skeleton.identity, word, word * (options + 1) + option + 1)
        for found in np.unique(word[whole]).tolist():
            column = columns.setdefault(found, np.zeros(len(choices), dtype=np.int8))
            column += whole & (word == found)
    points = [_COUNT * np.stack(counts, axis=1), _PATH * np.stack([columns[word] for word in sorted(columns)], axis=1)]
    return Embedding("topology", np.concatenate(points, axis=1).astype(np.int8), _TWELVE)
