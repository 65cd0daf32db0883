"""DA-NAS on a table: options are pruned while the data grow harder.

DA-NAS (X. Dai, D. Chen, M. Liu, Y. Chen, L. Yuan: Data Adapted Pruning for Efficient Neural Architecture Search, ECCV
2020, arXiv 2003.12563) starts with many candidate blocks on an easy part of the target data, trims the worst, enlarges
the data, and so on: when all data are in use, few candidates are left. After the abstract; details ours: the body of
the paper was not seen. A table has no classes to begin with; the stages of a problem stand for them: easier data sets
(a transfer, which the paper's search is not), fewer epochs, or nothing but the signal
(docs/reproduction/da-nas.md#on-tables).
"""

from __future__ import annotations

import re

import numpy as np
from nasharness.algorithms.autoshrink_set import sample_from
from numpy.typing import NDArray

from nasharness.errors import UsageError, unknown
from nasharness.search import NOTHING, Algorithm, Task, register
from nasharness.search.algorithm import Asked
from nasharness.spaces.base import Floats, Indices

CITATION = "after the abstract of Dai et al., DA-NAS, ECCV 2020, arXiv 2003.12563; details ours"
SCORES = ("mean", "max")
#: Rounds, and the share of the budget that is left for the end, where nothing is said.
ROUNDS, END = 3, 0.1


def numbers(name: str, text: str, *, least: int) -> list[int]:
    """Whole numbers separated by commas (or ``+``, where commas separate settings), none where nothing is written.

    Raises UsageError naming the setting.
    """
    try:
        found = [int(part) for part in re.split(r"[,+\s]+", text.strip()) if part]
    except ValueError:
        found = [least - 1]
    if found and min(found) < least:
        raise UsageError(f"da-nas: {name} = {text!r}: expected whole numbers of at least {least}, as in 60,60,60")
    return found


def total(task: Task) -> int:
    """Evaluations that the budget pays for, about; of seconds, at the mean cost of a full evaluation."""
    if task.evaluations is not None:
        return task.evaluations
    if task.space.arch_shape or task.seconds is None:
        return 200
    return max(1, int(task.seconds / float(task.cost(np.arange(task.space.size)).mean())))


def sources(task: Task, rounds: int, eta: int = 3) -> list[int]:
    """The fidelity of each round: the stages of the problem and then its signal, else epochs, the full ones last.

    Of epochs a third, a ninth, ... of the full ones, as far as they can be asked. The last one serves the rounds that
    are left. Raises UsageError for fewer rounds than stages and the signal.
    """
    found = list(task.stages)
    if not found:
        full = task.epochs[-1]
        lower = [full // eta**power for power in range(rounds - 1, 0, -1)]
        found = [epochs for epochs in dict.fromkeys(lower) if epochs in task.epochs and epochs]
    found.append(task.epochs[-1])
    if len(found) > rounds:
        raise UsageError(
            f"da-nas: {rounds} round(s): expected one for each of the {len(task.stages)} stages and one for the signal"
        )
    return found + found[-1:] * (rounds - len(found))


@register(
    "da-nas.table",
    citation=CITATION,
    needs=("product",),
    meanings={
        "samples": "architectures of each round, as 60,60,60; at least 1; ours (none said: nine tenths of the budget)",
        "drop": "options dropped at each position after each round, as 1 or 2,1; at least 0; ours",
        "final": "how many of what is left are evaluated at the end; at least 0, or -1 for a tenth of the budget; ours",
        "score": "of an option, over the sampled architectures that have it; mean or max; ours",
        "min_options": "options that a position keeps; at least 2, or 1 where there is an end; ours",
    },
    variants={
        "max": ("Data-adapted pruning by the best sampled architecture of each option", {"score": "max"}),
    },
)
class DaNasTable(Algorithm):
    """Data-adapted pruning: sample, score every option, drop the worst at each position, go on with harder data.

    Each round draws architectures uniformly from the options that are left and evaluates them on its stage: those of
    the problem (``--stage``), in order, and then the signal; else fewer epochs where the table tells them apart; else
    the signal throughout. An option's score is the ``mean`` or the ``max`` of the sampled architectures that have it.
    Some of what is left is evaluated at the end; then, if the budget lasts, all begins afresh. The answer is the best
    architecture that the signal has shown. After the abstract; details ours.
    """

    def __init__(
        self,
        task: Task,
        *,
        samples: str = "",
        drop: str = "1",
        final: int = -1,
        score: str = "mean",
        min_options: int = 2,
    ) -> None:
        super().__init__(task)
        if score not in SCORES:
            raise unknown("da-nas: score", score, SCORES)
        budget = total(task)
        self._samples = numbers("samples", samples, least=1)
        if not self._samples:
            rounds = max(ROUNDS, len(task.stages) + 1)
            self._samples = [max(1, round((1 - END) * budget / rounds))] * rounds
        if final < -1:
            raise UsageError(f"da-nas: final = {final}: expected at least 0, or -1 for a tenth of the budget")
        self._final = max(1, round(END * budget)) if final == -1 else final
        if min_options < 1 or (min_options == 1 and self._final == 0):
            raise UsageError(
                f"da-nas: min_options = {min_options}: expected at least 2, or 1 with final evaluations: nothing may "
                "be decided by scores alone"
            )
        drops = numbers("drop", drop, least=0) or [0]
        if len(drops) not in (1, len(self._samples)):
            raise UsageError(f"da-nas: drop = {drop!r}: expected one number, or {len(self._samples)}, one a round")
        self._drops = drops * len(self._samples) if len(drops) == 1 else drops
        self._sources = sources(task, len(self._samples))
        self._mean, self._least = score == "mean", min_options
        self._given = task.start(self._samples[0], lambda: task.nothing)
        self._round = 0
        self._open()
        self._best = np.full(self.runs, -np.inf)  # of what is nearest to the signal, where none of it was shown
        self._best_id = np.full((self.runs, *self.space.arch_shape), NOTHING, dtype=self.space.arch_dtype)
        self._shown = np.zeros(self.runs, dtype=bool)

    def _open(self) -> None:
        sizes = np.array(self.space.sizes)
        options = np.arange(sizes.max()) < sizes[:, None]
        self._alive = np.broadcast_to(options, (self.runs, *options.shape)).copy()

    def surviving(self) -> NDArray[np.bool_]:
        """Options that are left: ``[runs, positions, options]``."""
        return self._alive

    def ask(self) -> Asked:
        ends = self._round == len(self._samples)
        count = self._final if ends else self._samples[self._round]
        positions = len(self.space.sizes)
        u = self.streams.uniform(count * positions).reshape(self.runs, count, positions)
        ids = sample_from(self.space, self._alive[:, None], u)
        if self._given.shape[1]:  # what the problem begins with takes the place of the first that were drawn
            ids = np.concatenate([self._given, ids[:, self._given.shape[1] :]], axis=1)
            self._given = self.task.nothing
        return ids, self.task.epochs[-1] if ends else self._sources[self._round]

    def tell(self, ids: Indices, values: Floats) -> None:
        signal = self._round == len(self._samples) or self._sources[self._round] == self.task.epochs[-1]
        told = ~np.isnan(values)
        self._shown |= signal & told.any(axis=1)
        ranked = np.where(told, values, -np.inf)
        slot = ranked.argmax(axis=1)
        rows = np.flatnonzero(told.any(axis=1))  # the latest source is the nearest to the signal
        self._best_id[rows] = ids[rows, slot[rows]]
        if self._round < len(self._samples):
            self._prune(ids, values, self._drops[self._round])
        self._round += 1
        if self._round > len(self._samples) or (self._round == len(self._samples) and not self._final):
            self._round = 0
            self._open()

    def _prune(self, ids: Indices, values: Floats, drop: int) -> None:
        """Drop the worst ``drop`` options of each position; of equals the last in order, and first what was sampled."""
        scores = self._scores(ids, values)
        order = np.argsort(np.where(self._alive, -scores, np.inf), axis=2, kind="stable")
        keep = np.maximum(self._alive.sum(axis=2) - drop, np.minimum(self._alive.sum(axis=2), self._least))
        kept = np.zeros_like(self._alive)
        np.put_along_axis(kept, order, np.arange(order.shape[2]) < keep[..., None], axis=2)
        self._alive &= kept

    def _scores(self, ids: Indices, values: Floats) -> Floats:
        """Mean or greatest value of what has each option: ``[runs, positions, options]``; infinite for none."""
        told = ~np.isnan(values)
        choices = self.space.choices(np.maximum(ids, 0))
        scores = np.empty(self._alive.shape)
        for option in range(scores.shape[2]):
            has = (choices == option) & told[..., None]
            if self._mean:
                count, added = np.zeros(has.shape[::2]), np.zeros(has.shape[::2])
                for slot in range(has.shape[1]):  # written out: a sum's bits must not depend on the batch
                    count += has[:, slot]
                    added += np.where(has[:, slot], values[:, slot, None], 0.0)
                scores[..., option] = np.where(count > 0, added / np.maximum(count, 1), np.inf)
            else:
                best = np.where(has, values[..., None], -np.inf).max(axis=1)
                scores[..., option] = np.where(has.any(axis=1), best, np.inf)
        return scores

    def recommend(self, rows: NDArray[np.intp]) -> Indices:
        shown = self._shown[rows].reshape(-1, *(1 for _ in self.space.arch_shape))
        return np.where(shown, NOTHING, self._best_id[rows])
