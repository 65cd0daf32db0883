"""Curves over the budget: the incumbent against simulated time and evaluations, and ranks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nasharness.analysis import statistics
from nasharness.analysis.figures.source import Floats, Panel, Runs, StudyView
from nasharness.analysis.figures.style import MUTED, points, setting, sheet
from nasharness.errors import DataError
from nasharness.search.interval import t_quantile

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Numbers that ranks are computed from at a time (64 MB).
CHUNK = 8_000_000
AXES = {"simulated_seconds": "simulated seconds", "step": "evaluations"}
AVERAGE_NOTES = {
    "mean": "Lines: mean over runs; bands: 95 % interval of the mean.",
    "median": "Lines: median over runs; bands: middle half of the runs.",
}
RANK_NOTE = "Lines: mean rank over runs with equal seeds, 1 the best; bands: 95 % interval of the mean."


def incumbent(source: StudyView, axis: str) -> pd.DataFrame:
    """Final metric of the incumbent over the budget: dataset, algorithm, budget, mean or median, low, high, runs."""
    parts = []
    for panel in source.panels:
        grid = panel.grid(axis)
        for runs in panel.runs:
            own = grid[grid >= runs.first(axis)]
            band = centre_and_band(runs.at(axis, own), source.average)
            parts.append(curve(panel, runs, {axis: own}, source.average, band) | {"optimum": panel.optimum})
    return frame(parts)


def curve(
    panel: Panel,
    runs: Runs,
    budgets: dict[str, NDArray[Any]],
    column: str,
    band: Iterable[Floats],
    count: int | None = None,
) -> dict[str, Any]:
    """What is drawn of one algorithm: its ``column`` at ``budgets``, and the band around it."""
    columns = dict(zip((column, "low", "high"), band, strict=True))
    named = {"panel": panel.title, "algorithm": runs.algorithm}
    return named | budgets | columns | {"runs": len(runs.last) if count is None else count}


def frame(parts: list[dict[str, Any]]) -> pd.DataFrame:
    """What ``curve`` gives, one below the other."""
    import pandas as pd

    return pd.concat([pd.DataFrame(part) for part in parts], ignore_index=True)


def centre_and_band(values: Floats, average: str) -> tuple[Floats, Floats, Floats]:
    """Centre and band of ``[runs, budgets]`` by one of AVERAGES."""
    if average == "median":
        low, centre, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
        return centre, low, high
    centre = values.mean(axis=0)
    return centre, *_interval(values, centre)


def _interval(values: Floats, centre: Floats) -> tuple[Floats, Floats]:
    n = len(values)
    if n < 2:
        return centre, centre
    half = t_quantile(0.975, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n)
    return centre - half, centre + half


def draw_incumbent(source: StudyView, data: pd.DataFrame, axis: str) -> Figure:
    """One panel a data set, logarithmic in the budget."""
    key = {"step": "evaluations", "simulated_seconds": "seconds"}[axis]
    cells = [cell for panel in source.panels for runs in panel.runs for cell in runs.cells]
    ended = "" if all(cell["protocol"][key] for cell in cells) else "A run that has ended keeps its incumbent. "
    made = sheet(len(source.panels), legend=source.legend, note=f"{AVERAGE_NOTES[source.average]} {ended}{source.note}")
    for axes, panel in zip(made.panels[0], source.panels, strict=True):
        rows = data[data["panel"] == panel.title]
        words = "best found" if np.isnan(panel.optimum) else "table's optimum"
        axes.axhline(panel.best, color=MUTED, linewidth=0.7, linestyle=(0, (1, 2)), zorder=1.5)
        lines(axes, source, rows, axis, source.average, steps=True)
        axes.set_ylim(*_zoom(rows, axis, source.average, panel.best))
        axes.annotate(
            f"{words} {panel.best:.2f}",
            (0.02, panel.best),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            xytext=(0, 1.5),
            va="bottom",
            fontsize=points(5.5),
            color=MUTED,
        )
    made.label(source.titles, AXES[axis], "final metric of the incumbent (%)")
    return made.figure


def _zoom(rows: pd.DataFrame, axis: str, average: str, optimum: float) -> tuple[float, float]:
    """Room for what happens after the first twentieth of the budget: before that, all climb steeply."""
    later = rows[rows[axis] >= rows[axis].max() / 20]
    worst = float(later[average].min())
    span = max(optimum - worst, 1e-3)
    return worst - 0.08 * span, optimum + 0.12 * setting().text * span  # with room for its label, above all curves


def lines(axes: Axes, source: StudyView, rows: pd.DataFrame, axis: str, column: str, steps: bool = False) -> None:
    """Draw ``column`` with its band over ``axis``, an algorithm a line. ``steps``: hold each value until the next."""
    for label, own in rows.groupby("algorithm", observed=True, sort=False):
        look = source.looks[str(label)]
        x = own[axis].to_numpy()
        band: dict[str, Any] = {"color": look.colour, "alpha": 0.18, "linewidth": 0, "zorder": 2}
        axes.fill_between(x, own["low"], own["high"], step="post" if steps else None, **band)
        index = list(source.looks).index(str(label))
        marks = np.searchsorted(x, np.geomspace(max(x[0], 1e-9), x[-1], 6)[1:] * 0.8 ** (index % 4 / 4)).clip(
            0, len(x) - 1
        )
        axes.plot(
            x,
            own[column],
            drawstyle="steps-post" if steps else "default",
            color=look.colour,
            linestyle=look.dash,
            marker=look.marker,
            markersize=3.2 * look.size,
            markevery=list(dict.fromkeys(marks.tolist())),
            label=str(label),
            zorder=3.5 if label in source.controls else 3,
        )
    start = float(rows[axis].min())
    end = float(rows[axis].max())
    axes.set_xscale("log")
    if end > start:
        axes.set_xlim(start, end * 1.03)
    _log_ticks(axes, start, end)


def _log_ticks(axes: Axes, start: float, end: float) -> None:
    """Ticks as plain numbers: 1, 2, 5 or 1, 3 times powers of ten where the axis is short, else powers of ten."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    decades = np.log10(end / max(start, 1e-9))
    factors = (1, 2, 5) if decades < 1.6 else (1, 3) if decades < 2.7 else (1,)
    ticks = [
        factor * 10.0**power
        for power in range(int(np.floor(np.log10(start))), int(np.ceil(np.log10(end))) + 1)
        for factor in factors
        if start <= factor * 10.0**power <= end * 1.03
    ]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FixedFormatter([_plain(tick) for tick in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())


def _plain(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def rank_axis(source: StudyView) -> str:
    """Ranks are taken at equal simulated time where that is the budget, else at equal numbers of evaluations."""
    timed = all(cell["protocol"]["seconds"] for panel in source.panels for runs in panel.runs for cell in runs.cells)
    return "simulated_seconds" if timed else "step"


def ranks(source: StudyView) -> pd.DataFrame:
    """Mean rank over the budget: dataset, algorithm, budget, rank, low, high, runs."""
    axis = rank_axis(source)
    parts = []
    for panel in source.panels:
        seeds = shared_seeds(panel)
        grid = panel.grid(axis)
        grid = grid[grid >= max(runs.first(axis) for runs in panel.runs)]
        if not len(grid):
            raise DataError(f"{panel.title}: at no budget has every run made an evaluation; nothing can be ranked")
        chunks = -(-len(panel.runs) * len(seeds) * len(grid) // CHUNK)
        described = [_ranks_at(panel, axis, some, seeds) for some in np.array_split(grid, min(chunks, len(grid)))]
        for runs, band in zip(panel.runs, np.concatenate(described, axis=2), strict=True):
            parts.append(curve(panel, runs, {axis: grid}, "rank", band, len(seeds)))
    return frame(parts)


def _ranks_at(panel: Panel, axis: str, grid: Floats, seeds: set[int]) -> Floats:
    """Mean rank and its interval: ``[algorithms, 3, budgets]``."""
    values = np.stack([runs.at(axis, grid)[runs.last["seed"].isin(seeds).to_numpy()] for runs in panel.runs])
    ranked = statistics.ranks(np.round(values, 9))
    centre = ranked.mean(axis=1)
    return np.stack([np.stack([c, *_interval(own, c)]) for own, c in zip(ranked, centre, strict=True)])


def shared_seeds(panel: Panel) -> set[int]:
    """Seeds that every algorithm of a panel has. Raises DataError where there is none: ranks are paired by seed."""
    shared = set.intersection(*(set(runs.last["seed"].tolist()) for runs in panel.runs))
    if not shared:
        raise DataError(f"{panel.title}: the algorithms have no seed in common; ranks are paired by seed")
    return shared


def draw_ranks(source: StudyView, data: pd.DataFrame) -> Figure:
    """One panel a data set; rank 1 on top."""
    axis = rank_axis(source)
    made = sheet(len(source.panels), legend=source.legend, note=f"{RANK_NOTE} {source.note}")
    for axes, panel in zip(made.panels[0], source.panels, strict=True):
        lines(axes, source, data[data["panel"] == panel.title], axis, "rank")
        axes.set_ylim(len(panel.runs) + 0.3, 0.7)
        axes.set_yticks(range(1, len(panel.runs) + 1))
    made.label(source.titles, AXES[axis], "mean rank")
    return made.figure
