"""The images of a run: those that train weights and those that judge, all of them or of some classes alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nasharness.errors import DataError
from nasharness.supernets import randomness as streams
from nasharness.training.batches import DeviceImages


def parted(labels: Tensor) -> tuple[Tensor, Tensor | None]:
    """Labels and domains of a batch, None where images have none."""
    return (labels, None) if labels.ndim == 1 else (labels[:, 0], labels[:, 1])


class Lessons:
    """Batches of the images of a run, epoch by epoch.

    ``weights``, ``judging``: images by their role. ``names``: of the classes. ``size``, ``judging_size``: images in a
    batch that trains, and in one that scores; fewer where there are not as many. ``steps``: of an epoch.
    """

    def __init__(
        self, weights: DeviceImages, judging: DeviceImages, names: Sequence[str], *, size: int, judging_size: int
    ) -> None:
        self.weights, self.judging, self.names = weights, judging, tuple(names)
        self._most = size, judging_size
        self.teach(None, 1)

    def teach(self, taught: NDArray[np.bool_] | None, passes: int) -> Tensor | None:
        """From now on use images of ``taught`` classes alone, bool ``[classes]``; return those on the device.

        None, here and there, for all. ``passes``: how often an epoch goes through the images that train weights.
        Raises DataError for a class without images.
        """
        self.among: tuple[Tensor | None, Tensor | None] = None, None
        chosen = None
        if taught is not None and not np.all(taught):
            self.check(taught)
            chosen = torch.from_numpy(np.array(taught, dtype=np.bool_)).to(self.weights.device)
            trains, judges = (
                chosen[parted(images.labels)[0]].nonzero().squeeze(1) for images in (self.weights, self.judging)
            )
            self.among = trains, judges
        trains_count, judges_count = (
            len(images) if among is None else len(among)
            for images, among in zip((self.weights, self.judging), self.among, strict=True)
        )
        self.size, self.judging_size = min(self._most[0], trains_count), min(self._most[1], judges_count)
        self.passes, self.steps = passes, passes * (trains_count // self.size)
        return chosen

    def check(self, taught: NDArray[np.bool_]) -> None:
        """Raise DataError where one of the classes has no images that train weights, or none that judge."""
        for images, role in ((self.weights, "train weights"), (self.judging, "judge architectures")):
            there = np.bincount(parted(images.labels)[0].cpu().numpy(), minlength=len(self.names)) > 0
            missing = [self.names[one] for one in np.flatnonzero(taught & ~there)]
            if missing:
                others = f" ({len(missing) - 1} more have none)" if missing[1:] else ""
                raise DataError(
                    f"class {missing[0]!r} has no images that {role}{others}: expected some of every class; give more "
                    "--images, or set more aside with --validation"
                )

    def batches(self, seed: int, epoch: int) -> Iterator[tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]]:
        """Batches of one epoch: every image for the weights once a pass, images for the architecture with replacement.

        All full: of images that are left over, others every time, an epoch goes without.
        """
        device = self.weights.device
        trains, judges = self.among
        generator = streams.torch_stream(seed, epoch, streams.BATCHES, device)
        weights = chain.from_iterable(
            self.weights.batches(self.size, generator, drop_last=True, among=trains) for _ in range(self.passes)
        )
        arch = self.judging.batches(
            self._most[0],
            streams.torch_stream(seed, epoch, streams.ARCH_BATCHES, device),
            shuffle="replacement",
            steps=self.steps,
            among=judges,
        )
        yield from zip(weights, arch, strict=True)

    def to_score(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A batch of the images that judge, as they are."""
        images, labels = next(
            self.judging.batches(self.judging_size, generator, augment=False, drop_last=True, among=self.among[1])
        )
        return images, parted(labels)[0]
