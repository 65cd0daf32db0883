"""Images that live on the device as bytes, and batches of them: sampled, augmented and normalised there.

Augmentation is NATS-Bench's (docs/reproduction/nats-bench.md#splits-and-recipe): a horizontal flip with probability 1/2
and a random crop after padding with black, 4 pixels at side 32, 2 at 16, 1 at 8. A batch costs one random draw, one
gather and one multiply-add; all chance comes from the generator handed in, so that equal states give equal bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nasharness.errors import UsageError

Shuffle = bool | Literal["replacement"]


class DeviceImages:
    """Images uint8 ``[n, 3, side, side]`` and labels int64 ``[n]``, or several an image, held on ``device``.

    ``mean``, ``std``: of the three channels, of pixels in [0, 1]. ``flip``: whether augmentation mirrors images, which
    digits do not survive. ``channels_last``: memory format of the batches; float values are the same either way.
    """

    def __init__(
        self,
        x: NDArray[np.uint8] | Tensor,
        y: NDArray[np.int64] | Tensor,
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device | str = "cpu",
        *,
        flip: bool = True,
        channels_last: bool = True,
    ) -> None:
        pixels, labels = torch.as_tensor(x), torch.as_tensor(y)
        if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[1] != 3 or len(pixels) != len(labels):
            raise UsageError(
                f"images {pixels.dtype} {list(pixels.shape)} with {len(labels)} labels: expected uint8 [n, 3, side, "
                "side] and n labels"
            )
        self.device = torch.device(device)
        self.side = int(pixels.shape[-1])
        self.pad = self.side // 8
        self.wide = self.side + 2 * self.pad
        self.flip = flip
        self.channels_last = channels_last
        self.labels = labels.to(self.device, torch.int64)
        # One row of three bytes per pixel, the black border included: a crop is a gather of rows.
        padded = torch.zeros((len(pixels), self.wide, self.wide, 3), dtype=torch.uint8, device=self.device)
        inner = slice(self.pad, self.pad + self.side)
        padded[:, inner, inner] = pixels.to(self.device).permute(0, 2, 3, 1)
        self._rows = padded.view(-1, 3)
        self._scale = torch.tensor([1 / (255 * s) for s in std], dtype=torch.float32, device=self.device)
        self._shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=self.device)
        self._ramp = torch.arange(self.side, device=self.device)

    def __len__(self) -> int:
        return len(self.labels)

    def steps(self, size: int, *, drop_last: bool = False) -> int:
        """How many batches of ``size`` an epoch has."""
        return len(self) // size if drop_last else -(-len(self) // size)

    def batches(
        self,
        size: int,
        generator: torch.Generator | None = None,
        *,
        shuffle: Shuffle = True,
        augment: bool = True,
        drop_last: bool = False,
        steps: int | None = None,
        among: Tensor | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield one epoch of ``(images float32 [batch, 3, side, side], labels int64 [batch])``.

        ``shuffle``: True for a permutation; "replacement" for ``steps`` (default: one epoch's) batches of images drawn
        uniformly with replacement, all full; False for the order they are in. ``among``: indices of the images that
        an epoch is of, int64 ``[k]``; None for all. ``generator`` lives on the images' device and is needed unless
        neither ``shuffle`` nor ``augment`` is asked for. Raises UsageError for a size that no batch can have, for no
        images, and for a missing generator.
        """
        count = len(self) if among is None else len(among)
        self._check(count, size, generator, shuffle, augment, drop_last, steps)
        drawn = self._drawn(count, size, generator, shuffle, drop_last, steps)
        return self._batches(drawn if among is None else (among[one] for one in drawn), generator, augment)

    def batch(self, indices: Tensor, generator: torch.Generator | None = None, *, augment: bool = False) -> Tensor:
        """Return the images of ``indices`` ``[batch]``, normalised and, if asked for, augmented."""
        count = len(indices)
        down = across = self._ramp.expand(count, -1) + self.pad
        if augment:
            places = 2 * self.pad + 1
            draw = torch.randint(2 * places * places, (count, 1), generator=generator, device=self.device)
            down = self._ramp + draw // (2 * places)
            across = self._ramp + draw // 2 % places
            if self.flip:
                across = torch.where(draw % 2 == 1, across.flip(1), across)
        row = (indices[:, None] * self.wide + down) * self.wide  # [batch, side]
        taken = self._rows.index_select(0, (row[:, :, None] + across[:, None, :]).view(-1))
        images = torch.addcmul(self._shift, taken.to(torch.float32), self._scale)
        images = images.view(count, self.side, self.side, 3).permute(0, 3, 1, 2)
        return images if self.channels_last else images.contiguous()

    def _batches(
        self, drawn: Iterator[Tensor], generator: torch.Generator | None, augment: bool
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for indices in drawn:
            yield self.batch(indices, generator, augment=augment), self.labels[indices]

    def _drawn(
        self,
        count: int,
        size: int,
        generator: torch.Generator | None,
        shuffle: Shuffle,
        drop_last: bool,
        steps: int | None,
    ) -> Iterator[Tensor]:
        """Yield which of ``count`` images each batch is of; every draw right before its batch."""
        whole = count // size if drop_last else -(-count // size)
        if shuffle == "replacement":
            for _ in range(whole if steps is None else steps):
                yield torch.randint(count, (size,), generator=generator, device=self.device)
            return
        order = (
            torch.randperm(count, generator=generator, device=self.device)
            if shuffle
            else torch.arange(count, device=self.device)
        )
        for start in range(0, whole * size, size):
            yield order[start : start + size]

    def _check(
        self,
        count: int,
        size: int,
        generator: torch.Generator | None,
        shuffle: Shuffle,
        augment: bool,
        drop_last: bool,
        steps: int | None,
    ) -> None:
        if count == 0:
            raise UsageError("no images to draw batches from; this split has none in this part")
        if size < 1:
            raise UsageError(f"batch {size}: expected 1 or more")
        if shuffle not in (True, False, "replacement"):
            raise UsageError(f"shuffle {shuffle!r}: expected True, False or 'replacement'")
        if steps is not None and shuffle != "replacement":
            raise UsageError("steps counts batches drawn with replacement; an epoch has as many as it has")
        if drop_last and size > count and shuffle != "replacement":
            raise UsageError(
                f"batch {size}: larger than the {count:,} images, and none is left when the last is dropped"
            )
        if generator is None and (shuffle or augment):
            raise UsageError("shuffling and augmentation need a torch.Generator")
