"""Networks of the topology space, the ones whose training is in the table (arXiv 2009.00437)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from nasharness import spaces
from nasharness.nets.blocks import Norm
from nasharness.nets.skeleton import Network
from nasharness.spaces.tss import OPERATIONS


def one_hot(choices: ArrayLike) -> NDArray[np.bool_]:
    """Operations of each edge ``[..., 6]`` as bool ``[..., 6, 5]``."""
    return np.asarray(np.arange(len(OPERATIONS)) == np.asarray(choices)[..., None])


class TssNet(Network):
    """The network of architecture ``arch`` (an index): ``cells`` cells in each of three stages; C, 2C, 4C channels.

    ``affine``, ``running_stats``: of the batch normalisation in the cells and in front of the classifier; stem and
    residual blocks always have both. Raises `UsageError` where there is no such architecture.
    """

    def __init__(
        self,
        arch: int,
        classes: int,
        *,
        channels: int = 16,
        cells: int = 5,
        affine: bool = True,
        running_stats: bool = True,
        generator: torch.Generator,
    ) -> None:
        space = spaces.get("tss")
        index = space.parse(arch)
        super().__init__(
            (channels, 2 * channels, 2 * channels, 4 * channels, 4 * channels),
            classes,
            cells,
            one_hot(space.choices(index)),
            norm=Norm(),
            cell_norm=Norm(affine, running_stats),
            generator=generator,
        )
        self.arch = index
