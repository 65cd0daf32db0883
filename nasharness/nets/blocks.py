"""The pieces that networks of both NATS-Bench spaces are made of (arXiv 2009.00437, section 3).

Every layer is initialised from a ``torch.Generator`` that is handed in, as PyTorch initialises its own layers: weights
of convolutions and of the classifier uniform in +-1/sqrt(fan in), the classifier's bias too; normalisation 1 and 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from nasharness.nets import initialise


@dataclass(frozen=True)
class Norm:
    """What batch normalisation has: learned scale and shift (``affine``), running statistics for evaluation.

    With neither it is *plain*: the statistics of the batch, in evaluation too, and nothing learned. An image that is
    all zero then stays zero, and a bias in front of it is subtracted again.
    """

    affine: bool = True
    running_stats: bool = True

    @property
    def plain(self) -> bool:
        """Whether the layer has no state at all."""
        return not (self.affine or self.running_stats)

    def layer(self, channels: int) -> nn.BatchNorm2d:
        """Return such a layer for ``channels`` channels."""
        return nn.BatchNorm2d(channels, affine=self.affine, track_running_stats=self.running_stats)


#: Statistics of the batch and nothing else: what the cells of a supernet use.
PLAIN = Norm(affine=False, running_stats=False)


def uniform(tensor: Tensor, fan_in: int, generator: torch.Generator) -> None:
    """Fill ``tensor`` with numbers uniform in +-1/sqrt(fan_in), in place."""
    bound = 1 / math.sqrt(fan_in)
    with torch.no_grad():
        tensor.uniform_(-bound, bound, generator=generator)


def convolution(c_in: int, c_out: int, kernel: int, generator: torch.Generator, stride: int = 1) -> nn.Conv2d:
    """Return a convolution with padding ``kernel // 2`` and no bias."""
    layer = initialise.conv(c_in, c_out, kernel, stride)
    uniform(layer.weight, c_in * kernel**2, generator)
    return layer


def linear(c_in: int, c_out: int, generator: torch.Generator) -> nn.Linear:
    """Return a linear layer with bias."""
    layer = initialise.linear(c_in, c_out)
    uniform(layer.weight, c_in, generator)
    uniform(layer.bias, c_in, generator)
    return layer


class Stem(nn.Module):
    """3x3 convolution of the image and batch normalisation."""

    def __init__(self, channels: int, norm: Norm, generator: torch.Generator) -> None:
        super().__init__()
        self.conv = convolution(3, channels, 3, generator)
        self.norm = norm.layer(channels)

    def forward(self, images: Tensor) -> Tensor:
        """``[batch, 3, side, side]`` to ``[batch, channels, side, side]``."""
        features: Tensor = self.norm(self.conv(images))
        return features


class Residual(nn.Module):
    """The block between stages: half the side, another width.

    [ReLU, 3x3 convolution of stride 2, norm], [ReLU, 3x3 convolution, norm], beside a shortcut of 2x2 average pooling
    and a 1x1 convolution without norm.
    """

    def __init__(self, c_in: int, c_out: int, norm: Norm, generator: torch.Generator) -> None:
        super().__init__()
        self.first = convolution(c_in, c_out, 3, generator, stride=2)
        self.first_norm = norm.layer(c_out)
        self.second = convolution(c_out, c_out, 3, generator)
        self.second_norm = norm.layer(c_out)
        self.shortcut = convolution(c_in, c_out, 1, generator)

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, c_in, side, side]`` to ``[batch, c_out, side / 2, side / 2]``."""
        inside = self.first_norm(self.first(functional.relu(x)))
        features: Tensor = self.second_norm(self.second(functional.relu(inside)))
        shortcut: Tensor = self.shortcut(functional.avg_pool2d(x, 2))
        return features + shortcut


class Head(nn.Module):
    """Batch normalisation, ReLU, average over the image, linear classifier."""

    def __init__(self, channels: int, classes: int, norm: Norm, generator: torch.Generator) -> None:
        super().__init__()
        self.norm = norm.layer(channels)
        self.classifier = linear(channels, classes, generator)

    def forward(self, features: Tensor) -> Tensor:
        """``[batch, channels, side, side]`` to logits ``[batch, classes]``."""
        logits: Tensor = self.classifier(functional.relu(self.norm(features)).mean((2, 3)))
        return logits
