"""Proxy training of a convolutional cell on images (docs/reproduction/autoshrink.md#proxy-training)."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from nasharness.errors import UsageError
from nasharness.images import ImageSet
from nasharness.nets.shrinkcnn import ShrinkCNN
from nasharness.spaces.shrink import Graph
from nasharness.spaces.shrink_macro import counts, penalty, search_macro
from nasharness.training.batches import DeviceImages
from nasharness.training.device import autocast, guarded
from nasharness.training.proxy_search.randomness import DATA, seed_of
from nasharness.training.proxy_search.settings import ImageSettings
from nasharness.training.proxy_search.shrink import Job, Outcome

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass
class ImageProxy:
    """What a training needs; can be sent to another process.

    ``train``, ``val``: images uint8 ``[n, 3, side, side]`` and labels ``[n]``. ``note``: what was drawn, for people.
    """

    settings: ImageSettings
    seed: int
    train: tuple[Pixels, Labels]
    val: tuple[Pixels, Labels]
    classes: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    device: str
    precision: str
    note: str

    quality = "accuracy"
    unit = "MACs"

    @classmethod
    def make(cls, images: ImageSet, settings: ImageSettings, seed: int, device: str, precision: str) -> ImageProxy:
        """Draw the proxy's images. Raises UsageError where there are too few of a class."""
        rng = np.random.default_rng([seed, DATA])
        whole = (images.train_x, images.train_y)
        tested = settings.validation == "test"
        chosen, judging = [], []
        for label in range(images.classes):
            here = np.flatnonzero(images.train_y == label)
            there = np.flatnonzero(images.test_y == label) if tested else here
            chosen.append(_draw(here, settings.train_per_class, label, "train", settings, rng))
            left = there if tested else np.setdiff1d(here, chosen[-1])
            judging.append(_draw(left, settings.val_per_class, label, "val", settings, rng))
        train, val = np.concatenate(chosen), np.concatenate(judging)
        if settings.batch > len(train):
            fits = max(2, len(train) // 4)
            raise UsageError(f"batch = {settings.batch}: there are {len(train):,} proxy images; try --set batch={fits}")
        source = (images.test_x, images.test_y) if tested else whole
        how = "with replacement" if settings.replacement else "without replacement"
        note = f"{len(train):,} training images train and {len(val):,} {settings.validation} images judge, drawn {how}"
        return cls(
            settings, seed, (whole[0][train], whole[1][train]), (source[0][val], source[1][val]),
            images.classes, images.mean, images.std, device, precision, note,
        )  # fmt: skip

    @property
    def side(self) -> int:
        """Side of the images."""
        return int(self.train[0].shape[-1])

    def cost(self, graph: Graph) -> float:
        """MACs of the proxy network for one image."""
        return counts(graph, search_macro(side=self.side), self.classes).macs

    def params(self, graph: Graph) -> int:
        """Parameters of the proxy network, batch norm included."""
        return counts(graph, search_macro(side=self.side), self.classes).trained

    def score(self, value: float, cost: float) -> float:
        """Accuracy less what the cost takes off it."""
        return value - penalty(cost, self.settings.cost_weight)

    def run(self, job: Job) -> Outcome:
        """Train one network from scratch."""
        with guarded("--jobs, or --set batch"):
            return _Training(self, job).run()


class _Training:
    """One candidate's training."""

    def __init__(self, proxy: ImageProxy, job: Job) -> None:
        self.proxy, self.settings = proxy, proxy.settings
        self.device = torch.device(proxy.device)
        seed = seed_of(proxy.seed, job, paired=proxy.settings.paired)
        # the weights' stream and the data's are apart: what one draws does not shift the other
        weights = torch.Generator().manual_seed(seed)
        self.order = torch.Generator(self.device).manual_seed(seed + 1)
        macro = search_macro(side=proxy.side)
        self.net = ShrinkCNN(job.graph, macro, proxy.classes, generator=weights).to(self.device)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.train_images = DeviceImages(*proxy.train, proxy.mean, proxy.std, self.device)
        self.val_images = DeviceImages(*proxy.val, proxy.mean, proxy.std, self.device)
        self.optimiser = torch.optim.Adam(self._groups(), lr=self.settings.lr, eps=1e-8)

    def _groups(self) -> list[dict[str, object]]:
        """Weight decay on kernels of convolutions and classifier; none on depthwise kernels, batch norm, biases."""
        kinds: dict[str, list[nn.Parameter]] = {"kernel": [], "projection": [], "free": []}
        for name, parameter in self.net.named_parameters():
            depthwise = parameter.dim() == 4 and parameter.shape[1] == 1
            kind = "free" if parameter.dim() == 1 or depthwise else "projection" if ".projection." in name else "kernel"
            kinds[kind].append(parameter)
        decay = {"kernel": self.settings.decay, "projection": self.settings.projection_decay, "free": 0.0}
        return [{"params": kinds[kind], "weight_decay": decay[kind]} for kind in kinds if kinds[kind]]

    def run(self) -> Outcome:
        began = time.perf_counter()
        curve: list[float] = []
        stopped = ""
        for epoch in range(self.settings.epochs):
            train_loss = self._epoch()
            accuracy, val_loss = self._validate()
            curve.append(accuracy)
            stopped = self._stop(epoch, curve, train_loss, val_loss)
            if stopped:
                break
        # the best epoch stays what it was, whatever came after it, so that the official rule has no NaN here
        lost = stopped.startswith("diverged") and self.settings.average > 0
        value = math.nan if lost else _value(curve, self.settings.average)
        return Outcome(value, tuple(curve), stopped, time.perf_counter() - began)

    def _epoch(self) -> float:
        """Train one epoch; return its training loss, under ``official`` the running one that its rules look at."""
        self.net.train()
        official = self.settings.stops == "official"
        losses: list[Tensor] = []
        running_loss = running_accuracy = math.nan
        for images, labels in self.train_images.batches(self.settings.batch, self.order, augment=False, drop_last=True):
            with autocast(self.device, self.proxy.precision):
                logits = self.net(images)
            loss = functional.cross_entropy(logits.float(), labels)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            losses.append(loss.detach())
            if official:  # moving averages that begin anew, with the first batch, in every epoch
                # (docs/reproduction/autoshrink.md#q5)
                now = float(losses[-1])
                right = float((logits.argmax(1) == labels).float().mean())
                running_loss = now if math.isnan(running_loss) else 0.99 * running_loss + 0.01 * now
                running_accuracy = right if math.isnan(running_accuracy) else 0.99 * running_accuracy + 0.01 * right
                if running_accuracy > 0.98:
                    break
        return running_loss if official else float(torch.stack(losses).mean())

    @torch.no_grad()
    def _validate(self) -> tuple[float, float]:
        """Accuracy as a fraction, and loss, of the judging images."""
        self.net.eval()
        right = torch.zeros((), dtype=torch.int64, device=self.device)
        total = torch.zeros((), device=self.device)
        for images, labels in self.val_images.batches(500, shuffle=False, augment=False):
            with autocast(self.device, self.proxy.precision):
                logits = self.net(images).float()
            right += (logits.argmax(1) == labels).sum()
            total += functional.cross_entropy(logits, labels, reduction="sum")
        return int(right) / len(self.val_images), float(total) / len(self.val_images)

    def _stop(self, epoch: int, curve: list[float], train_loss: float, val_loss: float) -> str:
        """Why the training ends here, or nothing."""
        if not math.isfinite(train_loss) or not math.isfinite(val_loss):
            return f"diverged in epoch {epoch + 1}"
        if self.settings.stops == "none" or epoch == self.settings.epochs - 1:
            return ""
        if epoch > 3 and curve[-1] < hopeless(self.proxy.classes):
            return f"hopeless after epoch {epoch + 1}: accuracy hardly above chance"
        if self.settings.stops == "official":
            if len(curve) - 1 - curve.index(max(curve)) >= 5:
                return f"no better epoch in 5, at epoch {epoch + 1}"
            if val_loss > 3 * train_loss:
                return f"validation loss above three times the training loss in epoch {epoch + 1}"
        return ""


def hopeless(classes: int) -> float:
    """Accuracy below which a training is not worth its end: 0.2 with 10 classes, as published.

    Twice chance, but no more than a ninth of the way from chance to 1: with two classes twice chance would be all.
    """
    chance = 1 / classes
    return min(2 * chance, chance + (1 - chance) / 9)


def _value(curve: list[float], average: int) -> float:
    """The best epoch, or the mean of the last ones."""
    return max(curve) if average == 0 else math.fsum(curve[-average:]) / len(curve[-average:])


def _draw(
    here: NDArray[np.intp], count: int, label: int, part: str, settings: ImageSettings, rng: np.random.Generator
) -> NDArray[np.intp]:
    if settings.replacement and len(here):
        return rng.choice(here, size=count, replace=True)
    if len(here) < count:
        raise UsageError(
            f"class {label} has {len(here):,} images left for {part}_per_class = {count:,}; "
            f"lower it, as in --set {part}_per_class={max(1, len(here) // 2)}"
        )
    return rng.permutation(here)[:count]
