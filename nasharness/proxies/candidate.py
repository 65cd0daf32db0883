"""What a proxy is given: an architecture, its network with the weights of a seed, and a batch of images."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from nasharness.nets.build import network
from nasharness.nets.cell import Convolutions
from nasharness.nets.skeleton import Network
from nasharness.spaces.base import Space

#: How weights are drawn: as PyTorch does by itself, uniform in +-1/sqrt(fan in); or normal with variance 2 / fan out
#: and no bias (He et al., Delving Deep into Rectifiers, ICCV 2015).
INITS = ("pytorch", "kaiming")


@dataclass(frozen=True)
class Candidate:
    """Architecture ``arch``, an index of ``space``.

    ``images`` float32 ``[batch, 3, side, side]``, normalised, and ``labels`` int64 ``[batch]``, the same for all
    architectures, on the device that computes. ``dataset``: the name of the set they are from, of ``classes`` classes.
    ``channels``, ``cells``: of the first stage, and of every stage; None as published. ``init``: of INITS.
    ``seed``: what an architecture is given by chance depends on it and on the architecture, and on no other one.
    """

    space: Space
    arch: int
    dataset: str
    classes: int
    images: Tensor
    labels: Tensor
    channels: int | None = None
    cells: int | None = None
    seed: int = 0
    init: str = INITS[0]

    @property
    def published(self) -> bool:
        """Whether the network is the one of the space's table, for which there are closed forms."""
        return self.channels is None and self.cells is None and self.dataset in self.space.datasets

    def network(self) -> Network:
        """A new network in training mode, always with the same weights, on the device of the images."""
        options = {} if self.channels is None else {"channels": self.channels}
        net = network(
            self.space.name, self.arch, self.classes, cells=self.cells, generator=self._stream(0, "cpu"), **options
        )
        if self.init == "kaiming":
            _kaiming(net, self.stream("weights"))
        return net.to(self.images.device)

    def stream(self, purpose: str) -> torch.Generator:
        """A source of chance of its own for each purpose, in its first state, on the CPU."""
        return self._stream(1 + zlib.crc32(purpose.encode()), "cpu")

    def _stream(self, purpose: int, device: str) -> torch.Generator:
        words = np.random.SeedSequence((self.seed, self.arch, purpose)).generate_state(1, np.uint64)
        return torch.Generator(device=device).manual_seed(int(words[0] >> 1))


def _kaiming(net: Network, stream: torch.Generator) -> None:
    """Draw the weights of every convolution and of the classifier anew."""
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear | Convolutions):
                outputs = layer.c_out if isinstance(layer, Convolutions) else len(layer.weight)  # those of one edge
                deviation = math.sqrt(2 / (outputs * layer.weight[0, 0].numel()))
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=stream) * deviation)
                if isinstance(layer, nn.Linear):
                    layer.bias.zero_()
