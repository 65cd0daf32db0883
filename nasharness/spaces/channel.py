"""The ResNet form of Channel-Bench-Macro: 4^7 = 16,384 networks that differ in the widths of seven layers.

X. Su, S. You, F. Wang, C. Qian, C. Zhang, C. Xu: BCNet: Searching for Network Width with Bilaterally Coupled Network,
CVPR 2021, arXiv:2105.10533; https://github.com/xiusu/Channel-Bench-Macro. A 3x3 stem with stride 2, then five residual
blocks of two 3x3 convolutions, the third with stride 2. Layer 1 is the stem's width and that of the shortcuts at 16x16,
layers 2 and 3 the inner widths of its two blocks; layer 4 the inner width of the block with stride 2, layer 5 the width
of the shortcuts at 8x8, layers 6 and 7 the inner widths of its two blocks. A digit is a quarter of the full width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nasharness.spaces.base import Floats
from nasharness.spaces.coded import CodedSpace
from nasharness.spaces.graph import LabelledGraph, chain
from nasharness.spaces.protocol import Protocol
from nasharness.spaces.registry import register

#: full width of each layer
FULL = (256, 256, 256, 512, 512, 512, 512)
CLASSES = 10


@register
class ChannelSpace(CodedSpace):
    """``channel-resnet``: one to four quarters of each layer's width. Index = base 4, layer 1 first."""

    name = "channel-resnet"
    summary = "Channel-Bench-Macro, ResNet form: 4 widths for each of 7 layers"
    options = tuple(tuple(str(full * quarter // 4) for quarter in (1, 2, 3, 4)) for full in FULL)
    positions = tuple(f"layer {number}" for number in range(1, 8))
    ordinal = True
    alphabet = "1234"
    string_form = "seven digits from 1 to 4, quarters of the full width of each layer"
    offers = CodedSpace.offers | {"ladder", "nested"}
    closed_forms = ("params", "macs")
    protocol = Protocol(datasets=("cifar10",))

    def graph(self, arch: Any) -> LabelledGraph:
        """See `Space.graph`: the seven widths in a chain."""
        row = self.choices(np.asarray(self.parse(arch))).tolist()
        return chain([options[choice] for options, choice in zip(self.options, row, strict=True)])

    def _widths(self, ids: ArrayLike) -> tuple[Floats, ...]:
        widths = (self.choices(ids).astype(np.float64) + 1) * (np.array(FULL) / 4)
        return tuple(widths[..., layer] for layer in range(7))

    def params(self, ids: ArrayLike, dataset: str = "cifar10") -> Floats:
        """See `Space.params`; equal to the published counts."""
        a, b, c, d, e, f, g = self._widths(ids)
        kernels = 27 * a + 9 * (2 * a * (b + c) + a * d + d * e + 2 * e * (f + g))
        norms = 2 * (3 * a + b + c + d + 3 * e + f + g)
        return np.asarray((kernels + norms + (e + 1) * CLASSES) / 1e6)

    def flops(self, ids: ArrayLike, dataset: str = "cifar10") -> Floats:
        """See `Space.flops`; equal to the published counts, which leave the linear layer's bias out."""
        a, b, c, d, e, f, g = self._widths(ids)
        large = 27 * a + 18 * a * (b + c)
        small = 9 * (a * d + d * e + 2 * e * (f + g))
        return np.asarray((16**2 * large + 8**2 * small + e * CLASSES) / 1e6)
