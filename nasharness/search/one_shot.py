"""The second, smaller interface: one-shot algorithms, which train a supernet on images and derive an architecture.

Lifecycle, for each run: the constructor, once; then, for every step of every epoch, ``gates`` and ``images`` (the
harness trains the shared weights through the ones, on the others) and ``search_step`` (the algorithm's own step, mostly
of its architecture parameters); then
``end_epoch``. ``derive`` may be called after any epoch, and changes nothing. The harness owns the images, the shared
weights and their optimiser, the epochs, checkpoints and the score: no table is within reach of an algorithm.

This module imports no torch, so that algorithms can be listed where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasharness.spaces.base import Floats, Space

if TYPE_CHECKING:
    import torch

    from nasharness.supernets.base import Gates, Supernet

#: How NATS-Bench trained every supernet of its comparison (docs/reproduction/one-shot.md#common-protocol): what the
#: harness, not an algorithm, decides. ``channels`` and ``cells`` are of tss; a stage of sss has one cell. ``lr`` falls
#: to ``lr_end`` along a cosine, SGD with Nesterov's momentum; ``batch`` images for the weights and as many for the
#: architecture; ``validation_batch`` images score one architecture.
NATS_ONE_SHOT: Mapping[str, Any] = MappingProxyType(
    {
        "channels": 16,
        "cells": 5,
        "epochs": 100,
        "batch": 64,
        "validation_batch": 512,
        "lr": 0.025,
        "lr_end": 0.001,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 5e-4,
    }
)


@dataclass(frozen=True)
class OneShotTask:
    """One run, as its algorithm sees it.

    ``space``, ``dataset``: what is searched. ``seed``: of the run. ``epochs``: how many there will be. ``net``: the
    supernet. ``device``: where everything lives. ``rng``, ``generator``: the run's random streams, numpy's and torch's
    (the latter on ``device``); the harness seeds both anew at the start of every epoch and of every ``derive`` from
    (seed, epoch), so that nothing of them needs to be saved. ``autocast()``: the precision of a forward pass.
    ``score(archs, fresh)``: mean probability of the right class, in paper variants accuracy, float64 ``[n]`` in [0, 1],
    of architectures ``[n]`` with the shared weights, without gradients, on one batch of validation images: the same for
    all, or with ``fresh`` another for each. ``side``: pixels of the images. ``domains``: how many the images that train
    come from; 0 where they have none.
    """

    space: Space
    dataset: str
    seed: int
    epochs: int
    net: Supernet
    device: torch.device
    rng: np.random.Generator
    generator: torch.Generator
    autocast: Callable[[], AbstractContextManager[Any]]
    score: Callable[[ArrayLike, bool], Floats]
    classes: tuple[str, ...]
    difficulty: Callable[[int], Floats]
    side: int = 32
    domains: int = 0


@dataclass(frozen=True)
class Step:
    """One step of an epoch: a batch for the shared weights and one for the architecture.

    ``*_images``: float ``[batch, 3, side, side]``, augmented and normalised; ``*_labels``: int64 ``[batch]``;
    ``*_domains``: int64 ``[batch]``, None where images have none.
    ``epoch``, ``step``: counted from 0; ``steps``: of one epoch. ``optimiser``: of the shared weights, with the step's
    learning rate set (second-order DARTS looks one step ahead with it).
    """

    weight_images: torch.Tensor
    weight_labels: torch.Tensor
    arch_images: torch.Tensor
    arch_labels: torch.Tensor
    epoch: int
    step: int
    steps: int
    optimiser: torch.optim.SGD
    weight_domains: torch.Tensor | None = None
    arch_domains: torch.Tensor | None = None


class OneShot:
    """An algorithm that searches by weight sharing; settings are keyword-only arguments of ``__init__``.

    Draw only from ``task.rng`` and ``task.generator``.
    """

    #: whether ``derive`` scores architectures on images, which takes seconds: the harness then asks for it less often
    derives_by_scoring = False

    def __init__(self, task: OneShotTask) -> None:
        self.task = task
        self.space = task.space
        self.net = task.net

    def taught(self, epoch: int) -> NDArray[np.bool_] | None:
        """Say which classes the images of an epoch are of, bool ``[classes]``, two at least; None for all, the default.

        The same answer whenever asked about an epoch that has begun. Only those classes are answers then.
        """
        return None

    def passes(self, epoch: int) -> int:
        """Say how often an epoch goes through the images that train weights; once by default."""
        return 1

    def falling(self, epoch: int) -> tuple[int, int]:
        """Say over which epochs, that one among them, the learning rate falls once: first, and behind the last; all."""
        return 0, self.task.epochs

    def gates(self, step: Step) -> Gates:
        """Say which operations or widths the shared weights are trained through in this step."""
        raise NotImplementedError(f"{type(self).__name__}.gates is missing: return the gates of a weight step")

    def images(self, step: Step) -> tuple[torch.Tensor, torch.Tensor]:
        """What the shared weights are trained on in this step, images and labels; by default the step's for weights.

        Asked after ``gates``. Images may come with a graph: the loss of the weight step is then carried back through
        it, to whatever made them.
        """
        return step.weight_images, step.weight_labels

    def penalty(self, step: Step) -> torch.Tensor | None:
        """What is added to the loss of a weight step, a number with its graph; None, the default, for nothing.

        Asked after the forward pass through what ``gates`` returned. Its gradient reaches the algorithm's own
        parameters in the same backward pass.
        """
        return None

    def search_step(self, step: Step) -> dict[str, float]:
        """Learn about architectures, after the weight step; return numbers to log. The default learns nothing."""
        return {}

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Do what is done once an epoch. Return numbers worth logging. The default does nothing."""
        return {}

    def remark(self) -> str:
        """A few words for the line of the epoch that ``end_epoch`` ended; none by default."""
        return ""

    def derive(self) -> Any:
        """Return the architecture that would be the answer now. Changes nothing of the search.

        Its index where the space has indices, else its choices ``[positions]``.
        """
        raise NotImplementedError(f"{type(self).__name__}.derive is missing: return an architecture")

    def probabilities(self) -> Floats | None:
        """The distribution over options, float64 ``[positions, options]``, or None where there is none."""
        return None

    def surviving(self) -> NDArray[np.bool_] | None:
        """Which options are still in play, bool ``[positions, options]``, or None where none is ever dropped."""
        return None

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold: tensors, numbers, strings, lists and dictionaries of them. Not the network."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from ``state()``."""

    def trained_parameters(self) -> Iterable[torch.Tensor]:
        """Parameters that the algorithm trains itself, to be counted and checked for NaN. The default: none."""
        return ()
