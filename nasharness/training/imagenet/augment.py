"""Augmentation: what is drawn for an image, and the arithmetic on a whole batch on the device.

All that is drawn for an image depends on (seed, epoch, index) alone: not on workers, processes, batches, or on where a
run was resumed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nasharness.training.imagenet.decode import Box
from nasharness.training.imagenet.randaugment import Operation, drawn
from nasharness.training.imagenet.recipes import Augment

#: columns of what is drawn: mirror, order of jitter, four strengths, erased rectangle, place in the pool of noise
COLUMNS = 12
#: Inception's four orders of brightness, saturation, hue and contrast
ORDERS = (("b", "s", "h", "c"), ("s", "b", "c", "h"), ("c", "h", "b", "s"), ("h", "s", "c", "b"))
#: crops that are tried before the whole image is taken, as TensorFlow's operation does: of a photograph of 3:2 every
#: tenth fits when area is at least 0.75
_TRIES = 100


@dataclass(frozen=True)
class Drawn:
    """One image's randomness.

    ``crop`` as :func:`decode` wants it; ``operations`` of RandAugment; ``numbers``: float32 [COLUMNS], of an Augmenter.
    """

    crop: Callable[[int, int], Box]
    resizer: str
    numbers: npt.NDArray[np.float32]
    operations: tuple[Operation, ...] = ()


def draw(augment: Augment, size: int, seed: int, epoch: int, index: int) -> Drawn:
    """Draw for one image of one epoch; rectangles are in pixels of an image of ``size``."""
    rng = np.random.default_rng((seed, epoch, index))
    u = rng.random(2 * _TRIES + 16)
    rest = u[2 * _TRIES :]

    def crop(width: int, height: int) -> Box:
        for area_u, aspect_u in u[: 2 * _TRIES].reshape(_TRIES, 2):
            area = width * height * _between(augment.area, area_u)
            low, high = augment.aspect
            aspect = low * (high / low) ** aspect_u if augment.log_aspect else low + (high - low) * aspect_u
            w, h = (area * aspect) ** 0.5, (area / aspect) ** 0.5
            if 1 <= w <= width and 1 <= h <= height:
                left, top = (width - w) * rest[0], (height - h) * rest[1]
                return left, top, left + w, top + h
        return 0, 0, width, height

    resizer = augment.resizers[int(rest[2] * len(augment.resizers))]
    low = max(1, round(size * augment.erase_from))
    high, wide = (low + int(value * (size - low)) for value in rest[9:11])  # in [low, size), independently
    erased = rest[8] < augment.erase
    numbers = np.array(
        [
            rest[3] < augment.flip,
            int(rest[4] * len(ORDERS)),
            augment.brightness * (2 * rest[5] - 1),
            1 + augment.saturation * (2 * rest[6] - 1),
            augment.hue * (2 * rest[7] - 1),
            1 + augment.contrast * (2 * rest[15] - 1),
            int(rest[11] * (size - high + 1)),
            int(rest[12] * (size - wide + 1)),
            high * erased,
            wide * erased,
            int(rest[13] * (size + 1)),
            int(rest[14] * (size + 1)),
        ],
        dtype=np.float32,
    )
    operations = drawn(augment.layers, augment.magnitude, rng) if augment.layers else ()
    return Drawn(crop, resizer, numbers, operations)


class Augmenter:
    """Turns uint8 pixels into the network's input, on the device.

    Args:
        augment: what to do; None only normalises (evaluation).
        mean, std: of pixels in [0, 1].
        size: of images, in pixels.
        seed: of the noise that erased rectangles are filled with: uniform for every pixel and channel, a window at a
            random place of one pool twice as wide and high as an image.
        device: where it is done.
    """

    def __init__(
        self,
        augment: Augment | None,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        *,
        size: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.augment, self.size = augment, size
        self.mean = torch.tensor(mean, device=device).view(3, 1, 1)
        self.std = torch.tensor(std, device=device).view(3, 1, 1)
        if augment is not None and augment.erase:
            pool = torch.rand(3, 2 * size, 2 * size, generator=torch.Generator().manual_seed(seed))
            self._windows = (
                pool.to(device).unfold(1, size, 1).unfold(2, size, 1)
            )  # a view: [3, size+1, size+1, size, size]

    def __call__(self, pixels: Tensor, numbers: Tensor) -> Tensor:
        """Return float32 [n, 3, size, size], channels last.

        ``pixels``: uint8 [n, size, size, 3] on the device; ``numbers``: float32 [n, COLUMNS], on the CPU.
        """
        images = pixels.permute(0, 3, 1, 2).float().div_(255)
        if self.augment is not None:
            there = numbers.to(images.device, non_blocking=True)
            images = torch.where(there[:, 0].bool().view(-1, 1, 1, 1), images.flip(3), images)
            if self.augment.jitter != "none":
                images = jitter(images, numbers[:, 1], there[:, 2:6], blend=self.augment.jitter == "blend")
            if self.augment.erase:
                images = self._erase(images, there[:, 6:])
        return images.sub_(self.mean).div_(self.std).contiguous(memory_format=torch.channels_last)

    def _erase(self, images: Tensor, numbers: Tensor) -> Tensor:
        top, left, high, wide, row, column = (value.view(-1, 1, 1, 1) for value in numbers.unbind(1))
        at = torch.arange(self.size, device=images.device)
        inside = (at >= top) & (at < top + high)
        inside = inside.transpose(2, 3) & (at >= left) & (at < left + wide)
        noise = self._windows[:, row.long().view(-1), column.long().view(-1)].transpose(0, 1)
        return torch.where(inside, noise, images)


def jitter(images: Tensor, orders: Tensor, strengths: Tensor, *, blend: bool) -> Tensor:
    """Jitter the colours of float [n, 3, h, w] in [0, 1]; clipped to [0, 1] at the end.

    Args:
        images: the batch.
        orders: [n], on the CPU, which of ``ORDERS``.
        strengths: [n, 4]: added brightness, factors of saturation, hue in turns, factor of contrast.
        blend: brightness, saturation and contrast as blends with black, grey and the mean grey (as torchvision does)
            rather than as Inception's pipeline does.
    """
    out = torch.empty_like(images)
    for order, names in enumerate(ORDERS):
        rows = torch.nonzero(orders == order).view(-1)
        if not len(rows):
            continue
        rows = rows.to(images.device, non_blocking=True)
        part, b, s, h, c = images[rows], *strengths[rows].view(-1, 4, 1, 1, 1).unbind(1)
        for name in names:
            part = _apply(name, part, b, s, h, c, blend=blend)
        out[rows] = part
    return out.clamp_(0, 1)


def _apply(name: str, x: Tensor, b: Tensor, s: Tensor, h: Tensor, c: Tensor, *, blend: bool) -> Tensor:
    if name == "h":
        return _hsv(x, h, torch.ones_like(s))
    if name == "b":
        return (x * (1 + b)).clamp(0, 1) if blend else x + b
    if not blend and name == "s":
        return _hsv(x, torch.zeros_like(h), s)
    if not blend:
        mean = x.mean(dim=(2, 3), keepdim=True)
        return (x - mean) * c + mean
    grey = (x * x.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    if name == "c":
        grey, s = grey.mean(dim=(2, 3), keepdim=True), c
    return (grey + (x - grey) * s).clamp(0, 1)


def _hsv(x: Tensor, turn: Tensor, factor: Tensor) -> Tensor:
    """Turn the hue and scale the saturation (up to 1), by way of HSV."""
    red, green, blue = x.unbind(1)
    value, low = x.amax(1), x.amin(1)
    span = value - low
    safe = torch.where(span > 0, span, torch.ones_like(span))
    hue = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = hue + 6 * turn.view(-1, 1, 1)
    saturation = torch.where(value > 0, span / value.clamp_min(1e-8), torch.zeros_like(value))
    chroma = value * (saturation * factor.view(-1, 1, 1)).clamp(0, 1)
    k = (hue[:, None] + x.new_tensor([5.0, 3.0, 1.0]).view(3, 1, 1)) % 6
    return value[:, None] - chroma[:, None] * torch.minimum(k, 4 - k).clamp(0, 1)


def _between(ends: tuple[float, float], u: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * u
