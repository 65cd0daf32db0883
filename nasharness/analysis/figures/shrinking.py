"""What shrinking left: which choices an algorithm still held after how many evaluations, from a run made again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasharness.analysis.figures.source import Runs, StudyView, budget_text
from nasharness.analysis.figures.style import GRID, MUTED, Look, option_colours, sheet, shortened
from nasharness.errors import UsageError
from nasharness.search import registry
from nasharness.search.algorithm import Algorithm, Asked
from nasharness.search.loop import search
from nasharness.search.run import make_task
from nasharness.spaces.base import Floats, Indices, Space
from nasharness.spaces.drawing import LABELS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nasharness.search import Problem

NOTE = "Bars: choices that were still there; a bar that ends was removed then, one that begins was opened again."


class _Watched(Algorithm):
    """Passes everything on to ``inner``, and notes after each step what it still holds."""

    def __init__(self, inner: Algorithm) -> None:
        self.inner = inner
        self.task = inner.task
        self.evaluations = 0
        self.seen: list[tuple[int, NDArray[np.bool_]]] = []
        self._note()

    def ask(self) -> Asked:
        return self.inner.ask()

    def tell(self, ids: Indices, values: Floats) -> None:
        self.inner.tell(ids, values)
        self.evaluations += int((~np.isnan(values[0])).sum())
        self._note()

    def recommend(self, rows: NDArray[np.intp]) -> ArrayLike | None:
        return self.inner.recommend(rows)

    def _note(self) -> None:
        alive = np.array(self.inner.surviving()[0])  # type: ignore[attr-defined]
        self.seen.append((self.evaluations, alive))


def watch(algorithm: str, settings: dict[str, Any], problem: Problem, seed: int) -> list[tuple[int, NDArray[np.bool_]]]:
    """Run one seed again: (evaluations made, choices held ``[positions, options]``) after every step.

    For algorithms with a method ``surviving() -> bool [runs, positions, options]``; UsageError for others.
    """
    record = registry.get(algorithm)
    seeds = np.array([seed], dtype=np.int64)
    evaluator = problem.evaluator()
    built = record.build(make_task(record, problem, evaluator, seeds), record.settings(settings))
    if not hasattr(built, "surviving"):
        raise UsageError(f"{algorithm} does not shrink: it has no method surviving()")
    watched = _Watched(built)
    search(watched, problem, evaluator, seeds)
    return watched.seen


def shrinking(source: StudyView) -> pd.DataFrame:
    """Spans: dataset, algorithm, seed, position, option, held from and until how many evaluations, removed or not.

    An algorithm that removed nothing, in the run that is made again, is left out. Raises UsageError where no algorithm
    of the study shrinks, or none removed anything.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    shrinkers = _shrinkers(source)
    for runs in shrinkers:
        own_rows: list[dict[str, Any]] = []
        for panel in source.panels:
            own = next((other for other in panel.runs if other.algorithm == runs.algorithm), None)
            if own is None:
                continue
            cell, seed = own.cells[0], int(own.last["seed"].iloc[0])
            seen = watch(cell["name"], cell["settings"], panel.problem(), seed)
            base = {"panel": panel.title, "algorithm": runs.algorithm, "seed": seed}
            own_rows += [base | span for span in _spans(panel.space, seen)]
        if any(row["removed"] for row in own_rows):
            rows += own_rows
    if not rows:
        names = ", ".join(runs.algorithm for runs in shrinkers)
        raise UsageError(f"shrinking: {names} removed nothing within this budget; a larger one shows it")
    return pd.DataFrame(rows)


def _shrinkers(source: StudyView) -> list[Runs]:
    found: dict[str, Runs] = {}
    for panel in source.panels:
        for runs in panel.runs:
            cell = runs.cells[0]
            if cell["kind"] != registry.ONE_SHOT and hasattr(registry.get(cell["name"]).cls, "surviving"):
                found.setdefault(runs.algorithm, runs)
    if not found:
        raise UsageError(f"shrinking: none of {', '.join(source.algorithms)} shrinks; run a study with one that does")
    return list(found.values())


def _spans(space: Space, seen: list[tuple[int, NDArray[np.bool_]]]) -> list[dict[str, Any]]:
    when = [evaluations for evaluations, _ in seen]
    held = np.stack([alive for _, alive in seen])  # [steps, positions, options]
    rows = []
    for position, options in enumerate(space.options):
        for option, name in enumerate(options):
            own = np.concatenate([[False], held[:, position, option], [False]]).astype(int)
            for first, last in zip(np.flatnonzero(np.diff(own) == 1), np.flatnonzero(np.diff(own) == -1), strict=True):
                removed = bool(last < len(when))
                rows.append(
                    {
                        "position": space.positions[position],
                        "option": name,
                        "held_from": when[first],
                        "held_until": when[last] if removed else when[-1],
                        "removed": removed,
                    }
                )
    return rows


def draw_shrinking(source: StudyView, data: pd.DataFrame) -> Figure:
    """A row of panels for each algorithm that shrinks; in a panel a band a position and in it a line an option."""
    algorithms = list(dict.fromkeys(data["algorithm"]))
    spaces = {panel.space.name: panel.space for panel in source.panels}
    legend = [
        (LABELS.get(name, name), Look(colour, "-", "s"))
        for space in spaces.values()
        for name, colour in reversed(option_colours(space.options[0]).items())
    ]
    seed = int(data["seed"].iloc[0])
    height = 0.32 * max(len(space.positions) for space in spaces.values())
    budgets = dict.fromkeys(budget_text(runs.cells[0]) for panel in source.panels for runs in panel.runs)
    note = f"{NOTE} One run, of seed {seed}. {source.note_table} Budget {', '.join(budgets)}."
    made = sheet(
        len(source.panels),
        len(algorithms),
        height=height,
        legend=legend,
        note=note,
        gap=0.2 if len(spaces) == 1 else 0.34,
        lines=False,
        row_gap=0.42,
    )
    for row, algorithm in enumerate(algorithms):
        for column, panel in enumerate(source.panels):
            axes = made.panels[row][column]
            own = data[(data["panel"] == panel.title) & (data["algorithm"] == algorithm)]
            _bands(
                axes,
                panel.space,
                own,
                labels=made.leftmost(column) or panel.space is not source.panels[column - 1].space,
            )
            axes.set_title(panel.title)
            if made.leftmost(column):
                axes.set_ylabel(shortened(algorithm, 34), fontweight="bold")
            if row == len(algorithms) - 1:
                axes.set_xlabel("evaluations")
    return made.figure


def _bands(axes: Axes, space: Space, own: pd.DataFrame, *, labels: bool) -> None:
    colours = option_colours(space.options[0])
    count = len(colours)
    pitch = count + 1.2
    for number, position in enumerate(space.positions):
        top = number * pitch
        axes.axhspan(top - 0.5, top + count - 0.5, color=GRID, alpha=0.35, linewidth=0, zorder=0)
        here = own[own["position"] == position]
        for line, option in enumerate(reversed(colours)):
            spans = here[here["option"] == option]
            bars = list(zip(spans["held_from"], spans["held_until"] - spans["held_from"], strict=True))
            axes.broken_barh(bars, (top + line - 0.38, 0.76), facecolors=colours[option], linewidth=0, zorder=2)
    end = float(own["held_until"].max()) if len(own) else 1.0
    axes.set_xlim(0, end)
    axes.set_ylim(len(space.positions) * pitch - 1.2, -0.8)
    ticks = [number * pitch + (count - 1) / 2 for number in range(len(space.positions))]
    axes.set_yticks(ticks, [name.replace("->", "→") for name in space.positions] if labels else [""] * len(ticks))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(False, axis="y")
    axes.xaxis.grid(True, color=MUTED, alpha=0.25)
    axes.locator_params(axis="x", nbins=5)
