"""The networks of NAS-OoD: an image editor that is told domains, and the classifiers that keep it honest.

After the released code of Bai et al. (ICCV 2021, arXiv 2109.02038; docs/reproduction/nas-ood.md#on-images), narrower.
Every layer is initialised from a ``torch.Generator`` that is handed in.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from nasharness.errors import UsageError
from nasharness.nets import initialise
from nasharness.nets.blocks import convolution, linear, uniform

#: the editor halves an image so often, so a side is a multiple of this
SIDE_OF = 4
#: length of the embedding of a `Perceiver`
EMBEDDING = 64


class Editor(nn.Module):
    """Turns images of one domain into images of another: ``x + tanh(.)``, so nothing changes where the edit is zero.

    A 7x7 convolution, two that halve the image, residual blocks, two that double it, and a 7x7 one back to colours;
    instance normalisation and ReLU between. Behind the first, the codes of the image's own and of the wanted domain,
    one-hot, are laid over all pixels. ``domains``: how many there are, the novel one included. ``width``: channels of
    the first convolution, doubled by each that halves the image (64 in the code). ``blocks``: residual ones (3 there).
    """

    def __init__(self, domains: int, *, width: int = 32, blocks: int = 1, generator: torch.Generator) -> None:
        super().__init__()
        self.domains = domains
        self.first = _Layer(convolution(3, width, 7, generator))
        coded = width + 2 * domains
        self.down = nn.Sequential(
            _Layer(_convolution(coded, 2 * width, generator)), _Layer(_convolution(2 * width, 4 * width, generator))
        )
        self.middle = nn.Sequential(*(_Block(4 * width, generator) for _ in range(blocks)))
        self.up = nn.Sequential(
            _Layer(_transposed(4 * width, 2 * width, generator)), _Layer(_transposed(2 * width, width, generator))
        )
        self.last = convolution(width, 3, 7, generator)

    def forward(self, images: Tensor, own: Tensor, wanted: Tensor) -> Tensor:
        """Images ``[batch, 3, side, side]`` of domains ``own`` ``[batch]`` as of domains ``wanted`` ``[batch]``."""
        x = self.first(images)
        codes = torch.cat([functional.one_hot(one, self.domains) for one in (own, wanted)], dim=1).to(x.dtype)
        x = torch.cat([x, codes[:, :, None, None].expand(-1, -1, *x.shape[2:])], dim=1)
        edit: Tensor = self.last(self.up(self.middle(self.down(x))))
        return images + edit.tanh()


def check_side(side: int) -> None:
    """Raise UsageError for images that an `Editor` cannot take."""
    if side % SIDE_OF or side < 2 * SIDE_OF:
        raise UsageError(
            f"images of {side} x {side} pixels: the generator halves them twice and doubles them again; expected a "
            f"side that is a multiple of {SIDE_OF}, {2 * SIDE_OF} or more"
        )


class Perceiver(nn.Module):
    """A small classifier of images: convolutions of 3x3 that halve the image, an embedding, and logits.

    Trained on domains it is what transport is measured in, trained on classes what keeps an edited digit a digit.
    ``width``: channels of every convolution, of which there are up to four (in the code 64 and four, for 84 pixels).
    """

    def __init__(self, classes: int, side: int, *, width: int = 16, generator: torch.Generator) -> None:
        super().__init__()
        blocks = max(1, min(4, side.bit_length() - 2))
        layers: list[nn.Module] = []
        for number in range(blocks):
            layers += [convolution(width if number else 3, width, 3, generator), nn.BatchNorm2d(width), nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.embedding, self.classifier = linear(width, EMBEDDING, generator), linear(EMBEDDING, classes, generator)

    def embed(self, images: Tensor) -> Tensor:
        """``[batch, 3, side, side]`` to ``[batch, EMBEDDING]``."""
        embedded: Tensor = self.embedding(self.features(images).mean((2, 3)))
        return embedded

    def forward(self, images: Tensor) -> Tensor:
        """``[batch, 3, side, side]`` to logits ``[batch, classes]``."""
        logits: Tensor = self.classifier(functional.relu(self.embed(images)))
        return logits


class _Layer(nn.Module):
    """A convolution, instance normalisation with learned scale and shift, ReLU."""

    def __init__(self, convolution: nn.Module) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = nn.InstanceNorm2d(convolution.out_channels, affine=True)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.norm(self.convolution(x)))


class _Block(nn.Module):
    """Two 3x3 convolutions with instance normalisation, beside a shortcut."""

    def __init__(self, channels: int, generator: torch.Generator) -> None:
        super().__init__()
        self.first = _Layer(convolution(channels, channels, 3, generator))
        self.second = convolution(channels, channels, 3, generator)
        self.norm = nn.InstanceNorm2d(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        inside: Tensor = self.norm(self.second(self.first(x)))
        return x + inside


def _convolution(c_in: int, c_out: int, generator: torch.Generator) -> nn.Conv2d:
    layer = initialise.conv(c_in, c_out, 4, 2, padding=1)
    uniform(layer.weight, c_in * 16, generator)
    return layer


def _transposed(c_in: int, c_out: int, generator: torch.Generator) -> nn.ConvTranspose2d:
    layer: nn.ConvTranspose2d = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        nn.ConvTranspose2d, c_in, c_out, 4, stride=2, padding=1, bias=False
    )
    uniform(layer.weight, c_in * 4, generator)  # of 16 taps a pixel is reached by 4
    return layer
