"""AutoShrink's own search as a figure: scores of all candidates step by step, and how long each edge survived."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasharness import spaces
from nasharness.analysis.figures.style import COLOURS, GRID, MUTED, Look, looks, save, sheet
from nasharness.analysis.figures.training import FORMATS
from nasharness.analysis.layout import comma_separated
from nasharness.errors import DataError, unknown
from nasharness.storage import atomically, reading, writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "trajectory.json"
_HEAD = ("step", "removed", "edges", "quality", "cost", "score", "chosen", "stopped", "arch")
_DOT, _LINE, _BEST = COLOURS["sky"][0], COLOURS["vermilion"][0], COLOURS["green"][0]


def read(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the content of ``trajectory.json`` in ``folder``; DataError where there is none or it is damaged."""
    path = Path(folder) / NAME
    try:
        with reading(path):
            found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: no JSON ({str(error)[:80]})") from error
    if not isinstance(found, dict) or not {"space", "start", "steps", "quality"} <= set(found):
        raise DataError(f"{path}: no trajectory of AutoShrink's own search")
    return found


def rows(trajectory: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for every candidate: step (0 is the complete graph), edge removed, value, cost, score, chosen or not."""
    found = []
    if trajectory["scored_start"] is not None:
        found.append(_row(0, trajectory["scored_start"], True, trajectory["quality"]))
    for number, step in enumerate(trajectory["steps"], 1):
        for place, one in enumerate(step["candidates"]):
            found.append(_row(number, one, place == step["chosen"], trajectory["quality"]))
    return found


def _row(step: int, one: dict[str, Any], chosen: bool, quality: str) -> dict[str, Any]:
    return {
        "step": step,
        "removed": one["removed"] or "",
        "edges": one["edges"],
        "quality": math.nan if one[quality] is None else one[quality],
        "cost": one["cost"],
        "score": math.nan if one["score"] is None else one["score"],
        "chosen": chosen,
        "stopped": one["stopped"],
        "arch": one["arch"],
    }


def survival(trajectory: dict[str, Any]) -> dict[str, int]:
    """Edge -> the step that removed it, or the number of steps + 1 where it is still there."""
    space = spaces.graphs(trajectory["space"])
    steps = trajectory["steps"]
    graphs = [space.parse(trajectory["start"])]
    graphs += [space.parse(step["candidates"][step["chosen"]]["arch"]) for step in steps]
    return {
        f"{source}->{target}": next(
            (number for number, graph in enumerate(graphs) if (source, target) not in graph.present), len(graphs)
        )
        for source, target in graphs[0].present
    }


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
    axes.set_yticks(range(len(lived)), [edge.replace("->", "→") for edge in lived], fontsize=5.2)
    axes.set_ylim(len(lived) - 0.4, -0.6)
    axes.set_xlim(0, steps + 0.5)
    axes.set_xlabel("removed in step (green: still there)")
    axes.set_title("edges")
    axes.grid(False, axis="y")
    axes.locator_params(axis="x", integer=True)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_color(MUTED)


def is_search(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds the trajectory of such a search."""
    return (Path(folder) / NAME).is_file()


def write(
    folder: str | os.PathLike[str], out: str | os.PathLike[str] | None = None, *, formats: Sequence[str] = FORMATS[:2]
) -> list[Path]:
    """Write ``shrinking.csv``, with all that is drawn, and ``shrinking.png``, ``.pdf``, ``.svg`` as asked; return them.

    ``out``: a folder; none is that of the search, which may be unfinished. Raises UsageError for an unknown format,
    without matplotlib, and where ``out`` cannot be written; DataError as ``read``.
    """
    for kind in formats:
        if kind not in FORMATS:
            raise unknown("format of figures", kind, FORMATS, "nasharness figures --help")
    place = Path(folder if out is None else out)
    trajectory = read(folder)
    table = comma_separated(_HEAD, [[row[key] for key in _HEAD] for row in rows(trajectory)]) + "\n"
    files = {"shrinking.csv": table.encode()}
    with looks():
        drawn = figure(trajectory)
        files |= {f"shrinking.{kind}": save(drawn, kind) for kind in formats}
    for name, content in files.items():
        with writing(place / name):
            atomically(place / name, content)
    return [place / name for name in files]
