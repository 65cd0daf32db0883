"""The space of NAS-Bench-Macro: 3^8 = 6,561 networks, one block in each of eight layers.

X. Su, T. Huang, Y. Li, S. You, F. Wang, C. Qian, C. Zhang, C. Xu: Prioritized Architecture Sampling with Monto-Carlo
Tree Search, CVPR 2021; https://github.com/xiusu/NAS-Bench-Macro. A 3x3 stem of 32 channels; stages of 2, 3 and 3
layers, the first of each with stride 2 and twice the channels; a 1x1 convolution to 1,280 channels; a linear layer.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nasharness.spaces.base import Floats, frozen
from nasharness.spaces.coded import CodedSpace
from nasharness.spaces.graph import LabelledGraph, chain
from nasharness.spaces.protocol import Protocol
from nasharness.spaces.registry import register

BLOCKS = ("identity", "MB3x3-e3", "MB5x5-e6")
#: kernel and expansion of the two inverted residual blocks
_BLOCK = {1: (3, 3), 2: (5, 6)}
STAGES = (2, 3, 3)
CLASSES = 10


def _layers() -> list[tuple[int, int, int, int]]:
    """(channels in, channels out, side in, side out) of each layer, for CIFAR-10."""
    found, channels, side = [], 32, 32
    for layers in STAGES:
        found.append((channels, 2 * channels, side, side // 2))
        channels, side = 2 * channels, side // 2
        found += [(channels, channels, side, side)] * (layers - 1)
    return found


@register
class MacroSpace(CodedSpace):
    """``macro``: an identity or one of two inverted residual blocks in each layer. Index = base 3, layer 1 first."""

    name = "macro"
    summary = "NAS-Bench-Macro: identity or one of 2 MobileNet blocks in each of 8 layers"
    options = (BLOCKS,) * 8
    positions = tuple(f"layer {number}" for number in range(1, 9))
    alphabet = "012"
    string_form = "eight digits, each 0 (identity), 1 (MB3x3-e3) or 2 (MB5x5-e6)"
    ladder = {"MB5x5-e6": ("MB3x3-e3",), "MB3x3-e3": ("identity",), "identity": ()}
    decisions = {
        "identity": {"block": False},
        "MB3x3-e3": {"block": True, "large": False},
        "MB5x5-e6": {"block": True, "large": True},
    }
    offers = CodedSpace.offers | {"ladder", "nested"}
    closed_forms = ("params", "macs")
    protocol = Protocol(datasets=("cifar10",))

    def graph(self, arch: Any) -> LabelledGraph:
        """See `Space.graph`: a chain. An identity that changes the shape is a 1x1 convolution with that stride."""
        row = self.choices(np.asarray(self.parse(arch))).tolist()
        return chain([BLOCKS[choice] for choice in row])

    @cached_property
    def _costs(self) -> tuple[Floats, Floats]:
        """Parameters and multiply-accumulates of each block in each layer, float64 ``[8, 3]``."""
        params, macs = np.zeros((8, 3)), np.zeros((8, 3))
        for layer, (before, after, side, out) in enumerate(_layers()):
            if before != after:
                params[layer, 0], macs[layer, 0] = before * after + 2 * after, before * after * out**2
            for block, (kernel, expansion) in _BLOCK.items():
                hidden = before * expansion
                params[layer, block] = hidden * (before + kernel**2 + after) + 4 * hidden + 2 * after
                macs[layer, block] = hidden * (before * side**2 + (kernel**2 + after) * out**2)
        return frozen(params), frozen(macs)

    def _sum(self, each: Floats, ids: ArrayLike) -> Floats:
        return np.asarray(each[np.arange(8), self.choices(ids)].sum(axis=-1))

    def params(self, ids: ArrayLike, dataset: str = "cifar10") -> Floats:
        """See `Space.params`; equal to the published counts."""
        last = _layers()[-1][1]
        around = 27 * 32 + 2 * 32 + 1280 * last + 2 * 1280 + 1280 * CLASSES + CLASSES
        return (self._sum(self._costs[0], ids) + around) / 1e6

    def flops(self, ids: ArrayLike, dataset: str = "cifar10") -> Floats:
        """See `Space.flops`; equal to the published counts, which leave the linear layer's bias out."""
        _, last, _, side = _layers()[-1]
        around = 27 * 32 * 32**2 + 1280 * last * side**2 + 1280 * CLASSES
        return (self._sum(self._costs[1], ids) + around) / 1e6
