"""What answers an evaluation where no table does: a function of architectures, for spaces of any size."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness.search.measure import Measure
from nasharness.spaces.base import Floats

#: from architectures ``[..., *arch_shape]`` to float64 ``[...]``, higher is better
Answer = Callable[[Any], Floats]


class Backend:
    """Answers evaluations with a function; the same algorithms run on it as on a table.

    ``signal``: from architectures ``[..., *arch_shape]`` of the problem's space to float64 ``[...]``, higher is better.
    ``final``: what results are scored by (default: the signal). ``seconds``: simulated cost, likewise; without it there
    is no clock. ``optimum``: the best final value, where it is known. Functions must not change what they are given,
    and must draw no random numbers: the same architecture has the same value.
    """

    def __init__(
        self,
        name: str,
        signal: Answer,
        *,
        final: Answer | None = None,
        seconds: Answer | None = None,
        optimum: float = float("nan"),
        version: str = "",
    ) -> None:
        self.name, self.optimum = name, optimum
        self._signal, self._final, self._seconds = signal, final or signal, seconds
        self.version = version or "a function"
        self.checksum = hashlib.sha256(
            f"{name} {version} {_source(signal)} {_source(self._final)}".encode()
        ).hexdigest()
        self.meta = {"source": "a function", "licence": "none"}
        self.measure = Measure("value", None, None, "mean", name)

    def evaluator(self) -> FunctionEvaluator:
        """What the loop asks."""
        return FunctionEvaluator(self._signal, self._seconds)

    def truth(self) -> FunctionTruth:
        """What results are scored by."""
        return FunctionTruth(self._final, self.optimum)


def _source(function: Answer) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return getattr(function, "__qualname__", type(function).__qualname__)


class FunctionEvaluator:
    """See `nasharness.search.evaluator.Evaluator`: one fidelity, no trials."""

    epochs = (0,)
    counts: NDArray[np.int64] | None = None
    worst = -np.inf
    stages = 0
    more: tuple[Floats, ...] = ()

    def __init__(self, signal: Answer, seconds: Answer | None) -> None:
        self._signal, self._seconds = signal, seconds
        self.clocked = seconds is not None
        self.mean_cost = float("nan")

    def signal(self, ids: Any, fidelity: Any) -> Floats:
        """Signal of architectures ``[...]``."""
        return np.asarray(self._signal(ids), dtype=np.float64)

    def signal_of_trial(self, ids: Any, fidelity: Any, trials: NDArray[np.intp]) -> Floats:
        """The same: there are no trials."""
        return self.signal(ids, fidelity)

    def cost(self, ids: Any, fidelity: Any) -> Floats:
        """Simulated seconds ``[...]``; NaN without times."""
        shape = self.signal(ids, fidelity).shape if self._seconds is None else ()
        return np.full(shape, np.nan) if self._seconds is None else np.asarray(self._seconds(ids), dtype=np.float64)


class FunctionTruth:
    """See `nasharness.search.evaluator.Truth`."""

    hides = False

    def __init__(self, final: Answer, optimum: float) -> None:
        self._final, self.optimum, self.sign = final, optimum, 1

    def score(self, ids: Any, shown: NDArray[np.int64] | None = None) -> Floats:
        """Final metric of architectures ``[...]``."""
        return np.asarray(self._final(ids), dtype=np.float64)
