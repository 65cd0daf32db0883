"""The supernet of ``mobile``: one kernel a layer, of which every choice is a part (Single-Path NAS, arXiv 1904.02877).

A layer stores what its largest choice, 5x5 with expansion 6, has. The middle of the kernel is the 3x3 one, the first
half of its channels is expansion 3, and none of it is the layer left out (docs/reproduction/single-path-nas.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from nasharness import spaces
from nasharness.errors import UsageError
from nasharness.nets.mbconv import Inverted, MBNet
from nasharness.spaces.base import Floats, Space
from nasharness.spaces.mbconv import Block
from nasharness.supernets.base import Gates
from nasharness.supernets.chain import ChainSupernet, Chosen

#: what is decided of a layer, in this order: its ring of the 5x5 kernel, itself, its second half of the channels
DECISIONS = ("ring", "kept", "second half")


@dataclass(frozen=True)
class Relaxed(Gates):
    """Decisions by ``thresholds`` ``[layers, 3]`` on the norms of the parts of each kernel.

    ``factors`` ``[layers, 3]``: what decisions are multiplied by, None for 1. ``features`` ``[batch, head]``: the same
    for what the classifier gets. Both are dropout, drawn by whoever trains.
    """

    thresholds: Tensor
    factors: Tensor | None = None
    features: Tensor | None = None


def indicator(x: Tensor) -> Tensor:
    """1 where ``x`` is not negative, else 0, with the gradient of a sigmoid, however small that is."""
    hard = (x >= 0).to(x.dtype)
    # norms of 20 and more are common, where a sigmoid rounds to 1 and its slope to 0; that of its tail does not
    sign = 2 * hard - 1
    tail = torch.sigmoid(-x * sign)
    return hard + (tail.detach() - tail) * sign


class Superkernel(NamedTuple):
    """What is kept of a kernel, ``[channels, 1, 5, 5]``, and the decisions ``[3]`` that kept it."""

    weight: Tensor
    decisions: Tensor


def superkernel(weight: Tensor, thresholds: Tensor, factors: Tensor | None, droppable: bool) -> Superkernel:
    """Decide by ``thresholds`` ``[3]`` what is kept of ``weight`` ``[channels, 1, 5, 5]``.

    The ring around the 3x3 middle stays where its norm reaches its threshold; of what stays then, the second half of
    the channels, and the whole layer by the norm of its first half, where it is ``droppable``.
    """
    one = weight.new_ones(())
    scale = (one, one, one) if factors is None else factors.to(weight.dtype)
    middle = functional.pad(weight[:, :, 1:-1, 1:-1], (1, 1, 1, 1))
    rest = weight - middle
    ring = _reached(rest, thresholds[0]) * scale[0]
    kernel = middle + ring * rest
    first, second = kernel.chunk(2)
    wide = _reached(second, thresholds[2]) * scale[2]
    kept = _reached(first, thresholds[1]) * scale[1] if droppable else one
    return Superkernel(kept * torch.cat([first, wide * second]), torch.stack([ring, kept, wide]))


def _reached(part: Tensor, threshold: Tensor) -> Tensor:
    """Whether the norm of ``part`` reaches its threshold, in the part's precision."""
    return indicator(part.norm().to(threshold.dtype) - threshold).to(part.dtype)


def relaxed_cost(decisions: Tensor, prices: Sequence[Floats], fixed: float) -> Tensor:
    """Cost of decisions ``[layers, 3]`` by the prices of each layer's choices, in the order of the space's, and of all.

    Exact at hard decisions but for 3x3-e3, which is estimated from 5x5-e3 as 3x3-e6 is from 5x5-e6.
    """
    narrow, ratio, wide = (
        torch.as_tensor(values, dtype=decisions.dtype, device=decisions.device)
        for values in zip(*((each[2], each[1] / each[3], each[3]) for each in prices), strict=True)
    )
    ring, kept, second = decisions.unbind(-1)
    large = kept * (narrow + second * (wide - narrow))
    return fixed + (ratio * large + (1 - ratio) * large * ring).sum(-1)


class MobileSupernet(ChainSupernet):
    """Shared weights of all 3.1e13 networks: those of the one of 5x5-e6 throughout.

    ``channels``: of the stem, 32 as published. Dropout in front of the classifier comes with the gates.
    """

    space: ClassVar[Space] = spaces.get("mobile")  # type: ignore[misc]

    def __init__(self, classes: int, *, channels: int, side: int, generator: torch.Generator) -> None:
        super().__init__(classes, channels=channels, side=side)
        self.droppable = tuple("skip" in options for options in self.space.options)
        self.whole = MBNet(self.macro, [Block(5, 6)] * self.layers, classes, generator=generator)

    @property
    def searched(self) -> list[Inverted]:
        """The layers that are chosen."""
        before = len(self.macro.before)
        return cast("list[Inverted]", list(self.whole.layers)[before : before + self.layers])

    def kernels(self, gates: Relaxed) -> list[Superkernel]:
        """What the gates keep of each layer's kernel."""
        factors = (None,) * self.layers if gates.factors is None else gates.factors.unbind()
        return [
            superkernel(layer.depthwise[0].weight, thresholds, factor, droppable)  # type: ignore[arg-type]
            for layer, thresholds, factor, droppable in zip(
                self.searched, gates.thresholds, factors, self.droppable, strict=True
            )
        ]

    @torch.no_grad()
    def norms(self) -> Tensor:
        """What decisions compare with thresholds ``[layers, 3]``, where all is kept, in the order of DECISIONS."""
        rows = []
        for layer in self.searched:
            weight = cast(nn.Conv2d, layer.depthwise[0]).weight
            ring = weight - functional.pad(weight[:, :, 1:-1, 1:-1], (1, 1, 1, 1))
            rows.append(torch.stack([part.norm() for part in (ring, *weight.chunk(2))]))
        return torch.stack(rows)

    def decisions(self, gates: Relaxed) -> Tensor:
        """The decisions of all layers ``[layers, 3]``, in the order of DECISIONS."""
        return torch.stack([kernel.decisions for kernel in self.kernels(gates)])

    def forward(self, images: Tensor, gates: Gates) -> Tensor:
        """Logits ``[batch, classes]`` of images ``[batch, 3, side, side]`` through `Relaxed` or `Chosen`."""
        if not isinstance(gates, (Relaxed, Chosen)):
            raise UsageError(f"a mobile supernet takes Relaxed or Chosen gates, got {type(gates).__name__}")
        net, before = self.whole, len(self.macro.before)
        x = net.layers[:before](net.stem(images.contiguous(memory_format=torch.channels_last)))
        if isinstance(gates, Relaxed):
            for layer, kernel in zip(self.searched, self.kernels(gates), strict=True):
                x = _masked(layer, x, kernel.weight)
        else:
            for layer, block in zip(self.searched, self._blocks(gates.choices), strict=True):
                x = x if block is None else _sliced(layer, x, block)
        x = net.head(net.layers[before + self.layers :](x)).mean(dim=(2, 3))
        dropped = gates.features if isinstance(gates, Relaxed) else None
        return self.answers(net.classifier(x if dropped is None else x * dropped.to(x.dtype)))

    def export(self, arch: Any) -> MBNet:
        """The network of an architecture by itself, with its part of the shared weights."""
        blocks = self._blocks(self.space.choices(arch))
        alone = MBNet(self.macro, blocks, self.classes).to(self.whole.classifier.weight)
        whole = dict(self.whole.state_dict())
        with torch.no_grad():
            for name, mine in alone.state_dict().items():
                part = whole[name]
                if part.shape != mine.shape:
                    if part.shape[2:] != mine.shape[2:]:
                        part = part[:, :, 1:-1, 1:-1]
                    part = part[tuple(slice(size) for size in mine.shape)]
                mine.copy_(part)
        return alone.train(self.training)


def _masked(layer: Inverted, x: Tensor, kernel: Tensor) -> Tensor:
    """A layer with another depthwise kernel than it stores."""
    conv = cast(nn.Conv2d, layer.depthwise[0])
    inside = functional.conv2d(layer.first(x), kernel, None, conv.stride, conv.padding, groups=conv.groups)
    out: Tensor = layer.last(layer.depthwise[1:](inside))
    return x + out if layer.residual else out


def _sliced(layer: Inverted, x: Tensor, block: Block) -> Tensor:
    """A layer of which ``block`` alone is computed."""
    wide = x.shape[1] * block.expansion
    first, depthwise, last = (cast(nn.Conv2d, part[0]) for part in (layer.first, layer.depthwise, layer.last))
    inside = functional.relu(_normalised(layer.first[1], functional.conv2d(x, first.weight[:wide])))
    kernel = depthwise.weight[:wide] if block.kernel == 5 else depthwise.weight[:wide, :, 1:-1, 1:-1]
    inside = functional.conv2d(inside, kernel, None, depthwise.stride, block.kernel // 2, groups=wide)
    inside = functional.relu(_normalised(layer.depthwise[1], inside))
    out: Tensor = layer.last[1](functional.conv2d(inside, last.weight[:, :wide]))
    return x + out if layer.residual else out


def _normalised(module: nn.Module, x: Tensor) -> Tensor:
    """Batch normalisation of the first channels; running statistics of the others stay."""
    norm, width = cast(nn.BatchNorm2d, module), x.shape[1]
    kept = (norm.running_mean, norm.running_var) if norm.track_running_stats else (None, None)
    mean, variance = (None if value is None else value[:width] for value in kept)
    momentum = cast(float, norm.momentum)
    return functional.batch_norm(
        x, mean, variance, norm.weight[:width], norm.bias[:width], norm.training, momentum, norm.eps
    )
