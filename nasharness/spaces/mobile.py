"""The space of Single-Path NAS: one of five choices in each of 20 layers of a MobileNetV2-like chain.

D. Stamoulis, R. Ding, D. Wang, D. Lymberopoulos, B. Priyantha, J. Liu, D. Marculescu: Single-Path NAS: Designing
Hardware-Efficient ConvNets in less than 4 Hours, ECML-PKDD 2019, arXiv 1904.02877, as its released code builds it
(https://github.com/dstamoulis/single-path-nas): a 3x3 stem of 32 channels and stride 2, a fixed 3x3 block of 16
channels without a first convolution, five groups of four layers, a fixed 3x3-e6 block of 320 channels, a 1x1
convolution to 1,280 channels, the average over the image, dropout of 0.2, a linear layer; ReLU throughout, batch
normalisation with epsilon 1e-3 and momentum 0.99. The first layer of a group changes the shape and is never left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nasharness.spaces.base import Choices
from nasharness.spaces.graph import LabelledGraph, chain
from nasharness.spaces.mbconv import Block, Macro, MBConvSpace, Setting
from nasharness.spaces.named import Named
from nasharness.spaces.operators import Operators
from nasharness.spaces.protocol import Protocol
from nasharness.spaces.registry import register

BLOCKS = {"3x3-e3": Block(3, 3), "3x3-e6": Block(3, 6), "5x5-e3": Block(5, 3), "5x5-e6": Block(5, 6), "skip": None}
#: channels of each group, and the stride of its first layer
GROUPS = ((24, 2), (40, 2), (80, 2), (96, 1), (192, 2))
#: layers of a group
DEPTH = 4
_SOURCE = "Stamoulis et al., arXiv 1904.02877"


def macro(groups: tuple[tuple[int, int], ...] = GROUPS, depth: int = DEPTH) -> Macro:
    """The published chain, or one of other groups of ``depth`` layers."""
    layers = tuple((channels, stride if not number else 1) for channels, stride in groups for number in range(depth))
    before, after = ((16, 1, Block(3, 1, widens=False)),), ((320, 1, Block(3, 6)),)
    return Macro(32, 2, layers, 1280, before, after, dropout=0.2, eps=1e-3, momentum=0.01)


@register
class MobileSpace(MBConvSpace):
    """``mobile``: kernel and expansion of each layer, or none. Strings are the layers' choices, group by group."""

    name = "mobile"
    summary = "Single-Path NAS: 4 MobileNetV2 blocks or a skip in 20 layers; latency of a Pixel 1, no accuracies"
    blocks = BLOCKS
    settings = {"ImageNet": Setting(macro(), 224, 1000)}
    protocol = Protocol(datasets=("ImageNet",))
    no_table = (
        "space 'mobile' has costs (nasharness list devices) but no accuracies: none are published. From Python, give "
        "nasharness.search.Problem.create a table=Backend(...) that answers for them"
    )
    ladder = {
        "5x5-e6": ("3x3-e6", "5x5-e3"),
        "5x5-e3": ("3x3-e3",),
        "3x3-e6": ("3x3-e3",),
        "3x3-e3": ("skip",),
        "skip": (),
    }
    decisions = {
        "skip": {"kept": False},
        "3x3-e3": {"kept": True, "ring": False, "second half": False},
        "3x3-e6": {"kept": True, "ring": False, "second half": True},
        "5x5-e3": {"kept": True, "ring": True, "second half": False},
        "5x5-e6": {"kept": True, "ring": True, "second half": True},
    }
    offers = MBConvSpace.offers | {"nested"}
    named = {
        "spnasnet-100": Named(
            "3x3-e3,3x3-e3,3x3-e3,skip,5x5-e6,3x3-e3,3x3-e3,3x3-e3,5x5-e6,3x3-e3,3x3-e3,3x3-e3,"
            "5x5-e6,5x5-e3,5x5-e3,5x5-e3,5x5-e6,5x5-e6,5x5-e6,5x5-e6",
            (
                ("ImageNet top-1", "74.96 %", _SOURCE),
                ("ImageNet top-5", "92.21 %", _SOURCE),
                ("Pixel 1 latency", "79 ms", _SOURCE),
                ("search cost", "8 epochs, 30 TPU hours", _SOURCE),
                ("ImageNet top-1, trained again", "74.08 %", "pytorch-image-models, results of spnasnet_100"),
            ),
            "The released code's converter turns 3x3-e6 into k3_e3 and 5x5-e3 into k5_e6; here they are what they are.",
        )
    }

    def __init__(self) -> None:
        names = tuple(f"group{group}.{layer}" for group in range(1, len(GROUPS) + 1) for layer in range(1, DEPTH + 1))
        kept = tuple(name for name, block in BLOCKS.items() if block is not None)
        options = tuple(tuple(BLOCKS) if number % DEPTH else kept for number in range(len(names)))
        super().__init__("mobile", options, names)
        self.string_form = (
            f"{len(names)} of {', '.join(BLOCKS)}, joined by commas; the first of every {DEPTH} is no skip; or the "
            f"name of a network: {', '.join(self.named)}"
        )

    def graph(self, arch: Any) -> LabelledGraph:
        """See `Space.graph`: a chain."""
        row = self.parse(arch).tolist()
        return chain([options[choice] for options, choice in zip(self.options, row, strict=True)])

    def operators(self, dataset: str) -> Operators:
        """The priced parts of every network on ``dataset``: its layers by number, from 1, and all the rest as one."""
        self.setting(dataset)
        layers = tuple(
            tuple(f"block{number}_{option}" for option in options) for number, options in enumerate(self.options, 1)
        )
        return Operators(("fixed",), layers, ())

    def decoded(self, decisions: ArrayLike) -> Choices:
        """The architecture of hard decisions ``[..., 20, 3]``: int8 ``[..., 20]``.

        Decisions are whether the ring of the 5x5 kernel is kept, whether the layer is (always, where it cannot be left
        out), and whether the second half of its channels is: (d5, d50, d100) of the released code.
        """
        ring, kept, wide = np.moveaxis(np.asarray(decisions) > 0, -1, 0)
        choice = 2 * ring + wide  # the order of BLOCKS
        first = np.arange(len(self.positions)) % DEPTH == 0
        return self.choices(np.where(kept | first, choice, len(BLOCKS) - 1).astype(np.int8))
