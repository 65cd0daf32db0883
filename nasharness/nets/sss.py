"""Networks of the size space: one fixed cell, five widths (docs/reproduction/nats-bench.md#size-space)."""

from __future__ import annotations

import torch

from nasharness import spaces
from nasharness.nets.blocks import Norm
from nasharness.nets.skeleton import Network
from nasharness.nets.tss import one_hot
from nasharness.spaces.sss import WIDTHS

#: tss index of the cell that every network of the size space has
CELL = 9930
#: operations of that cell
OFFERED = one_hot((3, 3, 3, 1, 3, 3))


class SssNet(Network):
    """The network of architecture ``arch`` (an index), with ``cells`` cells in each of the three stages.

    ``affine``, ``running_stats``: of the batch normalisation in the cells and in front of the classifier; stem and
    residual blocks always have both. Raises `UsageError` where there is no such architecture.
    """

    def __init__(
        self,
        arch: int,
        classes: int,
        *,
        cells: int = 1,
        affine: bool = True,
        running_stats: bool = True,
        generator: torch.Generator,
    ) -> None:
        space = spaces.get("sss")
        index = space.parse(arch)
        c0, c1, c2, c3, c4 = (WIDTHS[int(choice)] for choice in space.choices(index))
        super().__init__(
            (c0, c1, c2, c3, c4),
            classes,
            cells,
            OFFERED,
            norm=Norm(),
            cell_norm=Norm(affine, running_stats),
            generator=generator,
        )
        self.arch = index
