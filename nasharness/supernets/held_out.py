"""The judge of images in domains: accuracy on the one that is held out. Outside of every session, as the table's judge.

An image is judged alone: normalisation has the statistics of source images, where a supernet normalises by the batch.
With those of the target's batch an answer would depend on the other images of the domain that nobody has seen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from nasharness.images import ImageSet, Split
from nasharness.runs.job import Mark
from nasharness.supernets.base import Supernet, evaluating
from nasharness.supernets.session import Epoch, Session
from nasharness.training.batches import DeviceImages

#: source images whose statistics normalise, and images judged at a time
REFERENCE, BATCH = 512, 512


class Statistics(TorchFunctionMode):
    """Keeps the mean and variance that each normalisation of a forward pass sees, and normalises later passes by them.

    ``keep()``: before the pass that is kept; ``use()``: before every other one, which must do the same normalisations
    in the same order.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._place: int | None = None

    def keep(self) -> None:
        """Forget what is known; the next pass is kept."""
        self._kept, self._place = [], None

    def use(self) -> None:
        """The next pass is normalised by what is kept."""
        self._place = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        return self._normalised(*args, **given) if func is functional.batch_norm else func(*args, **given)

    def _normalised(
        self,
        x: Tensor,
        mean: Tensor | None,
        variance: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        """``functional.batch_norm``, whatever statistics it was asked for."""
        if self._place is None:
            seen = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
            self._kept.append(seen)
        else:
            seen = self._kept[self._place]
            self._place += 1
        return functional.batch_norm(x, *seen, weight, bias, False, momentum, eps)


class HeldOut:
    """The images of the target domain, and source images to normalise by, on ``device``; ``split`` has domains."""

    def __init__(self, images: ImageSet, split: Split, device: torch.device) -> None:
        rows = np.linspace(0, len(split.weights[1]) - 1, min(REFERENCE, len(split.weights[1]))).astype(np.intp)
        self._target, self._reference = (
            DeviceImages(x, y, images.mean, images.std, device, flip=False)
            for x, y in (split.test, (split.weights[0][rows], split.weights[1][rows]))
        )

    @torch.inference_mode()
    def accuracy(self, net: Supernet, arch: Any) -> float:
        """Accuracy in percent, float32, of an architecture, an index or choices, on the target domain."""
        gates = net.gates_of(arch)
        right = 0
        with evaluating(net), Statistics() as statistics:
            statistics.keep()
            for images, _ in self._reference.batches(REFERENCE, shuffle=False, augment=False):
                net(images, gates)
            for images, labels in self._target.batches(BATCH, shuffle=False, augment=False):
                statistics.use()
                right += int((net(images, gates).argmax(1) == labels).sum())
        return 100 * right / len(self._target)


class Judged:
    """A session as a job whose epochs carry the accuracy on what is held out. The session knows nothing of it."""

    def __init__(self, session: Session, judge: HeldOut) -> None:
        self._session, self._judge = session, judge
        self.kind, self.identity, self.world = session.kind, session.identity, session.world
        self._known: list[float | None] = []

    @property
    def logged(self) -> int:
        """As `nasharness.runs.job.Job` asks."""
        return self._session.logged

    @property
    def rows(self) -> list[Epoch]:
        """The session's epochs, judged."""
        return [replace(row, held_out=known) for row, known in zip(self._session.rows, self._known, strict=True)]

    def state(self) -> dict[str, Any]:
        """The session's, and what the judge said."""
        return self._session.state() | {"held_out": list(self._known)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state()``."""
        known = msgspec.convert(state["held_out"], list[float | None])
        self._session.load_state({name: value for name, value in state.items() if name != "held_out"})
        if len(known) != self._session.done:
            raise ValueError("as many judgements as epochs")
        self._known = known

    def steps(self) -> Generator[Mark, None, None]:
        """The session's steps; what it derives is judged after every epoch."""
        with contextlib.closing(self._session.steps()) as marks:
            for mark in marks:
                if mark.result is None:
                    yield mark
                    continue
                arch = mark.result.arch
                known = None if arch is None else self._judge.accuracy(self._session.net, arch)
                self._known.append(known)
                row = replace(mark.result, held_out=known)
                yield replace(mark, result=row, row=row.row())
