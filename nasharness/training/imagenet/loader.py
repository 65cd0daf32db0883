"""The order of images and batches of them: a function of the seed and the step, so that any step can be the next."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from nasharness import storage
from nasharness.errors import DataError, UsageError
from nasharness.runs.signals import ignore_in_worker
from nasharness.storage import writing
from nasharness.training.distributed import World
from nasharness.training.imagenet.augment import COLUMNS, draw
from nasharness.training.imagenet.decode import BadImage, central, decode
from nasharness.training.imagenet.randaugment import Operation, apply
from nasharness.training.imagenet.recipes import ImageRecipe
from nasharness.training.imagenet.sources import ImageSource


class Raw(NamedTuple):
    """A batch on the CPU: pixels uint8 [n, size, size, 3], labels int64 [n], numbers float32 [n, COLUMNS] as drawn for
    augmentation, weights float32 [n] (0: not to be counted), and (name, reason) of every image that could not be read.
    """  # noqa: D205, D209 - attributes of a tuple

    pixels: Tensor
    labels: Tensor
    numbers: Tensor
    weights: Tensor
    bad: list[tuple[str, str]]


@dataclass(frozen=True)
class Order:
    """Which images make up a step: a new permutation each epoch, from (seed, epoch).

    The last step of an epoch is filled up with the epoch's first images, so that every step has ``batch`` of them;
    steps count from 0, epochs from 1.
    """

    images: int
    batch: int
    seed: int

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return -(-self.images // self.batch)

    def epoch(self, step: int) -> int:
        """Return the epoch that a step belongs to."""
        return step // self.steps + 1

    def permutation(self, epoch: int) -> npt.NDArray[np.int64]:
        """Return the order of an epoch, filled up to whole steps: int64 [steps * batch]."""
        order = np.random.default_rng((self.seed, epoch)).permutation(self.images)
        return np.resize(order, self.steps * self.batch)


class Steps(Sampler[list[tuple[int, int]]]):
    """Lists of (epoch, image) for one process, from step ``first`` to ``last``, ``accumulate`` lists a step.

    Of the ``size * accumulate`` parts of a step's batch each has every so-many-th image; a process takes those from
    ``rank * accumulate`` on, so that the parts are the same however many processes share them.
    """

    def __init__(self, order: Order, first: int, last: int, *, rank: int, size: int, accumulate: int) -> None:
        if order.batch % (size * accumulate):
            raise UsageError(
                f"--batch {order.batch} cannot be shared evenly by {size} process(es) x --accumulate {accumulate}; "
                f"take a multiple of {size * accumulate}"
            )
        self.order, self.first, self.last = order, first, last
        self.rank, self.size, self.accumulate = rank, size, accumulate

    def __len__(self) -> int:
        return (self.last - self.first) * self.accumulate

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        known, permutation = 0, np.empty(0, np.int64)
        for step in range(self.first, self.last):
            epoch, place = self.order.epoch(step), step % self.order.steps * self.order.batch
            if epoch != known:
                known, permutation = epoch, self.order.permutation(epoch)
            batch = permutation[place : place + self.order.batch]
            for part in range(self.rank * self.accumulate, (self.rank + 1) * self.accumulate):
                yield [(epoch, int(image)) for image in batch[part :: self.size * self.accumulate]]


Item = tuple[npt.NDArray[np.uint8], int, npt.NDArray[np.float32], float, str, str]


class Images(Dataset[Item]):
    """Decoded crops. ``training``: as the recipe draws them for (epoch, image); else the centre, epochs ignored.

    ``shift``: added to labels (1 when the network's class 0 is background). An image that cannot be read comes as zeros
    with weight 0 and the reason.
    """

    def __init__(
        self, source: ImageSource, recipe: ImageRecipe, *, size: int, seed: int, training: bool, shift: int = 0
    ) -> None:
        self.source, self.recipe, self.size, self.seed = source, recipe, size, seed
        self.training, self.shift = training, shift

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, place: tuple[int, int]) -> Item:
        epoch, index = place
        numbers = np.zeros(COLUMNS, np.float32)
        crop, resizer = central(self.recipe.eval_crop, square=self.recipe.eval_square), self.recipe.eval_resizer
        operations: tuple[Operation, ...] = ()
        if self.training:
            drawn = draw(self.recipe.augment, self.size, self.seed, epoch, index)
            crop, resizer, numbers, operations = drawn.crop, drawn.resizer, drawn.numbers, drawn.operations
        label = int(self.source.labels[index]) + self.shift
        try:
            pixels = decode(self.source.read(index), crop, self.size, resizer)
            return apply(pixels, operations) if operations else pixels, label, numbers, 1.0, "", ""
        except BadImage as error:
            reason = str(error)
        except OSError as error:
            reason = storage.reason(error)
        return np.zeros((self.size, self.size, 3), np.uint8), label, numbers, 0.0, self.source.name(index), reason


def collate(items: Sequence[Item]) -> Raw:
    """Stack what :class:`Images` gives."""
    pixels, labels, numbers, weights, names, reasons = zip(*items, strict=True)
    bad = [(name, reason) for name, reason in zip(names, reasons, strict=True) if name]
    return Raw(
        torch.from_numpy(np.stack(pixels)),
        torch.tensor(labels, dtype=torch.int64),
        torch.from_numpy(np.stack(numbers)),
        torch.tensor(weights, dtype=torch.float32),
        bad,
    )


def training_batches(images: Images, steps: Steps, *, workers: int, pin: bool) -> Iterator[Raw]:
    """Return batches in the order of ``steps``, decoded by ``workers`` processes (0: in this one)."""
    return iter(_loader(images, steps, workers, pin)) if len(steps) else iter(())


def validation_batches(
    images: Images, *, batch: int, rank: int, size: int, workers: int, pin: bool
) -> Iterator[Raw]:  # fmt: skip
    """Return every ``size``-th image from ``rank`` on, once; the last batch is filled up with weight 0.

    Over all processes every image has weight 1 exactly once, so that sums over them are exact.
    """
    mine = [(0, index) for index in range(rank, len(images), size)]
    batches = [mine[at : at + batch] for at in range(0, len(mine), batch)]
    for raw in _loader(images, batches, workers, pin):
        short = batch - len(raw.labels)
        pixels, labels, numbers, weights = (_filled(tensor, short) if short else tensor for tensor in raw[:4])
        yield Raw(pixels, labels, numbers, weights, raw.bad)


def _filled(tensor: Tensor, short: int) -> Tensor:
    return torch.cat([tensor, tensor.new_zeros(short, *tensor.shape[1:])])


def _loader(images: Images, batches: Any, workers: int, pin: bool) -> DataLoader[Any]:
    return DataLoader(
        images,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=ignore_in_worker if workers else None,
        pin_memory=pin,
        prefetch_factor=4 if workers else None,
        generator=torch.Generator(),  # else the loader would draw from the global one
        multiprocessing_context=_context() if workers else None,
    )


def _context() -> str:
    """Forked workers share the listing of a million images instead of copying it."""
    return "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"


class BadImages:
    """Images that could not be read. ``policy``: ``skip`` up to ``limit`` different ones, or ``fail`` at the first.

    Raises:
        UsageError: the policy is neither.
    """

    def __init__(self, policy: str = "skip", limit: int = 50, path: Path | None = None) -> None:
        if policy not in ("skip", "fail"):
            raise UsageError(f"--bad-images {policy}: expected skip or fail")
        if limit < 0:
            raise UsageError(f"--bad-limit {limit}: expected at least 0")
        self.policy, self.limit, self.path = policy, limit, path
        self.found: dict[str, str] = {}

    def add(self, bad: Sequence[tuple[str, str]]) -> None:
        """Take in (name, reason) of images that a batch is short of.

        Raises:
            DataError: one is one too many.
        """
        for name, reason in bad:
            if name in self.found:
                continue
            self.found[name] = reason
            if self.policy == "fail":
                raise DataError(f"{name} cannot be read: {reason}; mend or delete it, or use --bad-images skip")
            if self.path is not None:
                self._write(self.path, f"{name}\t{reason}\n")
            if len(self.found) > self.limit:
                raise DataError(
                    f"{len(self.found)} images cannot be read, more than --bad-limit {self.limit} allows; the last is "
                    f"{name}: {reason}" + (f" (all: {self.path})" if self.path is not None else "")
                )

    def share(self, world: World) -> dict[str, str]:
        """Tell every process what the others have met, and return all of it; all processes call it together.

        Raises:
            DataError: all together are too many.
        """
        for found in world.gather(self.found):
            self.add(list(found.items()))
        return self.found

    @staticmethod
    def _write(path: Path, line: str) -> None:
        with (
            writing(path, "free some space and resume", DataError),
            path.open("a", encoding="utf-8", errors="backslashreplace") as file,  # names may be any bytes
        ):
            file.write(line)
