"""The two ways to write a search algorithm: for a batch of runs at once, or for a single run.

Lifecycle, the same for both: the constructor, once; then ``ask`` and ``tell`` in turn until the budget is spent or
``ask`` has nothing left to ask; then ``recommend``, once. The harness owns budget, clock, incumbent and scoring.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasharness.errors import AlgorithmFailedError, UsageError
from nasharness.search.streams import generator
from nasharness.search.task import Task
from nasharness.spaces.base import Floats, Indices, Space

#: What a batch algorithm asks: indices ``[runs, k]``, or (indices, epochs) with epochs an int or int ``[runs, k]``.
Asked = Indices | tuple[Indices, int | NDArray[np.int32]]

#: "Nothing" in a slot of an ask.
NOTHING = -1
#: "Nothing in this step, but the run goes on", in any slot of a run's ask.
PAUSE = -2


def method(cls: type, verb: str) -> str:
    """Name a method for messages, with the file and the line where it is written."""
    code = getattr(inspect.unwrap(getattr(cls, verb)), "__code__", None)
    place = f" ({code.co_filename}, line {code.co_firstlineno})" if code is not None else ""
    return f"{cls.__name__}.{verb}{place}"


class Algorithm:
    """A search algorithm that advances a batch of runs in lockstep; settings are keyword-only arguments.

    ``ask() -> ids``: int32 ``[runs, k]``, the architectures to evaluate next. ``k`` may change from step to step and
    differ from run to run: NOTHING leaves a slot empty, and a run whose slots are all empty is finished, unless one of
    them says PAUSE. To ask at less than full fidelity return ``(ids, epochs)``.

    ``tell(ids, values)``: what was asked, and its search signal, float64 ``[runs, k]`` (higher is better). A slot that
    was not evaluated, because it was empty or the budget ended before it, is NaN; so is every slot of a finished run.
    An architecture known to break a limit is not paid for: its value is below every signal, the lower the further away.
    With several objectives, and ``needs=("objectives",)`` in its registration, values are ``[runs, k, objectives]``,
    higher is better in each.

    Where a space cannot be enumerated (``space.arch_shape``), an architecture is a vector of choices, and ids are int8
    ``[runs, k, positions]``; -1 or -2 in its first place says NOTHING or PAUSE.

    ``recommend(rows) -> ids | None``: the answer of the runs ``rows``, int ``[len(rows)]``; None stands for the
    incumbent, the architecture with the best signal. It is called for each run once, right after its last ``tell``.

    Draw only from ``self.streams``, and draw as much as you would if the run were alone.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.space = task.space
        self.streams = task.streams
        self.runs = task.runs

    def ask(self) -> Asked:
        """Propose architectures."""
        raise NotImplementedError(f"{type(self).__name__}.ask is missing: return int32 [runs, k] architecture indices")

    def tell(self, ids: Indices, values: Floats) -> None:
        """Learn the signal of what was asked. The default learns nothing."""

    def recommend(self, rows: NDArray[np.intp]) -> ArrayLike | None:
        """Answer for some runs. The default answers with the incumbents."""
        return None


class ScalarAlgorithm:
    """A search algorithm for one run: the ten-line way to plug one in. The harness loops it over the runs of a batch.

    ``self.space``, ``self.task``, and ``self.rng`` (a numpy Generator, this run's own) are set before ``__init__`` of
    the subclass sees its settings; ``random()`` and ``mutate(arch)`` draw from it. ``ask() -> arch`` (or ``(arch,
    epochs)``, or None when there is nothing left to ask); ``tell(arch, value)``; ``recommend() -> arch | None``.
    Where the problem says what to begin with (``--start``), the harness evaluates that, and ``tell`` brings it before
    the first ``ask``.

    An architecture is an index (any whole number), a published string, or, where the space has no indices, a vector of
    choices; ``tell`` brings indices or vectors. ``value`` is a number, with several objectives an array of them.
    """

    space: Space
    task: Task
    rng: np.random.Generator

    def random(self) -> Any:
        """Draw an architecture uniformly."""
        if self.space.arch_shape:
            return self.space.sample(self.rng.random(self.space.uniforms_per_sample))
        return int(self.space.sample_index(self.rng.random()))

    def mutate(self, arch: Any) -> Any:
        """Draw a neighbour of ``arch`` by the mutation of the space."""
        mutant = self.space.mutate(arch, self.rng.random(self.space.mutation_uniforms))
        return mutant if self.space.arch_shape else int(mutant)

    def ask(self) -> Any:
        """Propose one architecture."""
        raise NotImplementedError(f"{type(self).__name__}.ask is missing: return an architecture's index")

    def tell(self, arch: Any, value: Any) -> None:
        """Learn the signal of what was asked. The default learns nothing."""

    def recommend(self) -> Any:
        """Answer with an architecture. The default answers with the incumbent."""
        return None


class ScalarBatch(Algorithm):
    """Loops a ScalarAlgorithm over the runs of a batch."""

    def __init__(self, task: Task, *, cls: type[ScalarAlgorithm], **settings: Any) -> None:
        super().__init__(task)
        self.searches: list[ScalarAlgorithm] = []
        for seed in task.seeds:
            search = cls.__new__(cls)
            search.space, search.task, search.rng = task.space, task, generator(int(seed))
            search.__init__(**settings)  # type: ignore[misc]
            self.searches.append(search)
        self._start = task.start(0, lambda: task.nothing)
        self._begun = False
        self._finished = np.zeros(self.runs, dtype=bool)

    def ask(self) -> Asked:
        if self._start.shape[1]:  # one a step, as the rest
            first, self._start = self._start[:, :1], self._start[:, 1:]
            return first
        ids = np.full((self.runs, 1, *self.space.arch_shape), NOTHING, dtype=self.space.arch_dtype)
        epochs = np.full((self.runs, 1), self.task.epochs[-1], dtype=np.int32)
        for row, search in enumerate(self.searches):
            if self._finished[row]:
                continue
            asked = search.ask()
            if isinstance(asked, tuple) and len(asked) == 2:
                asked, wanted = asked
                if not isinstance(wanted, (int, np.integer)) or wanted not in self.task.epochs:
                    known = ", ".join(map(str, self.task.epochs))
                    raise AlgorithmFailedError(
                        f"{method(type(search), 'ask')} wants {wanted!r:.80} epochs; this problem has {known}"
                    )
                epochs[row, 0] = wanted
            if asked is not None:
                ids[row, 0] = self._read(search, "ask", asked)
            elif not self._begun:
                raise AlgorithmFailedError(
                    f"{method(type(search), 'ask')} returned None before anything was evaluated: expected an "
                    "architecture first; None says that there is nothing left to ask"
                )
        self._begun = True
        return ids, epochs

    def _read(self, search: ScalarAlgorithm, verb: str, arch: Any) -> Any:
        """The architecture that ``ask`` or ``recommend`` returned, checked; says whose method returned what."""
        try:
            # a truth value is a number to Python, and a row of one index an index to numpy: neither was meant
            if isinstance(arch, (bool, np.bool_)) or (
                not isinstance(arch, str) and np.asarray(arch).shape != self.space.arch_shape
            ):
                form = f"{self.space.arch_shape[0]} choices" if self.space.arch_shape else "an index"
                raise UsageError(f"expected one architecture of space {self.space.name}: {form} or a published string")
            return self.space.parse(arch)
        except (UsageError, TypeError, ValueError) as error:
            shown = " ".join(f"{arch!r:.80}".split())
            raise AlgorithmFailedError(f"{method(type(search), verb)} returned {shown}: {error}") from error

    def tell(self, ids: Indices, values: Floats) -> None:
        for row, search in enumerate(self.searches):
            value = values[row, 0]
            if np.isnan(value).any():  # finished: a single slot is left unevaluated for no other reason
                self._finished[row] = True
            else:
                arch = ids[row, 0]
                search.tell(arch if self.space.arch_shape else int(arch), value if self.task.several else float(value))

    def recommend(self, rows: NDArray[np.intp]) -> ArrayLike | None:
        answers = np.full((len(rows), *self.space.arch_shape), NOTHING, dtype=self.space.arch_dtype)
        for place, row in enumerate(rows):
            answer = self.searches[row].recommend()
            if answer is not None:
                answers[place] = self._read(self.searches[row], "recommend", answer)
        return answers
