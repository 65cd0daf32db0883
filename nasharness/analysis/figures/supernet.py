"""How well shared weights rank: tau over the epochs of a run, the ranking at its end, and what it overrates."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nasharness.analysis.figures.files import FORMATS, as_csv, write_figure
from nasharness.analysis.figures.style import COLOURS, MUTED, Look, looks, points, sheet

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: how each score is drawn
LOOKS = {
    "affinity": Look(COLOURS["green"][0], (0, (1, 1.2)), "^"),
    "accuracy": Look(COLOURS["blue"][0], "-", "o"),
    "loss": Look(COLOURS["vermilion"][0], (0, (5, 1.4)), "s"),
}
#: Architectures below this quantile of the table are shown at the lower edge: cells that learn nothing are far off.
LOWEST = 0.06


def write(
    data: pd.DataFrame,
    captions: Mapping[str, str],
    file: str | os.PathLike[str],
    formats: Sequence[str] = ("png", "pdf"),
) -> list[Path]:
    """Write the figure of ``draw`` and its numbers beside each other: FILE.png (300 dpi), FILE.pdf, FILE.csv.

    ``file``: with or without an ending. Raises UsageError where they cannot be written, or matplotlib is absent.
    """
    base = Path(file)
    name = base.stem if base.suffix.lower() in (".csv", *("." + kind for kind in FORMATS)) else base.name
    with looks():
        return write_figure(base.parent, name, draw(data, captions), as_csv(data), formats, "--figure")


def draw(data: pd.DataFrame, captions: Mapping[str, str]) -> Figure:
    """Draw ``data``, whose rows are told apart by ``part``. Call within ``style.looks()``.

    ``epoch``: ``epoch``, ``score``, ``tau`` with its interval ``low`` to ``high``; without such rows there is no left
    panel. ``end``: the same at the end of the run, on all that was ranked. ``architecture``: ``index``, its scores
    with the shared weights (``affinity`` and ``accuracy`` in [0, 1], ``loss``), ``final`` metric of the table in
    percent. ``bias``: ``option``, its Spearman's rho with the ranking of the ``shared`` weights and of the ``table``;
    without such rows there is no panel of it. ``captions``: ``title``, ``truth``, ``note``.
    """
    curve, cells = data[data["part"] == "epoch"], data[data["part"] == "architecture"]
    bias = data[data["part"] == "bias"]
    columns = 1 + bool(len(curve)) + bool(len(bias))
    legend = [(f"tau by {name}", look) for name, look in LOOKS.items()] if len(curve) else []
    note = (
        f"{captions['note']} Triangles at the lower edge: architectures that are worse still. Affinity: mean root of "
        "the right class's probability."
    )
    if len(bias):
        note += " Last panel: how rank goes with what architectures hold."
    made = sheet(columns, height=1.9, legend=legend, note=note, gap=0.95 if len(bias) else 0.62, top=0.3)
    if len(curve):
        _curve(made.panels[0][0], curve)
        made.panels[0][0].set_title(captions["title"])
    right = made.panels[0][int(len(curve) > 0)]
    if len(bias):
        _bias(made.panels[0][-1], bias)
    _cells(right, cells, data[data["part"] == "end"])
    right.set_ylabel(captions["truth"])
    if not len(curve):
        right.set_title(captions["title"], pad=12)
    return made.figure


def _curve(axes: Axes, rows: pd.DataFrame) -> None:
    axes.axhline(0, color=MUTED, linewidth=0.7, zorder=1.5)
    for name, look in LOOKS.items():
        own = rows[rows["score"] == name].sort_values("epoch")
        x = own["epoch"].to_numpy(dtype=float)
        axes.fill_between(
            x, own["low"].to_numpy(dtype=float), own["high"].to_numpy(dtype=float), color=look.colour, alpha=0.15, lw=0
        )
        axes.plot(
            x, own["tau"].to_numpy(dtype=float), color=look.colour, linestyle=look.dash, marker=look.marker, zorder=3
        )
    last = float(rows["epoch"].max())
    axes.set_xlim(0, 1.03 * last)
    axes.set_ylim(min(-0.1, float(np.nanmin(rows[["tau", "low"]].to_numpy(dtype=float), initial=0.0))), 1.0)
    axes.set_xlabel("epoch")
    axes.set_ylabel("Kendall's tau with the table")
    axes.locator_params(axis="x", integer=True)


def _bias(axes: Axes, rows: pd.DataFrame) -> None:
    """A line for each option, from where the table has it to where the shared weights have it."""
    rows = rows.sort_values("excess")
    places = np.arange(len(rows))
    shared, table = rows["shared"].to_numpy(dtype=float), rows["table"].to_numpy(dtype=float)
    axes.axvline(0, color=MUTED, linewidth=0.7, zorder=1.5)
    axes.hlines(places, np.minimum(shared, table), np.maximum(shared, table), color=MUTED, linewidth=1.0, zorder=2)
    axes.plot(table, places, "o", color=MUTED, markersize=4, zorder=3, label="table")
    axes.plot(shared, places, "D", color=COLOURS["vermilion"][0], markersize=4, zorder=3, label="shared weights")
    axes.set_yticks(places, [str(option) for option in rows["option"]])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel("Spearman's rho")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, fontsize=points(6), frameon=False, borderpad=0)


def _cells(axes: Axes, cells: pd.DataFrame, end: pd.DataFrame) -> None:
    score, final = cells["affinity"].to_numpy(dtype=float), cells["final"].to_numpy(dtype=float)
    floor, best = float(np.quantile(final, LOWEST)), float(final.max())
    floor = min(floor, best - 1.0)
    inside = final >= floor
    opacity = 0.7 if len(final) <= 1_000 else 0.25
    axes.scatter(score[inside], final[inside], s=5, color=MUTED, alpha=opacity, linewidths=0, zorder=2)
    if (~inside).any():
        # still lower: shown at the edge, so that the others can be told apart
        edge = np.full(int((~inside).sum()), floor - 0.04 * (best - floor))
        axes.scatter(
            score[~inside], edge, s=7, marker="v", facecolors="none", edgecolors=MUTED, linewidths=0.5, clip_on=False
        )
    axes.set_ylim(floor - 0.07 * (best - floor), best + 0.05 * (best - floor))
    for _, row in end[end["score"] == "affinity"].iterrows():
        interval = "" if np.isnan(row["low"]) else f" [{row['low']:.2f}, {row['high']:.2f}]"
        words = f"tau {row['tau']:.2f}{interval}"
        axes.text(1.0, 1.02, words, transform=axes.transAxes, va="bottom", ha="right", fontsize=points(6))
    axes.set_xlabel("affinity")
