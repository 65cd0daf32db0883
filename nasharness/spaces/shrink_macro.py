"""Around AutoShrink's convolutional cell: stem, stages, head; parameters and MACs in closed form.

docs/reproduction/autoshrink.md#from-graph-to-network says how the official code counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nasharness.errors import UsageError
from nasharness.spaces.shrink import SEPARABLE, Graph

#: What stands between the depthwise and the pointwise convolution of a linear node
#: (docs/reproduction/autoshrink.md#q21).
LEAF_RULES = ("relu", "linear", "same")


@dataclass(frozen=True)
class Stage:
    """``cells`` cells whose nodes have ``width`` channels; the first one's node 0 is max-pooled by ``pool``."""

    pool: int
    cells: int
    width: int


@dataclass(frozen=True)
class Macro:
    """Everything of a network but its cell and its number of classes.

    ``stem``: channels and ``stem_stride`` of the first 3x3 convolution. ``head``: channels of the 1x1 convolution
    before the pooling, 0 for none. ``activation``: ``relu`` or ``swish``. ``leaf_depthwise``: one of LEAF_RULES, with
    ``same`` the network's activation; the official code has ``relu`` since 2020-02-09 and had ``linear`` before.
    ``eps``, ``momentum``: of batch norm, the momentum as torch means it (1 - decay). ``side``: of the images, pixels.
    """

    stem: int
    stem_stride: int
    stages: tuple[Stage, ...]
    head: int
    side: int
    activation: str = "relu"
    leaf_depthwise: str = "relu"
    eps: float = 1e-5
    momentum: float = 0.1

    def __post_init__(self) -> None:
        if self.activation not in ("relu", "swish"):
            raise UsageError(f"activation {self.activation!r}: expected relu or swish")
        if self.leaf_depthwise not in LEAF_RULES:
            raise UsageError(f"leaf_depthwise {self.leaf_depthwise!r}: expected {', '.join(LEAF_RULES)}")


def width(scale: float, base: int = 16) -> int:
    """Channels of a node: ``base * scale`` cut to a whole number, then to the nearest multiple of 4 (or the even).

    4 at least: 16 * 0.5 * 1.4 -> 11 -> 12.
    """
    return 4 * max(1, round(int(base * scale) / 4))


def search_macro(*, side: int = 32, cells: int = 1, scales: Sequence[float] = (1, 2, 4)) -> Macro:
    """The small network of the search on 32x32 images: widths 16/32/64, one cell a stage."""
    pools = (1, *(2,) * (len(scales) - 1))
    stages = tuple(Stage(pool, cells, width(scale)) for pool, scale in zip(pools, scales, strict=True))
    return Macro(stem=32, stem_stride=1, stages=stages, head=0, side=side)


def imagenet_macro(
    *, activation: str = "relu", leaf_depthwise: str = "relu", channel_scale: float = 1.4, side: int = 224
) -> Macro:
    """The ImageNet network of ShrinkCNN-A (relu) and -B (swish)."""
    stages = tuple(
        Stage(pool, cells, width(scale * channel_scale))
        for pool, cells, scale in zip((1, 2, 2, 2, 2), (1, 3, 4, 6, 4), (0.5, 1, 2, 4, 8), strict=True)
    )
    return Macro(
        stem=4 * round(32 * channel_scale / 4),
        stem_stride=2,
        stages=stages,
        head=1280,
        side=side,
        activation=activation,
        leaf_depthwise=leaf_depthwise,
        eps=1e-3,
        momentum=1e-3,
    )


@dataclass(frozen=True)
class Counts:
    """``params``: without batch norm; ``batch_norm``: its scales and shifts; ``macs``: for one image."""

    params: int
    batch_norm: int
    macs: int

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.params + other.params, self.batch_norm + other.batch_norm, self.macs + other.macs)

    @property
    def trained(self) -> int:
        """Parameters with batch norm."""
        return self.params + self.batch_norm


def penalty(macs: float, weight: float = 0.1) -> float:
    """What the cost takes off the accuracy, a fraction: ``weight * (log10(MACs) - 6)``."""
    return weight * (math.log10(macs) - 6)


def convolution(inputs: int, outputs: int, side: int, kernel: int = 1) -> Counts:
    """A convolution without bias and its batch norm, to ``side`` x ``side``."""
    weights = kernel**2 * inputs * outputs
    return Counts(weights, 2 * outputs, side**2 * weights)


def node(operation: str, inputs: int, channels: int, side: int) -> Counts:
    """One node: a separable 3x3 or a plain 1x1 convolution."""
    pointwise = convolution(inputs, channels, side)
    if operation != SEPARABLE:
        return pointwise
    return pointwise + Counts(9 * inputs, 2 * inputs, side**2 * 9 * inputs)


def cell_channels(graph: Graph, inputs: int, channels: int) -> int:
    """Channels that a cell gives: ``channels`` for each leaf, or its input's where node 0 is the only one."""
    return sum(channels if leaf else inputs for leaf in graph.leaves)


def cell(graph: Graph, inputs: int, channels: int, side: int, pool: int) -> Counts:
    """A cell with its residual projection; ``side``: of its output."""
    total = Counts(0, 0, 0)
    for number, operation in enumerate(graph.operations, 1):
        if graph.reached[number]:
            read = sum(channels if source else inputs for source in graph.inputs(number))
            total += node(operation, read, channels, side)
    outputs = cell_channels(graph, inputs, channels)
    return total + convolution(inputs, outputs, side) if pool > 1 or outputs != inputs else total


def counts(graph: Graph, macro: Macro, classes: int) -> Counts:
    """Parameters and MACs of the whole network; batch norm, pooling and activations cost no MACs here."""
    side = -(-macro.side // macro.stem_stride)
    total = convolution(3, macro.stem, side, kernel=3)
    channels = macro.stem
    for stage in macro.stages:
        side = -(-side // stage.pool)
        for number in range(stage.cells):
            total += cell(graph, channels, stage.width, side, stage.pool if number == 0 else 1)
            channels = cell_channels(graph, channels, stage.width)
    if macro.head:
        total += convolution(channels, macro.head, side)
        channels = macro.head
    return total + Counts((channels + 1) * classes, 0, channels * classes)
