"""One training step on images: what must be in a checkpoint is here, and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nasharness.runs.checkpoint import load_optimiser, same_form
from nasharness.training import optimisers
from nasharness.training.device import autocast, dtype_of
from nasharness.training.distributed import World, wrap
from nasharness.training.imagenet.ema import MovingAverage
from nasharness.training.imagenet.statistics import Parts
from nasharness.training.watch import LossWatch


class Batch(NamedTuple):
    """Inputs float [n, 3, size, size], labels int64 [n] and weights float [n] (0: no such image), on the device."""

    inputs: Tensor
    labels: Tensor
    weights: Tensor


class Trainer:
    """Network, optimiser and moving average, and the step that moves them on.

    Args:
        network: on the device of ``world``; its weights are equal in all processes.
        optimiser: over the network's weights.
        world: this process's place. Gradients are the mean over all processes' images.
        classes: outputs, for :class:`LossWatch`.
        smoothing, clip, mixup, cutmix: as in a :class:`~nasharness.training.imagenet.recipes.ImageRecipe`. Mixup and
            CutMix pair images of one part of one process's share.
        ema: the moving average to keep, if any.
        accumulate: parts of a process's batch, computed one after the other. What is drawn depends on a part's place
            among those of all processes.
        precision, compile: of the forward pass; in fp16 the loss is scaled, and a step that overflows is left out.
        batch_norm: ``sync`` or ``local``.
        seed: of mixup and of whatever the network draws (dropout).
    """

    def __init__(
        self,
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        world: World,
        *,
        classes: int,
        smoothing: float = 0.0,
        clip: float = 0.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        ema: MovingAverage | None = None,
        accumulate: int = 1,
        precision: str = "auto",
        compile: bool = False,  # noqa: A002 - torch's word for it
        batch_norm: str = "local",
        seed: int = 0,
    ) -> None:
        self.network, self.optimiser, self.world, self.ema = network, optimiser, world, ema
        self.smoothing, self.clip, self.accumulate = smoothing, clip, accumulate
        self.mixup, self.cutmix = mixup, cutmix
        self.seed = seed
        self._shared = wrap(network, world, batch_norm=batch_norm)
        self.forward: nn.Module = torch.compile(self._shared) if compile else self._shared  # type: ignore[assignment]
        dtype = dtype_of(world.device, precision, scaled=True)
        self.precision = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[dtype]
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=dtype is torch.float16)
        self._weights = [weight for weight in network.parameters() if weight.requires_grad]
        self._draws = any("drop" in type(module).__name__.lower() for module in network.modules())
        self.forward.train()
        self.watch = LossWatch(world, classes)
        self.step = 0

    def advance(self, batches: Iterator[Batch], lr: float) -> int:
        """Take ``accumulate`` batches and make one step at rate ``lr``; return how many images this process used.

        An image of weight 0 contributes nothing: the sum over images is divided by the size of the batch all the same.
        """
        optimisers.set_lr(self.optimiser, lr)
        self.optimiser.zero_grad(set_to_none=True)
        parts: list[Tensor] = []
        images = 0
        seen = Parts(self.network, self.accumulate)
        for part in range(self.accumulate):
            batch = next(batches)
            images += len(batch.labels)
            last = part == self.accumulate - 1
            place = self.world.rank * self.accumulate + part
            shared = self.world.size == 1 or last
            with self._own_randomness(place), contextlib.nullcontext() if shared else self._shared.no_sync():  # type: ignore[operator]
                loss = self._loss(batch, place) / self.accumulate
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            seen(part)
            parts.append(loss.detach())
        if self.clip:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self._weights, self.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.step += 1
        if self.ema is not None:
            self.ema.update(images * self.world.size)
        self.watch.add(torch.stack(parts).sum())
        return images

    def _loss(self, batch: Batch, part: int) -> Tensor:
        inputs, share = self._mixed(batch.inputs, part)
        with autocast(self.world.device, self.precision, scaled=True):
            logits = self.forward(inputs)
        if share == 1:
            return self._mean(logits, batch.labels, batch.weights)
        weights = batch.weights * batch.weights.flip(0)
        other = self._mean(logits, batch.labels.flip(0), weights)
        return share * self._mean(logits, batch.labels, weights) + (1 - share) * other

    def _mixed(self, inputs: Tensor, part: int) -> tuple[Tensor, float]:
        """Mix the images with those in reversed order; also return what their own labels still count for."""
        if not (self.mixup or self.cutmix):
            return inputs, 1.0
        rng = np.random.default_rng((self.seed, self.step, part))
        cut = self.cutmix and not (self.mixup and rng.random() < 0.5)
        share = float(rng.beta(self.cutmix, self.cutmix) if cut else rng.beta(self.mixup, self.mixup))
        if not cut:
            return inputs * share + inputs.flip(0) * (1 - share), share
        # Yun et al., CutMix, ICCV 2019: a rectangle around any place, cut at the border; its area decides
        ends = []
        for side in inputs.shape[-2:]:
            centre, half = int(rng.integers(side)), int(side * (1 - share) ** 0.5) // 2
            ends.append(slice(max(0, centre - half), min(side, centre + half)))
        mixed = inputs.clone()
        mixed[..., ends[0], ends[1]] = inputs.flip(0)[..., ends[0], ends[1]]
        area = (ends[0].stop - ends[0].start) * (ends[1].stop - ends[1].start)
        return mixed, 1 - area / (inputs.shape[-2] * inputs.shape[-1])

    def _mean(self, logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        logits = logits if logits.dtype == torch.float64 else logits.float()
        losses = functional.cross_entropy(logits, labels, reduction="none", label_smoothing=self.smoothing)
        return torch.where(weights > 0, losses * weights, torch.zeros_like(losses)).mean()

    def _own_randomness(self, part: int) -> contextlib.AbstractContextManager[Any]:
        """Let dropout draw from (seed, step, part), whatever was drawn before, and leave the global state as it was."""
        return _seeded(self.world, (self.seed, self.step, part)) if self._draws else contextlib.nullcontext()

    def state_dict(self) -> dict[str, Any]:
        """Return all that the rest of the run depends on: call :meth:`LossWatch.look` first."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "step": self.step,
            "loss": (self.watch.total, self.watch.count),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`state_dict` gave, in every process."""
        same_form(state, self.state_dict())
        self.network.load_state_dict(state["network"])
        load_optimiser(self.optimiser, state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        self.step = int(state["step"])
        self.watch.total, self.watch.count = state["loss"]


@contextlib.contextmanager
def _seeded(world: World, key: tuple[int, ...]) -> Iterator[None]:
    devices = [world.device] if world.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed(seed)
        yield
