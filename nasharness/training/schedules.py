"""Learning rate by epoch: constant within an epoch, a plain function of its number."""

from __future__ import annotations

import math
from collections.abc import Callable

from nasharness.errors import UsageError, unknown

Schedule = Callable[[int], float]
SCHEDULES = ("warmup-cosine", "cosine", "exponential", "staircase")


def warmup_cosine(base: float, epochs: int, warmup: int = 10) -> Schedule:
    """Return lr(e), e = 1 .. epochs: ``base e / warmup`` below ``warmup``, then half a cosine to 0 at the last epoch.

    ``base / 2 (1 + cos(pi (e - warmup) / (epochs - warmup)))``: docs/reproduction/training.md#imagenet.
    The last epoch has rate 0: it only lets batch norm and the moving average settle.
    """
    _check(base, epochs)
    if not 0 <= warmup <= epochs:
        raise UsageError(f"warm-up of {warmup} epochs: expected between 0 and the {epochs} epochs of the run")

    def rate(epoch: int) -> float:
        if epoch < warmup:
            return base * epoch / warmup
        if epochs == warmup:
            return base
        return base / 2 * (1 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup)))

    return rate


def cosine(base: float, epochs: int) -> Schedule:
    """Return lr(e) = ``base / 2 (1 + cos(pi (e - 1) / epochs))``, e = 1 .. epochs: from ``base``, 0 after the last.

    As NATS-Bench trains (docs/reproduction/nats-bench.md#splits-and-recipe).
    """
    _check(base, epochs)
    return lambda epoch: base / 2 * (1 + math.cos(math.pi * (epoch - 1) / epochs))


def exponential(base: float, epochs: int, factor: float = 0.97) -> Schedule:
    """Return lr(e) = ``base factor^(e - 1)``, as DARTS trains on ImageNet."""
    _check(base, epochs)
    return lambda epoch: base * factor ** (epoch - 1)


def staircase(base: float, epochs: int, warmup: int = 5, factor: float = 0.97, every: float = 2.4) -> Schedule:
    """Return lr(e) = ``base factor^floor((e - 1) / every)``, e = 1 .. epochs; up to ``warmup``, ``base e / warmup``.

    MnasNet's, and that of the networks found with its code: the rate falls every 2.4 epochs.
    """
    _check(base, epochs)
    if not 0 <= warmup <= epochs:
        raise UsageError(f"warm-up of {warmup} epochs: expected between 0 and the {epochs} epochs of the run")
    return lambda epoch: base * epoch / warmup if epoch <= warmup else base * factor ** int((epoch - 1) / every)


def make(name: str, base: float, epochs: int, *, warmup: int = 0, factor: float = 0.97) -> Schedule:
    """Return the schedule of that name: ``warmup-cosine``, ``cosine``, ``exponential`` or ``staircase``.

    Raises:
        UsageError: unknown name, a base or number of epochs that is not positive, a warm-up longer than the run.
    """
    if name == "warmup-cosine":
        return warmup_cosine(base, epochs, warmup)
    if name == "cosine":
        return cosine(base, epochs)
    if name == "exponential":
        return exponential(base, epochs, factor)
    if name == "staircase":
        return staircase(base, epochs, warmup, factor)
    raise unknown("schedule", name, SCHEDULES)


def _check(base: float, epochs: int) -> None:
    if not base > 0 or not math.isfinite(base):
        raise UsageError(f"learning rate {base}: expected a number above 0")
    if epochs < 1:
        raise UsageError(f"--epochs {epochs}: expected at least 1")
