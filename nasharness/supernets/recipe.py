"""How a supernet is trained: what the harness decides, and no algorithm."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from nasharness import spaces
from nasharness.errors import UsageError, whole
from nasharness.nets.build import MOST
from nasharness.search.one_shot import NATS_ONE_SHOT
from nasharness.search.registry import Record
from nasharness.supernets.build import STEMS, stems_lr

#: Good on two processor cores within minutes: one cell a stage instead of five, and a learning rate at which shared
#: weights rank cells after tens of epochs instead of hundreds. Architectures are scored on half as many images, by a
#: less noisy measure (see `Supernet.published`). The rest is NATS-Bench's.
FAST = dict(NATS_ONE_SHOT) | {"cells": 1, "epochs": 75, "lr": 0.1, "lr_end": 0.0, "validation_batch": 256}


@dataclass(frozen=True)
class SupernetRecipe:
    """SGD on the shared weights, its rate ``lr`` falling to ``lr_end`` along a cosine, step by step.

    ``published``: whether that is as NATS-Bench did it, whose rate falls from epoch to epoch and whose architectures
    are scored by accuracy (`Supernet.published`).
    ``channels``, ``cells``: of the supernet; ``channels`` of tss, and of the stem of mobile; sss has
    its widths. ``batch``: images for the
    weights, and as many for the architecture. ``validation_batch``: images that score an architecture.
    """

    channels: int
    cells: int
    epochs: int
    batch: int
    validation_batch: int
    lr: float
    lr_end: float
    momentum: float
    nesterov: bool
    weight_decay: float
    published: bool

    @classmethod
    def of(cls, record: Record, space: str, **changes: Any) -> SupernetRecipe:
        """The recipe of NATS-Bench for what `register` calls ``published``, else FAST; ``changes`` that are not None.

        A stage has one cell in both where widths are searched. Raises UsageError for a value that cannot be.
        """
        recipe = dict(NATS_ONE_SHOT if record.published else FAST) | {"published": record.published}
        if spaces.get(space).ordinal:
            recipe["cells"] = 1
        if space in STEMS:
            recipe |= {"cells": 1, "channels": STEMS[space][record.published]}
        given = {key: value for key, value in changes.items() if value is not None}
        if space in STEMS:
            batch = _checked("batch", given.get("batch", recipe["batch"]))
            recipe["lr"] = min(recipe["lr"], stems_lr(space, batch))
        if "lr" in given and "lr_end" not in given:  # the end that was chosen for another beginning
            given["lr_end"] = min(recipe["lr_end"], float(given["lr"]))
        recipe |= {key: _checked(key, value) for key, value in given.items()}
        return cls(**recipe)

    def rate(self, done: float) -> float:
        """The learning rate after the share ``done`` in [0, 1] of all steps."""
        if self.published:
            done = math.floor(done * self.epochs + 1e-9) / self.epochs  # a share of steps is no whole binary fraction
        return self.lr_end + (self.lr - self.lr_end) * (1 + math.cos(math.pi * done)) / 2

    def as_dict(self) -> dict[str, Any]:
        """Every field by its name."""
        return asdict(self)


_WHOLE = {field.name for field in fields(SupernetRecipe) if field.type == "int"}


def _checked(key: str, value: Any) -> Any:
    option = "--" + key.replace("_", "-")
    if key in _WHOLE:
        return whole(option, value, 1, MOST.get(key, 2**62))
    if key == "nesterov":
        return bool(value)
    least = "above 0" if key == "lr" else "of at least 0"
    try:
        rate = float(value)
    except (TypeError, ValueError):
        raise UsageError(f"{option} {value!r}: expected a number {least}") from None
    if not math.isfinite(rate) or rate < 0 or (key == "lr" and rate == 0):
        raise UsageError(f"{option} {rate}: expected a number {least}")
    return rate
