"""Ranking architectures by shared weights: how well each does on batches of images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from nasharness.errors import UsageError
from nasharness.runs.job import Progress
from nasharness.spaces.base import Floats
from nasharness.supernets.base import Supernet


class Scores(NamedTuple):
    """What images say of architectures, float64 ``[n]`` each.

    ``affinity``: mean square root of the probability of the right class, in [0, 1] (one minus it is the mean squared
    Hellinger distance of answer and truth). ``probability``: mean of that probability itself, the expected accuracy of
    answers drawn from the softmax. ``accuracy`` in [0, 1]. ``loss``: mean cross-entropy, nats.

    Accuracy has few different values and the noise of answers that could fall either way; the loss is ruled by the few
    images an architecture is most wrong about. On six supernets of CIFAR-10 JPEGs (300 to 500 cells, 1,000 images)
    affinity ranked best throughout, with a Kendall tau 0.01 to 0.04 above probability's and 0.03 to 0.12 above
    accuracy's; of 100 cells, the most probable one was the best choice, beating 0.74 to 0.93 of all cells, the most
    accurate one 0.53 to 0.81.
    """

    affinity: Floats
    probability: Floats
    accuracy: Floats
    loss: Floats


def rank(
    net: Supernet,
    archs: ArrayLike,
    batches: Iterable[tuple[Tensor, Tensor]],
    progress: Progress | None = None,
    total: int = 0,
    label: str = "",
) -> Scores:
    """Return the scores of architectures ``[n]``, or ``[n, positions]`` where the space has no indices.

    ``batches``: images and labels, on the network's device; all architectures see all of them, and each batch is gone
    through once. ``progress`` counts architectures times batches, of ``total`` batches (0: unknown), under ``label``.

    Raises `UsageError` where there are no images.
    """
    asked = np.reshape(archs, (-1, *net.space.arch_shape))
    sums = np.zeros((len(asked), len(Scores._fields)))
    images_seen = done = 0
    for images, labels in batches:
        places, numbers = [], []
        for where, logits in net.each(images, asked):
            precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
            logs = precise.log_softmax(-1).gather(-1, labels[:, None])
            hits = (precise.argmax(-1) == labels).to(precise.dtype)
            places.append(where)
            numbers.append(torch.stack([(logs / 2).exp().sum(), logs.exp().sum(), hits.sum(), -logs.sum()]))
            done += len(where)
            if progress is not None:
                progress(done, total * len(asked), label)
        images_seen += len(labels)
        measured = torch.stack(numbers).cpu().numpy() if numbers else ()  # one transfer a batch
        for where, found in zip(places, measured, strict=True):
            sums[where] += found
    if not images_seen:
        raise UsageError("there are no images to rank architectures on: got no batch, expected at least one")
    return Scores(*(sums / images_seen).T)
