"""The supernet of ``fbnet``: every layer has all of its blocks, side by side, and a pass goes through one of them."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from nasharness import spaces
from nasharness.errors import UsageError
from nasharness.nets.blocks import linear
from nasharness.nets.initialise import conv, he_normal_fan_out, seeded
from nasharness.nets.mbconv import Inverted, MBNet, normalised, skip
from nasharness.spaces.base import Space
from nasharness.spaces.mbconv import MBConvSpace
from nasharness.supernets.base import Gates
from nasharness.supernets.chain import ChainSupernet, Chosen


class FBNetSupernet(ChainSupernet):
    """Shared weights of all 9^22 networks: those of each of 9 blocks in each of 22 layers (arXiv 1812.03443).

    A pass computes one block a layer. A block beside a shortcut begins as that alone, its last scale at zero: drawn
    paths through 22 layers of blocks that each see a ninth of the steps diverge otherwise (as in Goyal et al., arXiv
    1706.02677, section 5.1). ``channels``: of the stem, 16 as published.
    """

    space: ClassVar[Space] = spaces.get("fbnet")  # type: ignore[misc]

    def __init__(self, classes: int, *, channels: int, side: int, generator: torch.Generator) -> None:
        super().__init__(classes, channels=channels, side=side)
        macro, chain = self.macro, cast(MBConvSpace, self.space)
        shapes, _ = macro.shapes(32)  # of which the channels and strides count here
        self.stem = nn.Sequential(*normalised(conv(3, macro.stem, 3, macro.stem_stride), macro))
        self.choices = nn.ModuleList(
            nn.ModuleList(
                skip(layer, macro) if block is None else Inverted(block, layer, macro)
                for block in (chain.blocks[option] for option in options)
            )
            for layer, options in zip(shapes, chain.options, strict=True)
        )
        self.head = nn.Sequential(*normalised(conv(shapes[-1].outward, macro.head), macro))
        draw = seeded(generator)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                he_normal_fan_out(module.weight, draw)
            elif isinstance(module, Inverted) and module.residual:
                nn.init.zeros_(cast(nn.BatchNorm2d, module.last[1]).weight)
        self.classifier = linear(macro.head, classes, draw)

    def forward(self, images: Tensor, gates: Gates) -> Tensor:
        """Logits ``[batch, classes]`` of images ``[batch, 3, side, side]`` through `Chosen`."""
        if not isinstance(gates, Chosen):
            raise UsageError(f"an fbnet supernet takes Chosen gates, got {type(gates).__name__}")
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        for layer, choice in zip(self.choices, gates.choices, strict=True):
            x = cast(nn.ModuleList, layer)[choice](x)
        return self.answers(self.classifier(self.head(x).mean(dim=(2, 3))))

    def export(self, arch: Any) -> MBNet:
        """The network of an architecture by itself, with its part of the shared weights."""
        alone = MBNet(self.macro, self._blocks(self.space.choices(arch)), self.classes).to(self.classifier.weight)
        layers = zip(self.choices, self.gates_of(arch).choices, strict=True)
        chosen = nn.Sequential(*(cast(nn.ModuleList, layer)[choice] for layer, choice in layers))
        for name, part in (("stem", self.stem), ("layers", chosen), ("head", self.head)):
            getattr(alone, name).load_state_dict(part.state_dict())
        alone.classifier.load_state_dict(self.classifier.state_dict())
        return alone.train(self.training)
