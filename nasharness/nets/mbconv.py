"""Networks of the spaces ``mobile`` and ``fbnet``: chains of inverted residual blocks, at any width and side.

A 3x3 stem, the fixed and the chosen layers, a 1x1 convolution, the average over the image, dropout where the macro has
it, a linear classifier. ReLU and batch normalisation behind every convolution, but none behind the last 1x1 of a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nasharness import spaces
from nasharness.errors import UsageError
from nasharness.nets.blocks import linear
from nasharness.nets.initialise import conv, he_normal_fan_out, seeded
from nasharness.spaces.mbconv import Block, Layer, Macro, MBConvSpace


def normalised(layer: nn.Conv2d, macro: Macro, *, relu: bool = True) -> list[nn.Module]:
    """A convolution, its batch normalisation and a ReLU."""
    norm = nn.BatchNorm2d(layer.out_channels, eps=macro.eps, momentum=macro.momentum)
    return [layer, norm, *([nn.ReLU(inplace=True)] if relu else [])]


class Inverted(nn.Module):
    """One block: ``[batch, in, side, side]`` -> ``[batch, out, side / stride, side / stride]``."""

    def __init__(self, block: Block, layer: Layer, macro: Macro) -> None:
        super().__init__()
        wide, groups = layer.inward * block.expansion, block.groups
        first = normalised(conv(layer.inward, wide, groups=groups), macro) if block.widens else []
        self.first, self.groups = nn.Sequential(*first), groups
        self.depthwise = nn.Sequential(*normalised(conv(wide, wide, block.kernel, layer.stride, groups=wide), macro))
        self.last = nn.Sequential(*normalised(conv(wide, layer.outward, groups=groups), macro, relu=False))
        self.residual = layer.same

    def forward(self, x: Tensor) -> Tensor:
        inside = self.first(x)
        if self.groups > 1:
            inside = inside.unflatten(1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)
        out: Tensor = self.last(self.depthwise(inside))
        return x + out if self.residual else out


def skip(layer: Layer, macro: Macro) -> nn.Module:
    """A layer left out: nothing where the shape stays, else a 1x1 convolution with normalisation."""
    if layer.same:
        return nn.Identity()
    return nn.Sequential(*normalised(conv(layer.inward, layer.outward, 1, layer.stride), macro, relu=False))


class MBNet(nn.Module):
    """The network of ``chosen`` blocks, one or None for each of the macro's layers: images to logits.

    Convolutions are initialised by fan-out (truncated normal of variance 2 / fan-out), the classifier as PyTorch does.
    ``generator``: on the CPU; none means seed 0.
    """

    def __init__(
        self,
        macro: Macro,
        chosen: Sequence[Block | None],
        classes: int,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if len(chosen) != len(macro.layers):
            raise UsageError(f"{len(chosen)} blocks: expected {len(macro.layers)}, one for each layer")
        fixed_before, fixed_after = ([one[2] for one in part] for part in (macro.before, macro.after))
        shapes, _ = macro.shapes(32)  # of which the channels and strides count here
        self.stem = nn.Sequential(*normalised(conv(3, macro.stem, 3, macro.stem_stride), macro))
        self.layers = nn.Sequential(*(
            skip(layer, macro) if block is None else Inverted(block, layer, macro)
            for block, layer in zip([*fixed_before, *chosen, *fixed_after], shapes, strict=True)
        ))  # fmt: skip
        self.head = nn.Sequential(*normalised(conv(shapes[-1].outward, macro.head), macro))
        self.dropout = nn.Dropout(macro.dropout) if macro.dropout else nn.Identity()
        draw = seeded(generator)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                he_normal_fan_out(module.weight, draw)
        self.classifier = linear(macro.head, classes, draw)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[batch, 3, side, side]`` to logits ``[batch, classes]``."""
        features = self.head(self.layers(self.stem(images)))
        logits: Tensor = self.classifier(self.dropout(features.mean(dim=(2, 3))))
        return logits


def network(
    space: str,
    arch: Any,
    classes: int,
    *,
    dataset: str = "ImageNet",
    width: float = 1.0,
    generator: torch.Generator | None = None,
) -> MBNet:
    """The network of an architecture of ``mobile`` or ``fbnet``, with the macro that ``dataset`` decides.

    ``arch``: a string, a name or choices. ``width``: multiple of the published channels. Raises UsageError for another
    space, data set or architecture, or for a width that is not positive.
    """
    chosen = spaces.get(space)
    if not isinstance(chosen, MBConvSpace):
        raise UsageError(f"space {space!r} has no chains of inverted residual blocks; expected mobile or fbnet")
    macro = chosen.setting(dataset).macro.scaled(width)
    return MBNet(macro, chosen.chosen(chosen.parse(arch)), classes, generator=generator)
