"""FBNet's space as HW-NAS-Bench measured it: one of 9 blocks in each of 22 layers (arXiv 1812.03443, 2103.10584).

A block is a 1x1 convolution that widens ``e`` times, a shuffle of the channels where it has groups, a depthwise
convolution, and a 1x1 convolution back, each with normalisation; ``skip`` is nothing where the shape stays, else a 1x1
convolution. Blocks of ``e1`` keep their first convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nasharness.errors import unknown
from nasharness.spaces.base import Choices, Floats
from nasharness.spaces.operators import Operators
from nasharness.spaces.product import ChoiceSpace
from nasharness.spaces.protocol import Protocol
from nasharness.spaces.registry import register

BLOCKS = ("k3_e1", "k3_e1_g2", "k3_e3", "k3_e6", "k5_e1", "k5_e1_g2", "k5_e3", "k5_e6", "skip")
LAYERS = 22
#: channels and number of layers of each stage, and the stride of its first layer on small and on large images
STAGES = ((16, 1, 1, 1), (24, 4, 1, 2), (32, 4, 2, 2), (64, 4, 2, 2), (112, 4, 1, 1), (184, 4, 2, 2), (352, 1, 1, 1))
STEM = 16
#: data set -> (side of the image, stride of the stem, channels of the head, classes)
DATASETS = {"cifar100": (32, 1, 1504, 100), "ImageNet": (224, 2, 1984, 1000), "cifar10": (32, 1, 1504, 10)}


class Layer(NamedTuple):
    """One layer: side of its input, channels in and out, stride."""

    side: int
    inward: int
    outward: int
    stride: int


def _block(name: str) -> tuple[int, int, int]:
    """Kernel, expansion and groups of a block."""
    parts = {part[0]: int(part[1:]) for part in name.split("_")}
    return parts["k"], parts["e"], parts.get("g", 1)


@cache
def layers(dataset: str) -> tuple[tuple[Layer, ...], int]:
    """The layers, and the side of what the head gets. Raises UsageError for an unknown data set."""
    if dataset not in DATASETS:
        raise unknown("data set of space 'fbnet'", dataset, DATASETS, "nasharness list datasets")
    side, stem_stride, _, _ = DATASETS[dataset]
    large = stem_stride > 1
    side, inward = side // stem_stride, STEM
    found = []
    for outward, count, small_stride, large_stride in STAGES:
        for number in range(count):
            stride = (large_stride if large else small_stride) if number == 0 else 1
            found.append(Layer(side, inward, outward, stride))
            side, inward = side // stride, outward
    return tuple(found), side


@register
class FBNetSpace(ChoiceSpace):
    """``fbnet``: a block in each of 22 layers. Strings are the blocks' numbers joined by ``_``, as HELP writes them."""

    summary = "FBNet as HW-NAS-Bench measured it: 9 blocks in 22 layers; costs of devices, no accuracies"
    closed_forms = ("params", "macs")
    separator = "_"
    protocol = Protocol(datasets=tuple(DATASETS))
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
        """The operators of every network on ``dataset`` by HW-NAS-Bench's names. Raises UsageError as `layers`."""
        found, last = layers(dataset)
        side, stride, head, classes = DATASETS[dataset]
        return Operators(
            (f"ConvNorm_H{side}_W{side}_Cin3_Cout{STEM}_kernel3_stride{stride}_group1",),
            tuple(tuple(_name(layer, block) for block in BLOCKS) for layer in found),
            (
                f"ConvNorm_H{last}_W{last}_Cin{found[-1].outward}_Cout{head}_kernel1_stride1_group1",
                f"AvgP_H{last}_W{last}_Cin{head}_Cout{head}_kernel{last}_stride1",
                f"FC_Cin{head}_Cout{classes}",
            ),
        )

    def params(self, ids: ArrayLike, dataset: str = "cifar100") -> Floats:
        """See `Space.params`: convolutions, normalisations, and the linear layer with its bias."""
        layers(dataset)  # which refuses an unknown data set
        _, _, head, classes = DATASETS[dataset]
        fixed = 27 * STEM + 2 * STEM + STAGES[-1][0] * head + 2 * head + (head + 1) * classes
        return self._added(ids, dataset, _params, fixed)

    def flops(self, ids: ArrayLike, dataset: str = "cifar100") -> Floats:
        """See `Space.flops`: convolutions and the linear layer."""
        _, last = layers(dataset)
        side, stride, head, classes = DATASETS[dataset]
        fixed = 27 * STEM * (side // stride) ** 2 + STAGES[-1][0] * head * last**2 + head * classes
        return self._added(ids, dataset, _macs, fixed)

    def _added(self, ids: ArrayLike, dataset: str, count: Callable[[Layer, str], int], fixed: int) -> Floats:
        """Whole numbers of a network's blocks, and of what all networks have, in millions."""
        chosen = self.choices(ids)
        total = np.full(chosen.shape[:-1], fixed, dtype=np.int64)
        for position, layer in enumerate(layers(dataset)[0]):
            total += np.array([count(layer, block) for block in BLOCKS]).take(chosen[..., position])
        return np.asarray(total / 1e6)


def _name(layer: Layer, block: str) -> str:
    shape = f"H{layer.side}_W{layer.side}_Cin{layer.inward}_Cout{layer.outward}"
    if block == "skip":
        return f"Skip_{shape}_stride{layer.stride}"
    kernel, expansion, groups = _block(block)
    return f"ConvBlock_{shape}_exp{expansion}_kernel{kernel}_stride{layer.stride}_group{groups}"


def _identity(layer: Layer) -> bool:
    return layer.stride == 1 and layer.inward == layer.outward


def _params(layer: Layer, block: str) -> int:
    if block == "skip":
        return 0 if _identity(layer) else (layer.inward + 2) * layer.outward
    kernel, expansion, groups = _block(block)
    wide = expansion * layer.inward
    return wide * (layer.inward + layer.outward) // groups + wide * kernel**2 + 4 * wide + 2 * layer.outward


def _macs(layer: Layer, block: str) -> int:
    after = (layer.side // layer.stride) ** 2
    if block == "skip":
        return 0 if _identity(layer) else layer.inward * layer.outward * after
    kernel, expansion, groups = _block(block)
    wide = expansion * layer.inward
    return (
        wide * layer.inward // groups * layer.side**2
        + wide * kernel**2 * after
        + wide * layer.outward // groups * after
    )
