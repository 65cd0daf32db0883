"""Successive halving: many architectures for a few epochs, the best of them for more."""

from __future__ import annotations

from nasharness.algorithms.rungs import promoted, rungs

from nasharness.errors import UsageError
from nasharness.search import Algorithm, Task, register
from nasharness.search.algorithm import Asked
from nasharness.spaces.base import Floats, Indices


@register(
    "successive-halving",
    citation="Jamieson & Talwalkar, Non-stochastic Best Arm Identification and Hyperparameter Optimization, 2016",
    needs=("fidelities",),
    meanings={
        "eta": "one in so many goes on to the next rung, which is so many times as long; at least 2; as in Hyperband",
        "n": "random architectures on the lowest rung; at least 1; ours: just enough for one to reach the top",
        "min_epochs": "the lowest rung, in epochs; 1 to the full fidelity; ours",
    },
)
class SuccessiveHalving(Algorithm):
    """Synchronous successive halving over epochs, started afresh until the budget ends.

    ``n`` random architectures are evaluated at the lowest rung; the best 1/``eta`` of them (at least one) at the next;
    and so on up to full fidelity. Then ``n`` new ones. ``n`` is by default just enough for one to reach the top:
    ``eta`` to the power of the rungs above the lowest. Every evaluation trains from scratch and pays for all its
    epochs, as in NATS-Bench (docs/reproduction/multi-trial.md#not-in-that-comparison). With a single fidelity there is
    nothing to halve, and this is random search.

    The incumbent compares signals across fidelities, which flatters none: fewer epochs score lower.
    """

    def __init__(self, task: Task, *, eta: int = 3, n: int | None = None, min_epochs: int = 1) -> None:
        super().__init__(task)
        self._rungs = rungs(task.epochs, eta, min_epochs, "successive-halving")
        if n is None:
            n = eta ** (len(self._rungs) - 1)
        if not isinstance(n, int) or n < 1:
            raise UsageError(f"successive-halving: n = {n}: expected a whole number of at least 1")
        self._sizes = [max(n // eta**rung, 1) for rung in range(len(self._rungs))]
        self._rung = 0
        self._promoted: Indices | None = None
        self._start = task.start(self._sizes[0], self._random)

    def _random(self) -> Indices:
        each = self.space.uniforms_per_sample
        drawn: Indices = self.space.sample(
            self.streams.uniform(self._sizes[0] * each).reshape(self.runs, self._sizes[0], each)
        )
        return drawn

    def ask(self) -> Asked:
        epochs = self._rungs[self._rung]
        if self._promoted is not None:
            return self._promoted, epochs
        ids, self._start = self._start, self._start[:, :0]
        return (ids if ids.shape[1] else self._random()), epochs

    def tell(self, ids: Indices, values: Floats) -> None:
        self._rung = (self._rung + 1) % len(self._rungs)
        self._promoted = promoted(ids, values, self._sizes[self._rung]) if self._rung else None
