"""The supernet of the size space: layers of 64 channels, narrowed by gates (docs/reproduction/one-shot.md#tunas)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional

from nasharness import spaces
from nasharness.errors import UsageError
from nasharness.nets.blocks import PLAIN, Norm
from nasharness.nets.skeleton import Skeleton
from nasharness.nets.sss import OFFERED
from nasharness.spaces.base import Space
from nasharness.spaces.sss import WIDTHS
from nasharness.supernets.base import Gates, Supernet, evaluating
from nasharness.supernets.sharing import distinct, narrow_cell, narrow_head, narrow_residual, narrow_stem

#: channels of every layer
FULL = WIDTHS[-1]
#: The layer that each gate narrows: the stem has the width of the first cell, whose gate draws for itself.
GATED = (0, 0, 1, 2, 3, 4)


class WidthGates(Gates):
    """What is done to six outputs: that of the stem, gate 0, and those of the layers c0 to c4, gates 1 to 5."""

    def apply(self, gate: int, features: Tensor) -> Tensor:
        """Return ``features`` ``[batch, 64, side, side]`` narrowed by ``gate``, in the same shape."""
        raise NotImplementedError


@lru_cache(maxsize=256)
def prefixes(device: torch.device) -> Tensor:
    """Return the masks of the eight widths, float32 ``[8, 64]``: ones on the first c channels. Read-only."""
    with torch.inference_mode(False):  # they are kept, and gradients may have to pass later
        return (torch.arange(FULL) < torch.tensor(WIDTHS)[:, None]).float().to(device)


@dataclass(frozen=True)
class Prefix(WidthGates):
    """Outputs times masks ``[6, 64]``: hard ones (`of`), or soft ones, a mean of hard ones (`soft`).

    FBNetV2 (arXiv 2004.05565) uses soft ones, TuNAS (arXiv 2008.06120) sampled hard ones.
    """

    masks: Tensor

    @classmethod
    def of(cls, choices: ArrayLike, device: torch.device | str = "cpu") -> Prefix:
        """Hard masks of six widths given by their numbers ``[6]``, 0 for 8 to 7 for 64."""
        masks = prefixes(torch.device(device))
        return cls(torch.stack([masks[int(choice)] for choice in np.asarray(choices)]))

    @classmethod
    def soft(cls, probabilities: Tensor) -> Prefix:
        """Masks averaged with ``probabilities`` ``[6, 8]``."""
        return cls(probabilities @ prefixes(probabilities.device).to(probabilities.dtype))

    def apply(self, gate: int, features: Tensor) -> Tensor:
        """See `WidthGates.apply`."""
        return features * self.masks[gate].to(features.dtype)[:, None, None]


@dataclass(frozen=True)
class Interpolated(WidthGates):
    """Two widths for each gate, interpolated channel by channel (TAS, arXiv 1905.09717, section 3.1).

    ``choices``: whole numbers ``[6, 2]``, the numbers of both widths c1 and c2; ``weights`` ``[6, 2]``. The first c1
    and the first c2 channels are averaged along channels to max(c1, c2) (adaptive average pooling), mixed with the
    weights and padded with zeros to 64.
    """

    choices: ArrayLike
    weights: Tensor

    def apply(self, gate: int, features: Tensor) -> Tensor:
        """See `WidthGates.apply`."""
        pair = [int(choice) for choice in np.asarray(self.choices)[gate]]
        # Keeping, averaging and padding are linear in the channels: together one 64 x 64 matrix, a 1x1 convolution.
        weights = self.weights[gate]
        pooling = [channel_pooling(WIDTHS[choice], WIDTHS[max(pair)], weights.device) for choice in pair]
        matrix = (weights[:, None, None] * torch.stack(pooling).to(weights.dtype)).sum(0)
        return functional.conv2d(features, matrix.to(features.dtype)[:, :, None, None])


@lru_cache(maxsize=256)
def channel_pooling(kept: int, width: int, device: torch.device) -> Tensor:
    """Return the matrix ``[64, 64]`` that averages the first ``kept`` channels to ``width``, zero beyond. Read-only."""
    with torch.inference_mode(False):  # it is kept, and gradients may have to pass later
        square = torch.zeros(FULL, FULL)
        square[:width, :kept] = functional.adaptive_avg_pool1d(torch.eye(kept), width).T
        return square.to(device)


class SssSupernet(Supernet, Skeleton):
    """Shared weights of all 32,768 networks: ``cells`` cells of 64 channels in each of three stages.

    Normalisation learns nothing and uses the statistics of the batch, in evaluation too, in the stem as in cells and
    head; residual blocks have ordinary layers. The skip of the cell is an identity here, never the
    projection that a network of two widths has.
    """

    space: ClassVar[Space] = spaces.get("sss")  # type: ignore[misc]
    gated = GATED

    def __init__(self, classes: int, *, cells: int = 1, generator: torch.Generator) -> None:
        super().__init__(
            (FULL,) * 5, classes, cells, OFFERED, norm=Norm(), cell_norm=PLAIN, stem_norm=PLAIN, generator=generator
        )  # fmt: skip
        self.classes, self.cells_total = classes, 3 * cells

    def forward(self, images: Tensor, gates: Gates) -> Tensor:
        """Logits ``[batch, classes]`` of images ``[batch, 3, side, side]`` through `WidthGates`."""
        if not isinstance(gates, WidthGates):
            raise UsageError(f"an sss supernet takes WidthGates, such as Prefix; got {type(gates).__name__}")
        x = gates.apply(0, self.stem(images.contiguous(memory_format=torch.channels_last)))
        for stage, cells in enumerate(self.stages):
            if stage:
                x = gates.apply(2 * stage, self.residuals[stage - 1](x))
            for cell in cells:  # type: ignore[attr-defined]
                x = gates.apply(2 * stage + 1, cell(x))
        return self.answers(self.head(x))

    def gates_of(self, arch: int) -> Prefix:
        """Hard masks of the widths of ``arch``; see `Supernet.gates_of`."""
        return self.gates_drawn(self.space.choices(arch)[list(GATED)])

    def gates_drawn(self, choices: ArrayLike) -> Prefix:
        """See `Supernet.gates_drawn`: hard masks of six widths; stem and first cell may differ in training."""
        return Prefix.of(choices, self.stem.conv.weight.device)

    @torch.inference_mode()
    def each(self, images: Tensor, archs: ArrayLike) -> Iterator[tuple[NDArray[np.intp], Tensor]]:
        """See `Supernet.each`. Networks share the layers up to the first width in which they differ.

        Channels that a mask would set to zero are not computed.
        """
        before: list[int] = []
        with evaluating(self):
            path = [self.stem(images.contiguous(memory_format=torch.channels_last))]
            for places, choices in distinct(self.space.choices(np.ravel(archs))):
                same = next((k for k, pair in enumerate(zip(before, choices, strict=False)) if pair[0] != pair[1]), 0)
                del path[same + 1 :]
                for layer in range(same, len(choices)):
                    path.append(self._narrow(layer, path[-1], WIDTHS[choices[layer]]))
                before = choices
                yield places, self.answers(narrow_head(self.head, path[-1]))

    def _narrow(self, layer: int, x: Tensor, width: int) -> Tensor:
        """Layer c0 to c4 (a stage or a residual block) of ``width`` channels, on the features before it."""
        if layer % 2:
            return narrow_residual(self.residuals[layer // 2], x, width)  # type: ignore[arg-type]
        if layer == 0:
            x = narrow_stem(x, width)
        for cell in self.stages[layer // 2]:  # type: ignore[attr-defined]
            x = narrow_cell(cell, x, width)
        return x
