"""Ranking architectures by shared weights: accuracy and loss of each on batches of images."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional

from nasharness.errors import UsageError
from nasharness.spaces.base import Floats
from nasharness.supernets.base import Supernet


def rank(
    net: Supernet,
    archs: ArrayLike,
    batches: Iterable[tuple[Tensor, Tensor]],
    progress: Callable[[int, int], None] | None = None,
    total: int = 0,
) -> tuple[Floats, Floats]:
    """Return accuracy in [0, 1] and mean cross-entropy in nats, float64 ``[n]`` each, of architectures ``[n]``.

    ``batches``: images and labels, on the network's device; all architectures see all of them, and each batch is gone
    through once. The loss ranks more finely than the accuracy, of which there are few different values.
    ``progress(done, total)`` counts architectures times batches, of ``total`` batches (0: unknown). Raises `UsageError`
    where there are no images.
    """
    asked = np.asarray(archs).ravel()
    right, loss = np.zeros(len(asked)), np.zeros(len(asked))
    images_seen = done = 0
    for images, labels in batches:
        places, numbers = [], []
        for where, logits in net.each(images, asked):
            precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
            hits = (precise.argmax(-1) == labels).sum().to(precise.dtype)
            places.append(where)
            numbers.append(torch.stack([hits, functional.cross_entropy(precise, labels)]))
            done += len(where)
            if progress is not None:
                progress(done, total * len(asked))
        images_seen += len(labels)
        measured = torch.stack(numbers).cpu().numpy() if numbers else ()  # one transfer a batch
        for where, (hits, mean) in zip(places, measured, strict=True):
            right[where] += hits
            loss[where] += mean * len(labels)
    if not images_seen:
        raise UsageError("there are no images to rank architectures on: got no batch, expected at least one")
    return right / images_seen, loss / images_seen
