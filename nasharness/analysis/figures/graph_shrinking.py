"""AutoShrink's own search as a figure: scores of all candidates step by step, and how long each edge survived."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasharness.analysis.figures.files import FORMATS, check_formats, write_figure
from nasharness.analysis.figures.style import COLOURS, GRID, MUTED, Look, Setting, looks, points, sheet
from nasharness.analysis.layout import comma_separated
from nasharness.training.proxy_search.trajectory import NAME, read, rows, survival

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEAD = ("step", "removed", "edges", "quality", "cost", "score", "chosen", "stopped", "arch")
_DOT, _LINE, _BEST = COLOURS["sky"][0], COLOURS["vermilion"][0], COLOURS["green"][0]


def figure(trajectory: dict[str, Any]) -> Figure:
    """Two panels; call within ``style.looks()``."""
    data = rows(trajectory)
    lived = survival(trajectory)
    quality = trajectory["quality"]
    legend = [("candidate", Look(_DOT, "-", "o")), ("chosen", Look(_LINE, "-", "s")), ("winner", Look(_BEST, "-", "*"))]
    note = (
        f"Space {trajectory['space']}, {trajectory['dataset']}, {trajectory['algorithm']}, seed {trajectory['seed']}: "
        f"{trajectory['trainings']} trainings, one a dot; the score is {_formula(quality)} Bars: steps that an edge "
        f"survived; pale ones were cut off with their source."
    )
    made = sheet(2, height=0.35 + 0.085 * len(lived), legend=legend, note=note, lines=False)
    left, right = made.panels[0]
    _scores(left, data)
    _survival(right, trajectory, lived)
    return made.figure


def _formula(quality: str) -> str:
    if quality == "accuracy":
        return "accuracy less a share of log10 MACs."
    return "0.25 (200 - perplexity) less log10 of the cost."


def _scores(axes: Axes, data: list[dict[str, Any]]) -> None:
    finite = [row for row in data if math.isfinite(row["score"])]
    axes.plot([row["step"] for row in finite], [row["score"] for row in finite], "o", color=_DOT, markersize=2.6,
              markeredgewidth=0, alpha=0.75)  # fmt: skip
    chosen = [row for row in finite if row["chosen"]]
    axes.plot([row["step"] for row in chosen], [row["score"] for row in chosen], "-s", color=_LINE, markersize=2.8)
    best = min(chosen, key=lambda row: (-row["score"], row["cost"]), default=None)  # as the search decides
    if best is not None:
        axes.plot([best["step"]], [best["score"]], "*", color=_BEST, markersize=8, markeredgewidth=0, zorder=4)
    axes.set_xlabel("step: an edge less, with what it cuts off")
    axes.set_ylabel("score")
    axes.set_title("score")
    axes.locator_params(axis="x", integer=True)
    axes.margins(x=0.03)


def _survival(axes: Axes, trajectory: dict[str, Any], lived: dict[str, int]) -> None:
    steps = len(trajectory["steps"])
    removed = {step["candidates"][step["chosen"]]["removed"] for step in trajectory["steps"]}
    for place, (edge, until) in enumerate(lived.items()):
        kept = until > steps
        colour = COLOURS["green"][0] if kept else COLOURS["blue"][0] if edge in removed else GRID
        axes.barh(place, max(until, 0.12) if not kept else steps + 0.5, height=0.72, color=colour, linewidth=0)
    axes.set_yticks(range(len(lived)), [edge.replace("->", "→") for edge in lived], fontsize=points(5.2))
    axes.set_ylim(len(lived) - 0.4, -0.6)
    axes.set_xlim(0, steps + 0.5)
    axes.set_xlabel("removed in step (green: still there)")
    axes.set_title("edges")
    axes.grid(False, axis="y")
    axes.locator_params(axis="x", integer=True)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_color(MUTED)


def is_search(folder: Path) -> bool:
    """Whether a folder holds the trajectory of such a search."""
    return (folder / NAME).is_file()


def write(
    folder: Path, out: Path | None = None, *, formats: Sequence[str] = FORMATS[:2], setting: Setting | None = None
) -> list[Path]:
    """Write ``shrinking.csv``, with all that is drawn, and ``shrinking.png``, ``.pdf``, ``.svg`` as asked; return them.

    ``out``: a folder; none is that of the search, which may be unfinished. Raises UsageError for an unknown format,
    without matplotlib, and where ``out`` cannot be written; DataError for a trajectory that is damaged.
    """
    check_formats(formats)
    trajectory = read(folder)
    table = comma_separated(_HEAD, [[row[key] for key in _HEAD] for row in rows(trajectory)]) + "\n"
    with looks(setting):
        return write_figure(folder if out is None else out, "shrinking", figure(trajectory), table.encode(), formats)
