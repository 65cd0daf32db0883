"""What every supernet offers, whatever its space: a forward pass through gates, and scores of many architectures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from nasharness.spaces.base import Floats, Space
from nasharness.spaces.product import product


class Gates:
    """How a forward pass goes through a supernet: mixed, sampled or masked. Each space has its own kind.

    tss: `nasharness.supernets.tss.EdgeGates`; sss: subclasses of `nasharness.supernets.sss.WidthGates`.
    """

    @property
    def computed(self) -> float:
        """Candidates that a pass computes at a position, on average: what it costs beside one architecture."""
        return 1.0


@contextmanager
def evaluating(net: Supernet) -> Iterator[None]:
    """Put ``net`` in evaluation mode for a while; see `Supernet.published`."""
    training = net.training
    net.eval()
    kept = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d) and module.track_running_stats]
    if not net.published:
        for module in kept:  # training, but not tracking: the statistics of the batch, and nothing is updated
            module.training, module.track_running_stats = True, False
    try:
        yield
    finally:
        for module in kept:
            module.track_running_stats = True
        net.train(training)


class Supernet(nn.Module):
    """A network that holds the weights of every architecture of a space.

    ``space``: the space. ``forward(images, gates)``: logits ``[batch, classes]`` of images ``[batch, 3, side, side]``.
    """

    space: Space
    #: Whether architectures are scored as in NATS-Bench: by accuracy, with running statistics in stem and residual
    #: blocks. Those are means over all architectures that were trained and fit none of them; the batch's own are used
    #: otherwise, as cells use them in both (one supernet, CIFAR-10, 300 cells: Kendall tau 0.49 instead of 0.37), and
    #: the probability of the right class, which chooses better (see `nasharness.supernets.ranking.Scores`).
    published: bool = False
    #: Which position of the space each gate of a forward pass reads, where an option is drawn for each; None: its own.
    gated: tuple[int, ...] | None = None
    #: classes that the classifier has learnt of so far, bool ``[classes]``; None for all. The others are no answers:
    #: as if their rows came later, beside those that are there.
    taught: Tensor | None = None

    def answers(self, logits: Tensor) -> Tensor:
        """Logits ``[batch, classes]``, minus infinity where the class was not taught yet."""
        return logits if self.taught is None else logits.masked_fill(~self.taught, -torch.inf)

    def forward(self, images: Tensor, gates: Gates) -> Tensor:
        raise NotImplementedError

    def uniform_gates(self, rng: np.random.Generator) -> Gates:
        """Gates of one architecture drawn uniformly, the same in every cell."""
        return self.gates_of(int(self.space.sample_index(rng.random())))

    def gates_of(self, arch: Any) -> Gates:
        """The gates of a single architecture, an index or choices: what its standalone network would compute."""
        raise NotImplementedError

    def gates_drawn(self, choices: Any) -> Gates:
        """The gates of options ``[gates]``, one drawn for each (see ``gated``)."""
        return self.gates_of(choices if self.space.arch_shape else int(product(self.space).index(choices)))

    @torch.inference_mode()
    def each(self, images: Tensor, archs: ArrayLike) -> Iterator[tuple[NDArray[np.intp], Tensor]]:
        """Yield places in ``archs`` ``[n]`` and the logits ``[batch, classes]`` of the architecture that stands there.

        Evaluation mode, no gradients. Every place comes once, in any order; equal networks come together. What
        architectures share is computed once where a space knows how (`nasharness.supernets.sharing`).
        """
        with evaluating(self):
            for place, arch in enumerate(np.ravel(archs).tolist()):
                yield np.array([place]), self(images, self.gates_of(arch))

    @torch.inference_mode()
    def logits(self, images: Tensor, archs: ArrayLike) -> Tensor:
        """Logits ``[n, batch, classes]`` of architectures ``[n]`` on one batch of images, in evaluation mode."""
        rows: list[Tensor | None] = [None] * len(np.reshape(archs, (-1, *self.space.arch_shape)))
        for places, logits in self.each(images, archs):
            for place in places:
                rows[place] = logits
        return torch.stack([row for row in rows if row is not None])

    def score(self, images: Tensor, labels: Tensor, archs: ArrayLike) -> Floats:
        """Score in [0, 1], float64 ``[n]``, of architectures ``[n]`` on one batch of images.

        The mean probability of the right class; as ``published`` the accuracy.
        """
        from nasharness.supernets.ranking import rank

        scores = rank(self, archs, [(images, labels)])
        return scores.accuracy if self.published else scores.probability
