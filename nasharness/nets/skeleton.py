"""The skeleton around the cells, the same for both NATS-Bench spaces: three stages with a residual block between."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nasharness.nets.blocks import Head, Norm, Residual, Stem
from nasharness.nets.cell import Cell


class Skeleton(nn.Module):
    """Stem, ``cells`` cells, residual block, ``cells`` cells, residual block, ``cells`` cells, head.

    ``widths``: channels of stem and first stage, first residual block, second stage, second residual block, third
    stage. ``offered``: bool ``[6, 5]``, the operations that each edge of a cell has. ``cell_norm``: normalisation in
    the cells and the head; ``norm``: in residual blocks; ``stem_norm``: in the stem, by default as in those.
    """

    def __init__(
        self,
        widths: tuple[int, int, int, int, int],
        classes: int,
        cells: int,
        offered: NDArray[np.bool_],
        *,
        norm: Norm,
        cell_norm: Norm,
        stem_norm: Norm | None = None,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        c0, c1, c2, c3, c4 = widths
        self.stem = Stem(c0, stem_norm or norm, generator)
        self.stages, self.residuals = nn.ModuleList(), nn.ModuleList()
        for c_in, c_out in ((c0, c0), (c1, c2), (c3, c4)):
            row = [Cell(offered, c_out if deep else c_in, c_out, cell_norm, generator) for deep in range(cells)]
            self.stages.append(nn.ModuleList(row))
        for c_in, c_out in ((c0, c1), (c2, c3)):
            self.residuals.append(Residual(c_in, c_out, norm, generator))
        self.head = Head(c4, classes, cell_norm, generator)


class Network(Skeleton):
    """A network of its own: every cell computes all that it has."""

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[batch, 3, side, side]`` to logits ``[batch, classes]``."""
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        for stage, cells in enumerate(self.stages):
            if stage:
                x = self.residuals[stage - 1](x)
            for cell in cells:  # type: ignore[attr-defined]
                x = cell(x)
        logits: Tensor = self.head(x)
        return logits
