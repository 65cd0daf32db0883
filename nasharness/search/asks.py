"""What an algorithm asks, checked before anything is looked up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import AlgorithmFailedError
from nasharness.search.algorithm import PAUSE, Algorithm, method
from nasharness.search.evaluator import Evaluator
from nasharness.search.trajectories import present
from nasharness.spaces.base import Indices, Space


def asked(algorithm: Algorithm, evaluator: Evaluator, runs: int, space: Space) -> tuple[Indices, int | Indices, bool]:
    """Ask, and check what came: ids ``[runs, k, *arch_shape]``, the fidelity, and whether every slot is filled.

    The fidelity is an index into ``evaluator.epochs``, one number or ``[runs, k]``. Raises AlgorithmFailedError.
    """
    answer = algorithm.ask()
    ids, epochs = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, evaluator.epochs[-1])
    ids = _array(algorithm, ids, lambda: _expected(runs, space))
    if ids.shape[:1] != (runs,) or ids.shape[2:] != space.arch_shape or ids.ndim < 2 or ids.shape[1] == 0:
        raise _wrong(algorithm, f"returned {ids.dtype} {ids.shape}; expected {_expected(runs, space)}")
    # as unsigned numbers the negative ones are huge, so one look finds that all is well
    full = ids.dtype == np.int32 and not space.arch_shape and bool(ids.view(np.uint32).max() < space.size)
    if not full:
        full = _look(algorithm, ids, runs, space)
    return ids, _fidelity(algorithm, ids, epochs, evaluator, space), full


def beyond(ids: Indices, space: Space) -> bool:
    """Whether an index or a choice is above all there are."""
    if not ids.size:
        return False
    return bool((ids >= np.array(space.sizes)).any() if space.arch_shape else ids.max() >= space.size)


def _look(algorithm: Algorithm, ids: Indices, runs: int, space: Space) -> bool:
    """Whether every slot is filled; raises for what is no architecture."""
    if ids.dtype.kind not in "iu":
        raise _wrong(algorithm, f"returned {ids.dtype} {ids.shape}; expected {_expected(runs, space)}")
    low = ids.min()
    if low < PAUSE or beyond(ids, space):
        most = f"the last option of each of {len(space.sizes)} positions" if space.arch_shape else f"{space.size - 1}"
        raise _wrong(algorithm, f"returned index {low} to {ids.max()}; expected {PAUSE} to {most}")
    return bool(low >= 0)


def _fidelity(
    algorithm: Algorithm, ids: Indices, epochs: Any, evaluator: Evaluator, space: Space
) -> int | NDArray[np.int32]:
    known = evaluator.epochs
    if isinstance(epochs, (int, np.integer)):
        if epochs not in known:
            raise _wrong(algorithm, f"wants {epochs} epochs; this problem has {_listed(known)}")
        return known.index(int(epochs))
    epochs = _array(algorithm, epochs, lambda: f"epochs of {_listed(known)}")
    if epochs.dtype.kind not in "iu" or epochs.shape not in ((), ids.shape[:2]):
        raise _wrong(
            algorithm,
            f"returned epochs {epochs.dtype} {epochs.shape}; expected int {ids.shape[:2]}, of {_listed(known)}",
        )
    epochs = np.broadcast_to(epochs, ids.shape[:2])
    fidelity = np.minimum(np.searchsorted(known, epochs), len(known) - 1)
    wrong = (np.asarray(known)[fidelity] != epochs) & present(ids, space)
    if wrong.any():
        raise _wrong(algorithm, f"wants {epochs[wrong][0]} epochs; this problem has {_listed(known)}")
    return np.asarray(fidelity, dtype=np.int32)


def _wrong(algorithm: Algorithm, what: str) -> AlgorithmFailedError:
    return AlgorithmFailedError(f"{method(type(algorithm), 'ask')} {what}")


def _expected(runs: int, space: Space) -> str:
    axes = "".join(f", {length}" for length in space.arch_shape)
    return f"int [{runs}, k{axes}] with k >= 1, or (that, epochs)"


def _listed(epochs: tuple[int, ...]) -> str:
    return ", ".join(map(str, epochs))


def _array(algorithm: Algorithm, value: Any, expected: Callable[[], str]) -> NDArray[Any]:
    """What ``ask`` returned as an array, unless its rows are of several lengths."""
    try:
        return np.asarray(value)
    except ValueError:
        raise _wrong(algorithm, f"returned a {type(value).__name__} that is no array; expected {expected()}") from None
