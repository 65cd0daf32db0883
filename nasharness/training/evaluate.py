"""Exact evaluation: every image once, over all processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from nasharness.errors import DataError
from nasharness.training.device import autocast
from nasharness.training.distributed import World


@dataclass(frozen=True)
class Scores:
    """Mean cross-entropy in nats, top-1 and top-5 accuracy in percent, and how many images they are of."""

    loss: float
    top1: float
    top5: float
    images: int


def evaluate(
    forward: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor, Tensor]],
    world: World,
    *,
    precision: str = "auto",
) -> Scores:
    """Evaluate on (inputs float [n, ...], labels int64 [n], weights float [n]: 1, or 0 for what only fills a batch).

    Sums are of whole numbers and of float64, over all processes; nothing is counted twice. The module's training mode
    comes back as it was. Top-5 of fewer than five classes is 100.

    Raises:
        DataError: there is no image to evaluate on.
    """
    return evaluate_each(forward, batches, world, [contextlib.nullcontext], precision=precision)[0]


@torch.no_grad()
def evaluate_each(
    forward: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor, Tensor]],
    world: World,
    versions: Sequence[Callable[[], contextlib.AbstractContextManager[object]]],
    *,
    precision: str = "auto",
) -> list[Scores]:
    """Evaluate the module in several versions, as :func:`evaluate` does, on batches that are made once for all.

    ``versions``: contexts in which the module has the weights of a version.
    """
    was_training = forward.training
    forward.eval()
    sums = torch.zeros(
        len(versions), 4, dtype=torch.float64, device=world.device if world.device.type != "mps" else "cpu"
    )
    for inputs, labels, weights in batches:
        counted = weights > 0
        for version, own in zip(versions, sums, strict=True):
            with version(), autocast(world.device, precision, scaled=precision == "fp16"):
                logits = forward(inputs)
            logits = logits if logits.dtype == torch.float64 else logits.float()
            losses = functional.cross_entropy(logits, labels, reduction="none")
            top = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
            values = torch.stack([losses, top[:, 0].to(losses), top.any(1).to(losses), torch.ones_like(losses)])
            own += torch.where(counted, values, torch.zeros_like(values)).sum(1).to(sums)
    forward.train(was_training)
    found = []
    for loss, top1, top5, images in world.total(sums.cpu()).tolist():
        if not images:
            raise DataError("there is no image to evaluate on")
        found.append(Scores(loss / images, 100 * top1 / images, 100 * top5 / images, round(images)))
    return found
