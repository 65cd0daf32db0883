"""The shrink engine that AutoShrink's tabular forms share: what can be removed, how it is sampled, scored and recorded.

AutoShrink (AAAI 2020) starts from the full network and removes one choice at a time: of all eligible removals it
draws ``k`` uniformly without replacement, scores each by the network it leaves, and makes the best one permanent. The
score (docs/reproduction/autoshrink.md#score) is, with accuracy in [0, 1],

    accuracy - cost_weight * (log10(MACs) - 6)

Here it is in percentage points, so that a weight of 0.1 takes 10 points per tenfold cost, as in the paper's code.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import UsageError
from nasharness.search import NOTHING, Algorithm, Task
from nasharness.spaces.base import Floats, Indices, Space, frozen
from nasharness.spaces.product import product


class Shrinker(Algorithm):
    """Base of the AutoShrink family: penalised scores, a memory of what a run has paid for, and the best it recorded.

    The memory makes sure that no run pays twice for the same architecture. ``record`` keeps the best scored one, the
    cheaper of equals, which is AutoShrink's return rule (docs/reproduction/autoshrink.md#shrink-loop).
    """

    def __init__(self, task: Task, *, cost_weight: float) -> None:
        super().__init__(task)
        #: MACs of every architecture, in millions ``[n]``; breaks ties in favour of the cheaper
        self.flops = costs(self.space, task.dataset)
        self._penalty = penalty(self.space, task.dataset, cost_weight)
        self._known = np.full((self.runs, self.space.size), np.nan, dtype=np.float32)
        self._rows = np.arange(self.runs)[:, None]
        self._best = np.full(self.runs, -np.inf)
        self._best_id = np.full(self.runs, NOTHING, dtype=np.int32)

    def unknown(self, ids: Indices) -> NDArray[np.bool_]:
        """Which of ``ids`` ``[runs, k]`` are architectures a run has not paid for yet, the first of repeated ones."""
        return (ids >= 0) & np.isnan(self._known[self._rows, ids]) & first_of_equals(ids)

    def learn(self, ids: Indices, values: Floats) -> None:
        """Remember signals ``[runs, k]``; empty and unevaluated slots are left out."""
        told = (ids >= 0) & ~np.isnan(values)
        rows = np.broadcast_to(self._rows, ids.shape)
        self._known[rows[told], ids[told]] = values[told]

    def score(self, ids: Indices) -> Floats:
        """Penalised score of known architectures ``[runs, k]``, percentage points; NaN for unknown ones."""
        return np.where(ids >= 0, self._known[self._rows, ids] - self._penalty[ids], np.nan)

    def record(self, ids: Indices, scores: Floats) -> NDArray[np.bool_]:
        """Let better scores ``[runs, k]``, or equal ones at lower cost, replace the best; tell who improved."""
        ranked = np.where(np.isnan(scores), -np.inf, scores)
        top = np.lexsort((self.flops[ids], -ranked), axis=-1)[:, 0]
        rows = self._rows[:, 0]
        score, chosen = ranked[rows, top], ids[rows, top]
        equal = (score == self._best) & (score > -np.inf) & (self.flops[chosen] < self.flops[self._best_id])
        improved = score > self._best
        replaced = improved | equal
        self._best = np.where(replaced, score, self._best)
        self._best_id = np.where(replaced, chosen, self._best_id)
        return improved

    def recommend(self, rows: NDArray[np.intp]) -> Indices:
        return self._best_id[rows]


def penalty(space: Space, dataset: str, cost_weight: float) -> Floats:
    """What the cost of each architecture takes off its accuracy, percentage points ``[n]``."""
    check("cost_weight", cost_weight, least=0)
    if cost_weight and "macs" not in space.closed_forms:
        raise UsageError(
            f"autoshrink: cost_weight = {cost_weight}: space {space.name!r} does not tell MACs; expected 0"
        )
    millions = costs(space, dataset) if cost_weight else np.ones(space.size)
    return np.asarray(100 * cost_weight * np.log10(millions))  # log10(MACs) - 6 = log10(MACs in millions)


def sample_without_replacement(u: Floats, eligible: NDArray[np.bool_], k: int) -> NDArray[np.intp]:
    """Draw ``min(k, eligible)`` slots uniformly without replacement, in random order.

    ``u``, ``eligible``: ``[..., slots]``. Returns ``[..., min(k, slots)]`` with -1 behind the last eligible slot.
    """
    order = np.argsort(np.where(eligible, u, 2.0), axis=-1, kind="stable")[..., :k]
    return np.where(np.take_along_axis(eligible, order, axis=-1), order, NOTHING)


def first_of_equals(ids: Indices) -> NDArray[np.bool_]:
    """Whether each of ``ids`` ``[runs, k]`` appears for the first time in its row."""
    order = np.argsort(ids, axis=1, kind="stable")
    ranked = np.take_along_axis(ids, order, axis=1)
    first = np.ones(ids.shape, dtype=bool)
    first[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    result = np.empty(ids.shape, dtype=bool)
    np.put_along_axis(result, order, first, axis=1)
    return result


def costs(space: Space, dataset: str) -> Floats:
    """MACs of every architecture, in millions ``[n]``; where the space does not tell, how strong its options are."""
    everything = np.arange(space.size)
    if "macs" in space.closed_forms:
        return space.flops(everything, dataset)
    return np.asarray(space.choices(everything).sum(axis=1), dtype=np.float64)


def dense_start(space: Space) -> int:
    """The full network of a space: every edge a 3x3 convolution, or every layer at its greatest width."""
    return int(product(space).index(product(space).fullest()))


@functools.lru_cache(maxsize=8)
def demotions(space: Space, keep_path: bool) -> Indices:
    """What every architecture can be shrunk to by one removal: int32 ``[n, slots]``, -1 where there is nothing.

    Computed once a space; read-only.
    One removal replaces one option by a weaker one (``weaker`` of the space); then edges that leave nodes no longer
    reached from the input are removed too, AutoShrink's forward pruning. ``keep_path`` leaves out removals that cut the
    input off from the output.
    """
    cells = product(space)
    ids = np.arange(space.size)
    choices = space.choices(ids)
    columns = []
    for position in range(len(space.positions)):
        table = cells.weaker(position)
        for slot in range(table.shape[1]):
            weaker_option = table[choices[:, position], slot]
            shrunk = choices.copy()
            shrunk[:, position] = np.maximum(weaker_option, 0)
            kept = shrunk if space.skeleton is None else space.skeleton.pruned(shrunk)
            columns.append(np.where(weaker_option >= 0, cells.index(kept), NOTHING))
    result = np.stack(columns, axis=1).astype(np.int32)
    # the same network reached in two ways is one removal; and pruning can leave a removal without effect
    for slot in range(result.shape[1]):
        repeated = (result[:, slot, None] == result[:, :slot]).any(axis=1) | (result[:, slot] == ids)
        result[repeated, slot] = NOTHING
    if keep_path:
        result[(result >= 0) & space.is_constant(np.maximum(result, 0))] = NOTHING
    return frozen(result)


def kept(space: Space, excess: Floats) -> NDArray[np.bool_]:
    """Which architectures keep the limits, by how far each is known to break them, ``excess [n]``: bool ``[n]``.

    Where some that keep them connect input and output, those alone; where there are no limits, all.
    """
    allowed = excess == 0
    if not allowed.all():
        live = allowed & ~space.is_constant(np.arange(space.size, dtype=np.int32))
        allowed = live if live.any() else allowed
    return np.asarray(allowed)


#: Removals that a step of a descent towards the limits draws: it takes the one that leaves the least excess.
TOURNAMENT = 5


def descent_draws(space: Space) -> int:
    """Uniforms that one descent of `descend` consumes: for each step as many as the longest has, and one more."""
    return TOURNAMENT * (sum(space.sizes) - len(space.sizes)) + 1


def descend(
    start: int, smaller: Indices, allowed: NDArray[np.bool_], excess: Floats, u: Floats
) -> tuple[Indices, Indices]:
    """Shrink ``start`` until it keeps the limits: two int32 ``[...]``, the one before and what does, of uniforms
    ``[..., draws]``.

    Where the full network breaks a limit this is the feasible side to start from: networks about as full as they may
    be. A step draws a few removals, with replacement, and takes the one that leaves the least ``excess`` ``[n]``.
    ``smaller``: what each can be shrunk to, see `demotions`; ``allowed``: see `kept`. A descent that ends without
    having kept the limits answers with an architecture that does, drawn uniformly, twice.
    """
    before = state = np.full(u.shape[:-1], start, dtype=np.int32)
    for step in range(0, u.shape[-1] - 1, TOURNAMENT):
        options = smaller[state]
        counts = (options >= 0).sum(axis=-1)
        moves = ~allowed[state] & (counts > 0)
        if not moves.any():
            break
        slots = (u[..., step : step + TOURNAMENT] * counts[..., None]).astype(np.intp)
        first = np.argsort(options < 0, axis=-1, kind="stable")  # removals before gaps
        drawn = np.take_along_axis(options, np.take_along_axis(first, slots, axis=-1), axis=-1)
        best = np.take_along_axis(drawn, excess[drawn].argmin(axis=-1)[..., None], axis=-1)[..., 0]
        before, state = np.where(moves, state, before), np.where(moves, best, state)
    choices = np.flatnonzero(allowed).astype(np.int32)
    drawn = choices[(u[..., -1] * len(choices)).astype(np.intp)] if len(choices) else np.full_like(state, NOTHING)
    reached = allowed[state]
    return np.where(reached, before, drawn), np.where(reached, state, drawn)


def check(name: str, value: float, *, least: float, most: float = float("inf")) -> None:
    """Raise UsageError where a setting is outside its sensible range."""
    if not least <= value <= most:
        span = f"at least {least}" if most == float("inf") else f"{least} to {most:,}"
        raise UsageError(f"autoshrink: {name} = {value}: expected {span}")
