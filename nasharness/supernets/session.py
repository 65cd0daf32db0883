"""One run of a one-shot algorithm: the supernet, its optimiser, the images, and epochs that can be resumed exactly.

A session sees no table. Every epoch begins with fresh random streams made from (seed, epoch), so that a checkpoint at
its end, with weights, optimiser and the algorithm's state, is all that a resumed run needs.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional

from nasharness import spaces
from nasharness.errors import DataError, UsageError
from nasharness.images import ImageSet, Split
from nasharness.images.base import Labels
from nasharness.runs import checkpoint
from nasharness.runs.job import Mark
from nasharness.search.one_shot import OneShotTask, Step
from nasharness.search.registry import Record
from nasharness.search.run import named
from nasharness.spaces.base import Floats
from nasharness.spaces.nats import DATASETS
from nasharness.supernets import randomness as streams
from nasharness.supernets.base import Gates, Supernet
from nasharness.supernets.build import build
from nasharness.supernets.difficulty import difficulty
from nasharness.supernets.lessons import Lessons, parted
from nasharness.supernets.ranking import rank
from nasharness.supernets.recipe import SupernetRecipe
from nasharness.training import device as devices
from nasharness.training.batches import DeviceImages
from nasharness.training.distributed import World

#: of checkpoints and of the weights kept along the way
KIND = "supernet"
CHECKPOINT = "checkpoint.pt"
#: on a GPU, losses are looked at so often: each look waits for the device
LOOK_EVERY = 20
#: images at most on which the derived architecture is scored for the trajectory
SIGNAL_IMAGES = 1_000
WHAT_TO_LOWER = "--batch, --channels or --cells"


@dataclass(frozen=True)
class Epoch:
    """What one epoch left.

    ``epoch``: counted from 1. ``loss``, ``accuracy``: of the weight batches, nats and percent. ``entropy``: of the
    architecture's distribution, nats a position, None where there is none. ``left``: options still in play, of how
    many. ``arch``: the derived architecture, ``signal`` its accuracy in percent with the shared weights on held-out
    images; None in an epoch without a derivation. ``seconds``: real ones, since the run began. ``cost``: images times
    the candidates a position that they passed through, since then: in training, to choose, and of the last derivation,
    which is the answer. ``numbers``: what the algorithm wants logged, means over the epoch; ``remark``: what it says of
    the epoch in words. ``held_out``: accuracy of ``arch`` in percent on the domain that is held out: judges put it in,
    no session knows it.
    """

    epoch: int
    epochs: int
    loss: float
    accuracy: float
    lr: float
    entropy: float | None
    left: tuple[int, int] | None
    arch: int | list[int] | None
    signal: float | None
    seconds: float
    images_per_second: float
    cost: float
    numbers: dict[str, float] = field(default_factory=dict)
    remark: str = ""
    held_out: float | None = None

    def row(self) -> dict[str, Any]:
        """Plain values, one level deep: a row of the journal."""
        row: dict[str, Any] = asdict(self)
        numbers, left = row.pop("numbers"), row.pop("left")
        if not self.remark:
            del row["remark"]
        if self.held_out is None:
            del row["held_out"]
        return {**row, "left": None if left is None else left[0], **numbers}


class Session:
    """A run that trains: a job for a driver; or iterate over ``train()``, which yields an Epoch each.

    ``origin``: how the images were asked for, kept in checkpoints so that they can be found again. ``folder``: where
    weights are kept for ranking, every ``keep_every`` epochs. ``began_on``: the kind of device of an earlier part of
    the run, empty where there is none. Raises UsageError
    for an algorithm that does not work on the space, or a batch larger than its images.
    """

    kind = KIND

    def __init__(
        self,
        record: Record,
        settings: Mapping[str, Any],
        *,
        space: str,
        dataset: str,
        images: ImageSet,
        split: Split,
        recipe: SupernetRecipe,
        seed: int,
        device: torch.device,
        precision: str = "auto",
        derive_every: int | None = None,
        origin: Mapping[str, Any] | None = None,
        folder: Path | None = None,
        keep_every: int = 1,
    ) -> None:
        self.record, self.settings, self.recipe, self.seed, self.device = record, dict(settings), recipe, seed, device
        self.space = spaces.get(space)
        record.check_space(self.space)
        if recipe.batch > len(split.weights[0]):
            raise UsageError(f"--batch {recipe.batch}: larger than the images that train weights ({split.note})")
        if len(split.arch[0]) == 0:
            raise UsageError(f"no images judge architectures ({split.note}); set some aside with --validation")
        self.origin = dict(origin or {})
        self.folder, self.keep_every, self.began_on = folder, keep_every, ""
        self.world = World(0, 1, device)
        self.dtype = devices.dtype_of(device, precision)
        self._precision = precision
        self.identity = {
            "algorithm": record.name,
            **{f"--set {key}": value for key, value in self.settings.items()},
            "space": space,
            "dataset": dataset,
            "classes": images.classes,
            "images": images.checksum,
            "split": f"{split.note} ({zlib.crc32(split.arch[0].tobytes()):08x})",
            "seed": seed,
            **recipe.as_dict(),
            "precision": str(self.dtype).removeprefix("torch."),
        }
        with devices.guarded(WHAT_TO_LOWER):
            self.net = build(
                space,
                images.classes,
                channels=recipe.channels,
                cells=recipe.cells,
                side=images.side,
                generator=streams.torch_stream(seed, streams.BEFORE, streams.WEIGHTS),
            ).to(device)
            self.net.published = recipe.published and dataset in DATASETS
            domains = split.domains
            self._weights, self._arch = (
                DeviceImages(x, _joined(y, of), images.mean, images.std, device, flip=images.mirrored)
                for (x, y), of in (
                    (split.weights, None if domains is None else domains.weights),
                    (split.arch, None if domains is None else domains.arch),
                )
            )
        self._lessons = Lessons(
            self._weights, self._arch, images.class_names, size=recipe.batch, judging_size=recipe.validation_batch
        )
        self.optimiser = torch.optim.SGD(
            self.net.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov and recipe.momentum > 0,
            weight_decay=recipe.weight_decay,
        )
        # Every weight is treated alike in every step: one that a step did not use has gradient zero, never none. So
        # its momentum runs out and it decays, as in the published code, whichever others share a parameter with it.
        for weight in self.net.parameters():
            weight.grad = torch.zeros_like(weight)
        self._steps = self._lessons.steps
        self._cost = 0.0
        self.net.register_forward_hook(self._passed)
        self._score_generator = torch.Generator(device=device)
        self.task = OneShotTask(
            space=self.space,
            dataset=dataset,
            seed=seed,
            epochs=recipe.epochs,
            net=self.net,
            device=device,
            rng=streams.numpy_stream(seed, streams.BEFORE, streams.SEARCH),
            generator=streams.torch_stream(seed, streams.BEFORE, streams.SEARCH, device),
            autocast=self._autocast,
            score=self._score,
            side=images.side,
            domains=0 if domains is None else len(domains.sources),
            classes=images.class_names,
            difficulty=self._difficulty,
        )
        with named(record), devices.guarded(WHAT_TO_LOWER):
            self.algorithm = record.build_one_shot(self.task, settings)
        self.derive_every = derive_every or (-(-recipe.epochs // 10) if self.algorithm.derives_by_scoring else 1)
        self.rows: list[Epoch] = []

    # -- checkpoints -----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs: weights, optimiser, algorithm, what was seen so far."""
        with named(self.record):
            algorithm = self.algorithm.state()
        return {
            "net": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "algorithm": algorithm,
            "rows": [asdict(row) for row in self.rows],
            "device": self.device.type,
            "origin": self.origin,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state()``. Raises DataError for a state that does not fit."""
        with checkpoint.fitting("the checkpoint"):
            checkpoint.same_form(state, self.state() | {"origin": {}})
            self.net.load_state_dict(state["net"])
            checkpoint.load_optimiser(self.optimiser, state["optimiser"])
            self.rows = msgspec.convert(state["rows"], list[Epoch])
        self.began_on = str(state["device"])
        with named(self.record):
            self.algorithm.load_state(state["algorithm"])

    def _keep_weights(self) -> None:
        """Write the shared weights alone, which is what ranking architectures takes, where it is time for it."""
        if self.folder is not None and (self.done % self.keep_every == 0 or self.done == self.recipe.epochs):
            state = {"net": self.net.state_dict(), "epoch": self.done, "origin": self.origin}
            checkpoint.save(self.folder / f"epoch-{self.done:05d}.pt", state, kind=KIND, identity=self.identity)

    # -- training --------------------------------------------------------------------------------------------------

    @property
    def done(self) -> int:
        """Epochs that are complete."""
        return len(self.rows)

    @property
    def logged(self) -> int:
        """As `nasharness.runs.job.Job` asks: rows are counted by epoch."""
        return self.done

    def train(self) -> Iterator[Epoch]:
        """Train the epochs that are left; yield after each."""
        return (mark.result for mark in self.steps() if mark.result is not None)

    def steps(self) -> Generator[Mark, None, None]:
        """Train the epochs that are left; yield after each step, and after each epoch, when its state may be kept.

        Raises DataError when the loss is no number any more, naming step and learning rate, and when a GPU's memory is
        too small; whatever the algorithm raises, as one line that says where.
        """
        while self.done < self.recipe.epochs:
            with named(self.record), devices.guarded(WHAT_TO_LOWER):
                row = yield from self._epoch(self.done)
            self.rows.append(row)
            self._keep_weights()
            yield self._mark(0, row=row.row(), step=row.epoch, due=True, result=row)

    def _mark(self, taken: int, **more: Any) -> Mark:
        """So many steps of an epoch are taken."""
        done, total = self.done * self._steps + taken, self.recipe.epochs * self._steps
        return Mark(done, total, f"seed {self.seed}", where=f"in epoch {self.done + (taken > 0)}", **more)

    def _epoch(self, epoch: int) -> Generator[Mark, None, Epoch]:
        began = time.perf_counter()
        self._reseed(epoch, streams.SEARCH, streams.SCORES)
        self._cost = self.rows[-1].cost if self.rows else 0.0
        self._teach(epoch)
        batch, steps = self._lessons.size, self._steps
        self.net.train()
        losses = torch.zeros(steps, device=self.device)
        right = torch.zeros((), device=self.device)
        numbers: dict[str, list[float]] = {}
        looked = 0
        for step, (weights, arch) in enumerate(self._lessons.batches(self.seed, epoch)):
            self._set_rate(self._progress(epoch, step))
            (weight_labels, weight_domains), (arch_labels, arch_domains) = parted(weights[1]), parted(arch[1])
            now = Step(
                weights[0], weight_labels, arch[0], arch_labels, epoch, step, steps, self.optimiser,
                weight_domains, arch_domains,
            )  # fmt: skip
            gates = self.algorithm.gates(now)
            images, labels = self.algorithm.images(now)
            with self._autocast():
                logits = self.net(images, gates)
                loss = functional.cross_entropy(logits.float(), labels)
            penalty = self.algorithm.penalty(now)
            losses[step] = loss.detach()
            right += (logits.detach().argmax(1) == labels).sum()
            if self.device.type == "cpu" or (step + 1) % LOOK_EVERY == 0 or step + 1 == steps:
                self._check(losses, looked, step + 1, epoch)
                looked = step + 1
            self.optimiser.zero_grad(set_to_none=False)  # see above
            (loss if penalty is None else loss + penalty).backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            _collect(numbers, self.algorithm.search_step(now))
            yield self._mark(step + 1)
        means = {key: float(np.mean(values)) for key, values in numbers.items()}
        means |= {key: float(value) for key, value in self.algorithm.end_epoch(epoch).items()}
        self._check_parameters(epoch)
        devices.synchronise(self.device)
        training = time.perf_counter() - began
        last = epoch + 1 == self.recipe.epochs
        derived = signal = None
        if last or (epoch + 1) % self.derive_every == 0:
            before = self._cost
            derived, signal = self._derive(epoch)
            self._cost = self._cost if last else before
        return Epoch(
            epoch=epoch + 1,
            epochs=self.recipe.epochs,
            loss=float(losses.mean()),
            accuracy=100 * float(right) / (steps * batch),
            lr=self.optimiser.param_groups[0]["lr"],
            entropy=entropy(self.algorithm.probabilities()),
            left=_left(self.algorithm.surviving()),
            arch=derived,
            signal=signal,
            seconds=(self.rows[-1].seconds if self.rows else 0.0) + time.perf_counter() - began,
            images_per_second=steps * batch / training,
            cost=self._cost,
            numbers=means,
            remark=self.algorithm.remark(),
        )

    def _teach(self, epoch: int) -> None:
        """Set the classes and the passes of an epoch."""
        taught = self.algorithm.taught(epoch)
        if epoch and not _equal(taught, self.algorithm.taught(epoch - 1)):
            self.optimiser.state.clear()  # momentum of other lessons
        self.net.taught = self._lessons.teach(taught, self.algorithm.passes(epoch))
        self._steps = self._lessons.steps

    def _difficulty(self, epochs: int) -> Floats:
        """``OneShotTask.difficulty``. Raises DataError for a class without images, and where the network diverges."""
        self._lessons.check(np.ones(len(self.task.classes), dtype=np.bool_))
        self._cost += epochs * len(self._weights) + len(self._arch)
        return difficulty(
            self._weights, self._arch, len(self.task.classes), epochs=epochs, seed=self.seed, autocast=self._autocast
        )

    def _passed(self, net: Supernet, inputs: tuple[Tensor, Gates], _: Tensor) -> None:
        """Count what passes through the network in training; `_rated` counts the rest."""
        if net.training:
            self._cost += len(inputs[0]) * inputs[1].computed

    def _derive(self, epoch: int) -> tuple[int | list[int], float]:
        """The architecture that would be the answer now, and its accuracy on held-out images, percent."""
        self._reseed(epoch, streams.DERIVE, streams.DERIVE_SCORES)
        arch = self.algorithm.derive()
        index: int | list[int] = self.space.choices(arch).tolist() if self.space.arch_shape else int(arch)
        if isinstance(index, int) and not 0 <= index < self.space.size:
            raise UsageError(
                f"{self.record.name} derived architecture {arch!r}; expected an index, 0 to {self.space.size - 1}"
            )
        images, labels = next(self._arch.batches(min(SIGNAL_IMAGES, len(self._arch)), shuffle=False, augment=False))
        with self._autocast():
            return index, 100 * float(rank(self.net, [index], [(images, parted(labels)[0])]).accuracy[0])

    def _score(self, archs: ArrayLike, fresh: bool) -> Floats:
        """``OneShotTask.score``."""
        wanted = np.reshape(archs, (-1, *self.space.arch_shape)).astype(np.int64)
        if not fresh:
            return self._rated(*self._lessons.to_score(self._score_generator), wanted)
        return np.array(
            [self._rated(*self._lessons.to_score(self._score_generator), [arch])[0] for arch in wanted],
            dtype=np.float64,
        )

    def _autocast(self) -> AbstractContextManager[object]:
        return devices.autocast(self.device, self._precision)

    def _rated(self, images: Tensor, labels: Tensor, archs: ArrayLike) -> Floats:
        self._cost += len(images) * len(np.asarray(archs))
        with self._autocast():
            return self.net.score(images, labels, archs)

    def _reseed(self, epoch: int, purpose: int, scores: int) -> None:
        streams.reseed_numpy(self.task.rng, self.seed, epoch, purpose)
        streams.reseed_torch(self.task.generator, self.seed, epoch, purpose)
        streams.reseed_torch(self._score_generator, self.seed, epoch, scores)

    def _progress(self, epoch: int, step: int) -> float:
        """Share of the fall of the learning rate that lies behind."""
        first, end = self.algorithm.falling(epoch)
        return ((epoch - first) * self._steps + step) / ((end - first) * self._steps)

    def _set_rate(self, done: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate(done)

    def _check(self, losses: Tensor, begin: int, end: int, epoch: int) -> None:
        """Raise DataError where a loss of the steps ``begin`` to ``end`` is no number."""
        bad = (~torch.isfinite(losses[begin:end])).nonzero()
        if len(bad):
            step = begin + int(bad[0])
            raise self._diverged(f"the loss is {float(losses[step])}", epoch, step)

    def _check_parameters(self, epoch: int) -> None:
        """Raise DataError where a weight or a parameter of the architecture is no number: it must not be kept."""
        for what, tensors in (
            ("a shared weight", self.net.parameters()),
            ("an architecture parameter", self.algorithm.trained_parameters()),
        ):
            if any(not bool(torch.isfinite(tensor).all()) for tensor in tensors):
                raise self._diverged(f"{what} is no finite number", epoch, self._steps - 1)

    def _diverged(self, what: str, epoch: int, step: int) -> DataError:
        rate = self.recipe.rate(self._progress(epoch, step))
        return DataError(
            f"{self.record.name}, seed {self.seed}: {what} in epoch {epoch + 1}, step {step + 1} of {self._steps}, at "
            f"learning rate {rate:.4g}; try a lower --lr"
        )


def _joined(labels: Labels, domains: Labels | None) -> Labels:
    """Labels, or labels and domains ``[n, 2]``, which batches then bring together."""
    return labels if domains is None else np.stack([labels, domains], axis=1)


def _equal(one: NDArray[np.bool_] | None, other: NDArray[np.bool_] | None) -> bool:
    """Whether two epochs are of the same classes."""
    return one is other if one is None or other is None else bool(np.array_equal(one, other))


def entropy(probabilities: Floats | None) -> float | None:
    """Mean over positions of the entropy of ``probabilities`` ``[positions, options]``, nats; None for None."""
    if probabilities is None:
        return None
    p = np.asarray(probabilities, dtype=np.float64)
    logs = np.log(p, where=p > 0, out=np.zeros_like(p))
    return float(-(p * logs).sum(axis=-1).mean())


def _left(surviving: Any) -> tuple[int, int] | None:
    return None if surviving is None else (int(np.sum(surviving)), int(np.size(surviving)))


def _collect(numbers: dict[str, list[float]], found: Mapping[str, float]) -> None:
    for key, value in found.items():
        numbers.setdefault(key, []).append(float(value))
