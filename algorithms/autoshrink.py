"""AutoShrink on a table: one concrete cell is shrunk step by step."""

from __future__ import annotations

import numpy as np
from nasharness.algorithms.shrinking import (
    Shrinker,
    check,
    demotions,
    dense_start,
    descend,
    descent_draws,
    first_of_equals,
    kept,
    sample_without_replacement,
)
from numpy.typing import NDArray

from nasharness.errors import unknown
from nasharness.search import NOTHING, PAUSE, Task, register
from nasharness.search.algorithm import Asked
from nasharness.spaces.base import Floats, Indices

CITATION = "Zhang et al., AutoShrink: A Topology-aware NAS for Discovering Efficient Neural Architecture, AAAI 2020"

#: The official code's behaviour, each switchable by itself; the links lead into docs/reproduction/autoshrink.md.
OFFICIAL = {
    "cost_weight": 0.1,  # autoshrink.md#q18
    "score_start": False,  # autoshrink.md#q9
    "ties": "last",  # autoshrink.md#q15
    "nan": "best",  # autoshrink.md#r2
    "patience": 0,  # autoshrink.md#q7
    "keep_path": False,  # autoshrink.md#q7
    "restarts": False,
}


@register(
    "autoshrink",
    citation=CITATION,
    needs=("product", "index", "ladder"),
    variants={
        "official": ("AutoShrink with the official code's quirks, which can be switched off one by one", OFFICIAL),
    },
    published=("official",),
    meanings={
        "k": "removals scored a step; 1 to 1,000; the official code's",
        "cost_weight": "accuracy, as a fraction, given up per tenfold MACs; at least 0; the official code's is 0.1",
        "beam": "networks kept a step; 1 to 1,000; the official code's",
        "trials": "evaluations averaged into one score; 1 to 1,000; the official code's",
        "score_start": "whether the full network is evaluated first; ours (the official code begins with removals)",
        "patience": "steps without a better score that end a descent, 0: never; 0 to 1,000; ours (official: 0)",
        "keep_path": "whether input and output stay connected; ours (the official code may cut them apart)",
        "restarts": "whether a new descent starts when one has ended; ours (the official code makes one)",
        "ties": "which of equal scores wins; cheaper (then at random) or last; ours (the official code: last)",
        "nan": "what a failed evaluation counts as; worst or best; ours (the official code: best)",
    },
)
class AutoShrink(Shrinker):
    """AutoShrink on one concrete cell (tss), or by width descent (sss), with the fixes of its known defects.

    Starts from the full network: all 3x3 convolutions, all widths 64. A step scores at most ``k`` networks, each one
    removal away from the present one (tss: one operation made weaker; sss: one layer 8 channels narrower), and moves to
    the best of them. The answer is the best network recorded. The dense start is a strong prior, which random search
    and evolution do not have: say so when comparing. Which of AutoShrink's forms this is:
    docs/reproduction/autoshrink.md#t2 and, on sss, autoshrink.md#s1; the links below lead there too.

    Settings: ``k`` removals scored a step. ``cost_weight``: accuracy, as a fraction, given up per tenfold MACs.
    ``beam``: networks kept a step (autoshrink.md#q8). ``trials``: evaluations averaged into one score
    (autoshrink.md#q1). ``score_start``: whether the full network is evaluated first (autoshrink.md#q9). ``patience``:
    steps without a better score after which a descent ends, 0 for never, and ``keep_path``: whether input and output
    stay connected (autoshrink.md#q7). ``restarts``: whether a new descent starts when one has ended, from the full
    network until that finds nothing new, then from random ones; no network is ever paid for twice. ``ties``:
    ``cheaper`` (then at random) or ``last`` (autoshrink.md#q15). ``nan``: whether a failed evaluation is the ``worst``
    or, as in the official code, the ``best`` (autoshrink.md#r2).

    Where the problem says what to begin with, that is scored as one step, and descents start at the best of it.

    Under limits that the full network breaks, random removals lead to the edge of what keeps them, which is known and
    costs no evaluation; a descent begins there, and what breaks a limit is no removal.
    """

    def __init__(
        self,
        task: Task,
        *,
        k: int = 10,
        cost_weight: float = 0.0,
        beam: int = 1,
        trials: int = 1,
        score_start: bool = True,
        patience: int = 3,
        keep_path: bool = True,
        restarts: bool = True,
        ties: str = "cheaper",
        nan: str = "worst",
    ) -> None:
        super().__init__(task, cost_weight=cost_weight)
        for name, value, least in (("k", k, 1), ("beam", beam, 1), ("trials", trials, 1), ("patience", patience, 0)):
            check(name, value, least=least, most=1_000)
        for name, word, words in (("ties", ties, ("cheaper", "last")), ("nan", nan, ("worst", "best"))):
            if word not in words:
                raise unknown(f"value of autoshrink: {name}", word, words)
        self._k, self._beam, self._trials, self._patience = k, beam, trials, patience
        self._restarts, self._last_of_ties, self._nan_is_best = restarts, ties == "last", nan == "best"
        self._all_smaller = self._smaller = demotions(self.space, keep_path)
        self._dense = dense_start(self.space)
        self._no_start = self.space.is_constant(np.arange(self.space.size)) & keep_path
        self._excess = task.excess(np.arange(self.space.size, dtype=np.int32))
        self._allowed = kept(self.space, self._excess)
        self._limited = not self._allowed.all()
        if self._limited:  # what is known to break a limit is no removal and no start
            self._smaller = np.where(self._allowed[self._all_smaller], self._all_smaller, NOTHING)
            self._no_start |= ~self._allowed
        self._given: Indices | None = None  # the best of what the problem begins with
        self._state = np.full((self.runs, beam), NOTHING, dtype=np.int32)
        self._state[:, 0] = self._full()
        self._candidates = task.start(1, lambda: self._own_start(score_start))
        self._descent_best = np.full(self.runs, -np.inf)
        self._since = np.zeros(self.runs, dtype=np.int64)  # steps since the descent's best score rose
        self._fresh = np.zeros(self.runs, dtype=bool)  # whether the descent paid for anything
        self._done = np.zeros(self.runs, dtype=bool)

    def _own_start(self, scored: bool) -> Indices:
        """What is evaluated first: the full network, where it is to be scored, else what it can be shrunk to."""
        if self._limited and scored:
            self._candidates = self._draw()
            self._start_within(np.ones(self.runs, dtype=bool))
            return self._candidates
        return self._state.copy() if scored else self._draw()

    def _full(self) -> Indices:
        """Where descents start: the full network, or under limits the last of a random descent that breaks them."""
        if self._given is not None:
            return self._given
        if not self._limited:
            return np.full(self.runs, self._dense, dtype=np.int32)
        u = self.streams.uniform(descent_draws(self.space))
        return descend(self._dense, self._all_smaller, self._allowed, self._excess, u)[0]

    def _start_within(self, rows: NDArray[np.bool_]) -> None:
        """Begin the descents of ``rows`` with what keeps the limits: their start, or all it can be shrunk to."""
        drawn = self._draw()
        starts = self._allowed[self._state[:, 0]]
        self._candidates[rows & ~starts] = drawn[rows & ~starts]
        self._candidates[rows & starts] = NOTHING
        self._candidates[rows & starts, 0] = self._state[rows & starts, 0]

    def _draw(self) -> Indices:
        """Draw at most ``k`` removals of every network kept: the networks they leave, int32 ``[runs, beam * k]``."""
        options = np.where(self._state[..., None] >= 0, self._smaller[self._state], NOTHING)  # [runs, beam, slots]
        u = self.streams.uniform(options[0].size).reshape(options.shape)
        slots = sample_without_replacement(u, options >= 0, self._k)
        drawn = np.where(slots >= 0, np.take_along_axis(options, slots, axis=-1), NOTHING).reshape(self.runs, -1)
        if self._beam > 1:  # two of the beam may lead to the same network
            drawn = np.where(first_of_equals(drawn), drawn, NOTHING)
        return drawn

    def surviving(self) -> NDArray[np.bool_]:
        """Choices that the networks kept make: ``[runs, positions, options]``."""
        options = np.arange(max(self.space.sizes))
        kept = self._state[..., None, None] >= 0
        choices = self.space.choices(np.maximum(self._state, 0))[..., None]
        return np.asarray((kept & (choices == options)).any(axis=1))

    def ask(self) -> Asked:
        new = self.unknown(self._candidates)
        self._fresh |= new.any(axis=1)
        ids = np.where(new, self._candidates, NOTHING)
        ids = np.repeat(ids, self._trials, axis=1)
        # nothing new to pay for, but the descent goes on
        ids[~new.any(axis=1) & ~self._done, 0] = PAUSE
        return ids

    def tell(self, ids: Indices, values: Floats) -> None:
        if self._trials > 1:
            shape = (self.runs, -1, self._trials)
            ids, values = ids.reshape(shape)[..., 0], values.reshape(shape).mean(axis=-1)
        self.learn(ids, values)
        scores = self.score(self._candidates)
        self.record(self._candidates, scores)
        self._move(scores)
        if self._given is None and self.task.start_given:
            self._given = np.maximum(self._state[:, 0], 0)
        self._candidates = self._draw()
        self._end_descents()

    def _move(self, scores: Floats) -> None:
        """Replace the networks kept by the best of the candidates."""
        failed = np.isnan(scores) & (self._candidates >= 0)
        worst = np.where(
            self._candidates >= 0, np.where(failed, np.inf if self._nan_is_best else -np.inf, scores), -np.inf
        )
        u = self.streams.uniform(worst.shape[1])
        if self._last_of_ties:
            order = np.argsort(np.where(self._candidates >= 0, worst, -np.inf), axis=-1, kind="stable")[:, ::-1]
        else:
            order = np.lexsort((u, self.flops[self._candidates], -worst), axis=-1)
        chosen = np.take_along_axis(self._candidates, order[:, : self._beam], axis=1)
        best = np.take_along_axis(worst, order[:, :1], axis=1)[:, 0]
        if chosen.shape[1] < self._beam:
            chosen = np.pad(chosen, ((0, 0), (0, self._beam - chosen.shape[1])), constant_values=NOTHING)
        self._state = chosen
        rose = best > self._descent_best
        self._descent_best = np.where(rose, best, self._descent_best)
        self._since = np.where(rose, 0, self._since + 1)

    def _end_descents(self) -> None:
        """Start again where a descent has run out of removals or of patience.

        From the full network as long as that leads to something new, then from a network drawn at random.
        """
        ended = ~(self._candidates >= 0).any(axis=1)
        if self._patience:
            ended |= self._since >= self._patience
        ended &= ~self._done
        start = self.space.sample_index(self.streams.uniform(1)[:, 0])  # drawn by all, whoever needs it
        start = np.where(self._fresh | self._no_start[start], self._full(), start)
        if self._restarts:
            self._state[ended] = NOTHING
            self._state[ended, 0] = start[ended]
            self._candidates[ended] = NOTHING
            self._candidates[ended, 0] = start[ended]
            if self._limited:
                self._start_within(ended)
            self._descent_best[ended] = -np.inf
            self._since[ended] = 0
            self._fresh[ended] = False
        else:
            self._done |= ended
            self._candidates[self._done] = NOTHING
