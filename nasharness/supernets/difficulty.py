"""How hard the classes of a set of images are: what a small network that is trained for a few epochs makes of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from nasharness.errors import DataError
from nasharness.nets.tss import TssNet
from nasharness.spaces.base import Floats
from nasharness.supernets import randomness as streams
from nasharness.supernets.lessons import parted
from nasharness.training.batches import DeviceImages

#: the network of which difficulty is meant: of the topology space's skeleton, with one convolution a cell
ARCH, CHANNELS = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|", 8
#: how it is trained: by SGD with momentum, its rate falling to 0 along a line
BATCH, RATE, MOMENTUM = 64, 0.1, 0.9
#: images at a time when it is asked
ASKED = 500


def difficulty(
    weights: DeviceImages,
    judging: DeviceImages,
    classes: int,
    *,
    epochs: int,
    seed: int,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> Floats:
    """One minus the mean probability of the right class, by class: float64 ``[classes]`` in [0, 1], greater is harder.

    ``weights``: images that train the small network, ``judging``: those it is asked about, of every class. A
    probability tells classes apart that an accuracy, after a few epochs, does not. All chance comes from ``seed``.
    Raises DataError where the loss is no number any more.
    """
    device = weights.device
    initial = streams.torch_stream(seed, streams.BEFORE, streams.DIFFICULTY)
    drawing = streams.torch_stream(seed, 0, streams.DIFFICULTY, device)
    net = TssNet(ARCH, classes, channels=CHANNELS, cells=1, generator=initial).to(device)  # type: ignore[arg-type]
    optimiser = torch.optim.SGD(net.parameters(), lr=RATE, momentum=MOMENTUM)
    size = min(BATCH, len(weights))
    steps = epochs * weights.steps(size, drop_last=True)
    done = 0
    for _ in range(epochs):
        for images, known in weights.batches(size, drawing, drop_last=True):
            labels = parted(known)[0]
            for group in optimiser.param_groups:
                group["lr"] = RATE * (1 - done / steps)
            with autocast():
                loss = functional.cross_entropy(net(images).float(), labels)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            done += 1
    if not bool(torch.isfinite(loss)):
        raise DataError(f"the network that tells easy classes from hard ones diverged: its loss is {float(loss)}")
    net.eval()
    right = torch.zeros(classes, dtype=torch.float64)
    count = torch.zeros(classes, dtype=torch.float64)
    with torch.inference_mode():
        for images, known in judging.batches(ASKED, shuffle=False, augment=False):
            labels = parted(known)[0]
            with autocast():
                logits = net(images)
            chances = logits.double().softmax(1).gather(1, labels[:, None]).squeeze(1).cpu()
            right.index_add_(0, labels.cpu(), chances)
            count.index_add_(0, labels.cpu(), torch.ones_like(chances))
    return np.asarray(1 - (right / count).numpy())
