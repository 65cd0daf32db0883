"""Chains of inverted residual blocks (MobileNetV2): what the spaces ``mobile`` and ``fbnet`` are made of, and count.

A block widens its input ``expansion`` times by a 1x1 convolution, applies a depthwise convolution, and goes back by a
1x1 convolution, each with batch normalisation (M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen: MobileNetV2:
Inverted Residuals and Linear Bottlenecks, CVPR 2018, arXiv 1801.04381). Where the shape stays, the input is added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nasharness.errors import UsageError, unknown
from nasharness.spaces.base import Floats
from nasharness.spaces.product import ChoiceSpace


class Layer(NamedTuple):
    """One layer: side of its input, channels in and out, stride."""

    side: int
    inward: int
    outward: int
    stride: int

    @property
    def after(self) -> int:
        """Side of its output."""
        return -(-self.side // self.stride)

    @property
    def same(self) -> bool:
        """Whether the shape stays."""
        return self.stride == 1 and self.inward == self.outward


@dataclass(frozen=True)
class Block:
    """An inverted residual block. ``groups``: of its 1x1 convolutions, with a shuffle of the channels after the first.

    ``widens``: whether it has its first convolution; at an expansion of 1 it may go without.
    """

    kernel: int
    expansion: int
    groups: int = 1
    widens: bool = True

    def params(self, layer: Layer) -> int:
        """Parameters, those of the normalisations too."""
        wide, first = self.expansion * layer.inward, int(self.widens)
        kernels = wide * (first * layer.inward + layer.outward) // self.groups + wide * self.kernel**2
        return kernels + 2 * wide * (first + 1) + 2 * layer.outward

    def macs(self, layer: Layer) -> int:
        """Multiply-accumulates of the convolutions."""
        wide, after = self.expansion * layer.inward, layer.after**2
        widened = wide * layer.inward // self.groups * layer.side**2 if self.widens else 0
        return widened + wide * self.kernel**2 * after + wide * layer.outward // self.groups * after


@dataclass(frozen=True)
class Macro:
    """What stays around the choices: (channels, stride) of each layer that is chosen, and what comes before and after.

    ``stem``: channels of a 3x3 convolution with ``stem_stride``. ``before``, ``after``: (channels, stride, block) of
    fixed layers. ``head``: channels of the 1x1 convolution in front of the classifier. ``dropout``: in front of it.
    ``eps``, ``momentum``: of batch normalisation, the latter in PyTorch's sense.
    """

    stem: int
    stem_stride: int
    layers: tuple[tuple[int, int], ...]
    head: int
    before: tuple[tuple[int, int, Block], ...] = ()
    after: tuple[tuple[int, int, Block], ...] = ()
    dropout: float = 0.0
    eps: float = 1e-5
    momentum: float = 0.1

    def scaled(self, width: float) -> Macro:
        """The same with ``width`` times the channels, in multiples of 8 and never more than a tenth below.

        As in MobileNetV2 the head grows above a width of 1 and does not shrink below. Raises UsageError for a width
        that is not positive.
        """
        if not 0 < width < float("inf"):
            raise UsageError(f"width = {width}: expected a positive multiple of the published channels, as 0.75")
        return self if width == 1 else replace(
            self,
            stem=_rounded(self.stem * width),
            layers=tuple((_rounded(channels * width), stride) for channels, stride in self.layers),
            head=_rounded(self.head * max(width, 1.0)),
            before=tuple((_rounded(channels * width), stride, block) for channels, stride, block in self.before),
            after=tuple((_rounded(channels * width), stride, block) for channels, stride, block in self.after),
        )  # fmt: skip

    def shapes(self, side: int) -> tuple[list[Layer], int]:
        """Every layer on images of ``side``, fixed ones too, in order, and the side of what the head gets."""
        if side < 1:
            raise UsageError(f"size = {side}: expected the side of an image in pixels")
        found, side, inward = [], -(-side // self.stem_stride), self.stem
        for channels, stride in (
            *[one[:2] for one in self.before], *self.layers, *[one[:2] for one in self.after]
        ):  # fmt: skip
            found.append(Layer(side, inward, channels, stride))
            side, inward = found[-1].after, channels
        return found, side


def _rounded(channels: float) -> int:
    whole = max(8, int(channels + 4) // 8 * 8)
    return whole if whole >= 0.9 * channels else whole + 8


@dataclass(frozen=True)
class Setting:
    """What a data set decides of a network: its macro, the side of its images, its classes."""

    macro: Macro
    side: int
    classes: int


class MBConvSpace(ChoiceSpace):
    """A block, or none, in each layer of a chain.

    ``blocks``: option -> block, None for a layer left out: nothing where the shape stays, else a 1x1 convolution with
    normalisation. ``settings``: data set -> its `Setting`. ``linear_bias``: whether the classifier's bias counts as
    multiply-accumulates.
    """

    closed_forms = ("params", "macs")
    blocks: Mapping[str, Block | None]
    settings: Mapping[str, Setting]
    linear_bias = True

    def setting(self, dataset: str) -> Setting:
        """What ``dataset`` decides. Raises UsageError for an unknown one."""
        if dataset not in self.settings:
            raise unknown(f"data set of space {self.name!r}", dataset, self.settings, "nasharness list datasets")
        return self.settings[dataset]

    def chosen(self, arch: ArrayLike) -> list[Block | None]:
        """The blocks of one architecture."""
        row = self.choices(arch).tolist()
        return [self.blocks[options[choice]] for options, choice in zip(self.options, row, strict=True)]

    def params(self, ids: ArrayLike, dataset: str = "ImageNet") -> Floats:
        """See `Space.params`: convolutions, normalisations, and the linear layer with its bias."""
        return self.counts(ids, self.setting(dataset))[0]

    def flops(self, ids: ArrayLike, dataset: str = "ImageNet") -> Floats:
        """See `Space.flops`: convolutions and the linear layer."""
        return self.counts(ids, self.setting(dataset))[1]

    def counts(self, ids: ArrayLike, setting: Setting) -> tuple[Floats, Floats]:
        """Parameters and multiply-accumulates in millions, float64 ``[...]`` each, at any width, side and classes."""
        macro, chosen = setting.macro, self.choices(ids)
        shapes, last = macro.shapes(setting.side)
        first = len(macro.before)
        stem = 27 * macro.stem
        inward = shapes[-1].outward
        params = stem + 2 * macro.stem + inward * macro.head + 2 * macro.head + (macro.head + 1) * setting.classes
        macs = stem * (-(-setting.side // macro.stem_stride)) ** 2 + inward * macro.head * last**2
        macs += (macro.head + self.linear_bias) * setting.classes
        fixed = (*macro.before, *macro.after)
        around = [*shapes[:first], *shapes[first + len(macro.layers) :]]
        params += sum(block.params(layer) for layer, (_, _, block) in zip(around, fixed, strict=True))
        macs += sum(block.macs(layer) for layer, (_, _, block) in zip(around, fixed, strict=True))
        total = np.empty((2, *chosen.shape[:-1]), dtype=np.int64)
        total[0], total[1] = params, macs
        for position, layer in enumerate(shapes[first : first + len(macro.layers)]):
            each = np.array([_costs(self.blocks[option], layer) for option in self.options[position]], dtype=np.int64)
            total[0] += each[:, 0].take(chosen[..., position])
            total[1] += each[:, 1].take(chosen[..., position])
        return np.asarray(total[0] / 1e6), np.asarray(total[1] / 1e6)


def _costs(block: Block | None, layer: Layer) -> Sequence[int]:
    """Parameters and multiply-accumulates of a block, or of a layer left out."""
    if block is not None:
        return block.params(layer), block.macs(layer)
    if layer.same:
        return 0, 0
    return (layer.inward + 2) * layer.outward, layer.inward * layer.outward * layer.after**2
