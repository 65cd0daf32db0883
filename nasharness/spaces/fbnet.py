"""FBNet's space as HW-NAS-Bench measured it: one of 9 blocks in each of 22 layers (arXiv 1812.03443, 2103.10584).

A block is a 1x1 convolution that widens ``e`` times, a shuffle of the channels where it has groups, a depthwise
convolution, and a 1x1 convolution back, each with normalisation; ``skip`` is nothing where the shape stays, else a 1x1
convolution. Blocks of ``e1`` keep their first convolution.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nasharness.spaces.base import Choices
from nasharness.spaces.mbconv import Block, Layer, Macro, MBConvSpace, Setting
from nasharness.spaces.operators import Operators
from nasharness.spaces.protocol import Protocol
from nasharness.spaces.registry import register

BLOCKS = ("k3_e1", "k3_e1_g2", "k3_e3", "k3_e6", "k5_e1", "k5_e1_g2", "k5_e3", "k5_e6", "skip")
LAYERS = 22
#: channels and number of layers of each stage, and the stride of its first layer on small and on large images
STAGES = ((16, 1, 1, 1), (24, 4, 1, 2), (32, 4, 2, 2), (64, 4, 2, 2), (112, 4, 1, 1), (184, 4, 2, 2), (352, 1, 1, 1))
STEM = 16


def _block(name: str) -> Block | None:
    parts = {part[0]: int(part[1:]) for part in name.split("_")} if name != "skip" else {}
    return Block(parts["k"], parts["e"], parts.get("g", 1)) if parts else None


def _macro(head: int, large: bool) -> Macro:
    layers = tuple(
        (channels, (on_large if large else on_small) if not number else 1)
        for channels, count, on_small, on_large in STAGES
        for number in range(count)
    )
    return Macro(STEM, 2 if large else 1, layers, head)


@register
class FBNetSpace(MBConvSpace):
    """``fbnet``: a block in each of 22 layers. Strings are the blocks' numbers joined by ``_``, as HELP writes them."""

    summary = "FBNet as HW-NAS-Bench measured it: 9 blocks in 22 layers; costs of devices, no accuracies"
    blocks = {name: _block(name) for name in BLOCKS}
    settings = {
        "cifar100": Setting(_macro(1504, large=False), 32, 100),
        "ImageNet": Setting(_macro(1984, large=True), 224, 1000),
        "cifar10": Setting(_macro(1504, large=False), 32, 10),
    }
    linear_bias = False
    decisions = {"skip": {"kept": False}} | {
        f"k{kernel}_e{expansion}": {"kept": True, "ring": kernel == 5, "beyond e1": expansion > 1}
        | ({"beyond e3": expansion == 6} if expansion > 1 else {})
        for kernel in (3, 5)
        for expansion in (1, 3, 6)
    }
    offers = MBConvSpace.offers | {"nested"}
    separator = "_"
    protocol = Protocol(datasets=tuple(settings))
    no_table = (
        "space 'fbnet' has costs (nasharness list devices) but no accuracies: none are published. From Python, give "
        "nasharness.search.Problem.create a table=Backend(...) that answers for them"
    )
    name = "fbnet"

    def __init__(self) -> None:
        names = tuple(f"layer{number}" for number in range(1, LAYERS + 1))
        super().__init__("fbnet", (BLOCKS,) * LAYERS, names)
        self.string_form = f"{LAYERS} numbers of blocks joined by '_', 0 to 8: {', '.join(BLOCKS)}"

    def string(self, arch: Any) -> str:
        """See `Space.string`."""
        return "_".join(map(str, self.choices(arch).tolist()))

    def from_string(self, text: str) -> Choices:
        """Read numbers joined by ``_`` or by commas, or names of blocks joined by commas."""
        slots = [slot.strip() for slot in text.strip().strip("[]").split("," if "," in text else "_")]
        if len(slots) != LAYERS:
            raise self._malformed(text, f"it has {len(slots)} part(s) where {LAYERS} are expected")
        numbers = {name: number for number, name in enumerate(BLOCKS)} | {str(one): one for one in range(len(BLOCKS))}
        for position, slot in zip(self.positions, slots, strict=True):
            if slot not in numbers:
                raise self._malformed(text, f"{position} is {slot!r}, not 0 to {len(BLOCKS) - 1}")
        return np.array([numbers[slot] for slot in slots], dtype=np.int8)

    def operators(self, dataset: str) -> Operators:
        """The operators of every network on ``dataset`` by HW-NAS-Bench's names. Raises UsageError for an unknown one.

        Its names are of the published widths alone.
        """
        setting = self.setting(dataset)
        found, last = setting.macro.shapes(setting.side)
        stride, head = setting.macro.stem_stride, setting.macro.head
        return Operators(
            (f"ConvNorm_H{setting.side}_W{setting.side}_Cin3_Cout{STEM}_kernel3_stride{stride}_group1",),
            tuple(tuple(_name(layer, block) for block in BLOCKS) for layer in found),
            (
                f"ConvNorm_H{last}_W{last}_Cin{found[-1].outward}_Cout{head}_kernel1_stride1_group1",
                f"AvgP_H{last}_W{last}_Cin{head}_Cout{head}_kernel{last}_stride1",
                f"FC_Cin{head}_Cout{setting.classes}",
            ),
        )


def _name(layer: Layer, option: str) -> str:
    shape = f"H{layer.side}_W{layer.side}_Cin{layer.inward}_Cout{layer.outward}"
    block = _block(option)
    if block is None:
        return f"Skip_{shape}_stride{layer.stride}"
    return f"ConvBlock_{shape}_exp{block.expansion}_kernel{block.kernel}_stride{layer.stride}_group{block.groups}"
