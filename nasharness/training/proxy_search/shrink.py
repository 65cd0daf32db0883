"""The shrink loop on graphs (docs/reproduction/autoshrink.md#shrink-loop), without any training of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from nasharness.errors import DataError
from nasharness.search import streams
from nasharness.spaces.shrink import Edge, Graph
from nasharness.training.proxy_search.settings import ShrinkSettings


@dataclass(frozen=True)
class Job:
    """One training: of ``graph``, for the ``repeat``-th time."""

    graph: Graph
    repeat: int = 0

    @property
    def key(self) -> str:
        """What the journal knows it by."""
        return f"{self.graph} #{self.repeat}"


@dataclass(frozen=True)
class Outcome:
    """What a training gave. ``value``: accuracy in [0, 1] or perplexity, NaN where it diverged; ``curve``: by epoch.

    ``stopped``: why it ended before its last epoch, or empty. ``seconds``: wall-clock time, which decides nothing.
    """

    value: float
    curve: tuple[float, ...] = ()
    stopped: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Candidate:
    """A graph that was scored. ``removed``: the edge taken away, None for the complete graph; ``cost``: e.g. MACs."""

    graph: Graph
    removed: Edge | None
    value: float
    cost: float
    score: float
    stopped: str = ""


@dataclass(frozen=True)
class Step:
    """All candidates of a step in the order drawn, and the ``chosen`` one."""

    candidates: tuple[Candidate, ...]
    chosen: Candidate


@dataclass(frozen=True)
class Trajectory:
    """``start``: the complete graph, scored or not. ``steps``: in order. ``trainings``: how many there were."""

    start: Graph
    scored_start: Candidate | None
    steps: tuple[Step, ...]
    trainings: int
    ended: str

    def recorded(self) -> list[Candidate]:
        """The graphs that the search stood at and that have a score."""
        first = [] if self.scored_start is None else [self.scored_start]
        return [one for one in [*first, *(step.chosen for step in self.steps)] if not math.isnan(one.score)]

    def best(self) -> Candidate:
        """The best score recorded, the cheaper of equals. Raises DataError where all diverged."""
        found = self.recorded()
        if not found:
            raise DataError("no training gave a value: all diverged; lower the learning rate, as in --set lr=0.001")
        return min(found, key=lambda one: (-one.score, one.cost))


#: trains jobs and returns their outcomes in the same order
Train = Callable[[Sequence[Job]], Sequence[Outcome]]


def shrink(
    start: Graph,
    settings: ShrinkSettings,
    seed: int,
    *,
    train: Train,
    cost: Callable[[Graph], float],
    score: Callable[[float, float], float],
    on_step: Callable[[Trajectory], None] | None = None,
) -> Trajectory:
    """Shrink ``start`` edge by edge.

    At each step at most ``k`` eligible removals are drawn uniformly without replacement, what each leaves is trained
    and scored, and the best is made permanent, with what it cuts off from node 0. ``cost(graph)``,
    ``score(value, cost)``. What is drawn depends on ``seed`` and on what was chosen before, on nothing else.
    ``on_step``: called with the trajectory so far.
    """
    judge = _Judge(settings, train, cost, score)
    rng = streams.generator(seed)
    graph = start
    target = round(settings.keep_fraction * len(start.eligible))  # of halves the even, as the official code
    done = Trajectory(start, None, (), 0, "")
    since = 0
    while True:
        ended = ""
        removable = _removable(graph, settings.keep_path)
        if len(graph.eligible) <= target:
            ended = f"{len(graph.eligible)} of {len(start.eligible)} edges are left"
        elif not removable:
            ended = "no edge can be removed without cutting off node 0"
        elif settings.patience and since >= settings.patience:
            ended = f"no better score in {since} steps"
        if ended:
            return replace(done, ended=ended)
        first = settings.score_start and not done.steps
        places = max(1, settings.k - first)
        drawn = [removable[int(place)] for place in rng.permutation(len(removable))[:places]]
        graphs: list[tuple[Graph, Edge | None]] = [(graph.without(edge), edge) for edge in drawn]
        if first:
            graphs.insert(0, (graph, None))
        scored = judge.candidates(graphs)
        whole = scored.pop(0) if first else done.scored_start
        best_before = max((one.score for one in done.recorded()), default=-math.inf)
        if first and whole is not None and not math.isnan(whole.score):
            best_before = whole.score
        step = Step(tuple(scored), _choose(scored, settings))
        since = 0 if step.chosen.score > best_before else since + 1
        graph = step.chosen.graph
        done = Trajectory(start, whole, (*done.steps, step), judge.trainings, "")
        if on_step is not None:
            on_step(done)


def _removable(graph: Graph, keep_path: bool) -> list[Edge]:
    """Eligible edges, less the only one that leaves node 0 if the path is to be kept."""
    from_input = [edge for edge in graph.eligible if edge[0] == 0]
    alone = keep_path and len(from_input) == 1
    return [edge for edge in graph.eligible if not (alone and edge[0] == 0)]


class _Judge:
    """Turns graphs into scored candidates; a graph that was met in an earlier step is not trained again."""

    def __init__(
        self,
        settings: ShrinkSettings,
        train: Train,
        cost: Callable[[Graph], float],
        score: Callable[[float, float], float],
    ) -> None:
        self.settings, self.train, self.cost, self.score = settings, train, cost, score
        self.known: dict[Job, Outcome] = {}

    @property
    def trainings(self) -> int:
        """How many there were."""
        return len(self.known)

    def candidates(self, graphs: Sequence[tuple[Graph, Edge | None]]) -> list[Candidate]:
        repeats = self.settings.repeats
        outcomes = self._train([Job(graph, repeat) for graph, _ in graphs for repeat in range(repeats)])
        values = [outcomes[place * repeats : (place + 1) * repeats] for place in range(len(graphs))]
        made = [self._scored(graph, edge, own) for (graph, edge), own in zip(graphs, values, strict=True)]
        finalists = min(self.settings.finalists, len(made))
        if finalists > 1:
            ranked = sorted(range(len(made)), key=lambda place: _rank(made[place]))[:finalists]
            again = self._train([Job(made[place].graph, repeats) for place in ranked])
            for place, outcome in zip(ranked, again, strict=True):
                made[place] = self._scored(made[place].graph, made[place].removed, [*values[place], outcome])
        return made

    def _train(self, jobs: list[Job]) -> list[Outcome]:
        new = [job for job in jobs if job not in self.known]
        self.known.update(zip(new, self.train(new), strict=True))
        return [self.known[job] for job in jobs]

    def _scored(self, graph: Graph, removed: Edge | None, outcomes: Sequence[Outcome]) -> Candidate:
        value = math.fsum(one.value for one in outcomes) / len(outcomes)
        cost = self.cost(graph)
        stopped = next((one.stopped for one in outcomes if one.stopped), "")
        return Candidate(graph, removed, value, cost, self.score(value, cost), stopped)


def _rank(one: Candidate) -> tuple[float, float]:
    """Sorts the best first, diverged ones last, the cheaper of equals first; stable sorting leaves the order drawn."""
    return (math.inf if math.isnan(one.score) else -one.score, one.cost)


def _choose(candidates: Sequence[Candidate], settings: ShrinkSettings) -> Candidate:
    """The removal that is made permanent."""
    if settings.nan == "best":
        failed = [one for one in candidates if math.isnan(one.score)]
        if failed:
            return failed[-1]
    if settings.ties == "last":
        top = max((one.score for one in candidates if not math.isnan(one.score)), default=math.nan)
        return [one for one in candidates if one.score == top or math.isnan(top)][-1]
    return min(candidates, key=_rank)
