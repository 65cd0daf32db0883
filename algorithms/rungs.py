"""Rungs of fidelity: what successive halving and BOHB share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nasharness.errors import UsageError
from nasharness.spaces.base import Floats, Indices


def rungs(epochs: Sequence[int], eta: int, least: int, name: str) -> tuple[int, ...]:
    """Return the fidelities to use, ascending: the full one divided by ``eta``, twice, ..., down to ``least`` epochs.

    The quotients are rounded down, as NATS-Bench does with Hyperband's budgets (1.33, 4 and 12 epochs: 1, 4, 12), and
    those that cannot be asked are left out. ``epochs``: what can be asked, ascending; its last is always a rung.
    ``name``: of the algorithm, for the UsageError of a senseless setting.
    """
    full = epochs[-1]
    if eta < 2:
        raise UsageError(f"{name}: eta = {eta}: expected at least 2")
    if least < 1 or least > full:
        raise UsageError(f"{name}: min_epochs = {least}: expected 1 to {full}, the full fidelity")
    found = []
    divisor = 1
    while least * divisor <= full:
        if full // divisor in epochs:
            found.append(full // divisor)
        divisor *= eta
    return tuple(found[::-1])


def promoted(ids: Indices, values: Floats, keep: int) -> Indices:
    """Return the ``keep`` best of ``ids [runs, k]`` by ``values [runs, k]``, in the order in which they were asked.

    The first of equals wins; NaN loses to everything.
    """
    best = np.argsort(-values, axis=1, kind="stable")[:, :keep]
    return np.take_along_axis(ids, np.sort(best, axis=1), axis=1)
