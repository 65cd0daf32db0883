"""The course of a full training run, from its ``log.jsonl``: losses, accuracy or perplexity, learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nasharness.analysis.figures.files import check_formats, write_figure
from nasharness.analysis.figures.style import COLOURS, Look, Setting, looks, sheet
from nasharness.errors import DataError
from nasharness.runs import log

#: panel -> (title, columns of the log -> (label, colour)); a panel is drawn if the log has one of its columns
PANELS: tuple[tuple[str, Mapping[str, tuple[str, str]]], ...] = (
    ("loss (nats)", {
        "loss": ("training", "grey"), "train_loss": ("training", "grey"), "val_loss": ("validation", "blue"),
        "valid_loss": ("validation", "blue"), "ema_loss": ("validation, averaged weights", "vermilion"),
    }),
    ("top-1 (%)", {
        "val_top1": ("validation", "blue"), "ema_top1": ("validation, averaged weights", "vermilion"),
    }),
    ("perplexity", {"train_perplexity": ("training", "grey"), "valid_perplexity": ("validation", "blue")}),
    ("learning rate", {"lr": ("learning rate", "green")}),
)  # fmt: skip


def is_run(folder: Path) -> bool:
    """Whether a folder holds a training run's log."""
    return (folder / log.NAME).is_file()


def draw_run(
    run: Path, out: Path, *, formats: Sequence[str] = ("png", "pdf"), setting: Setting | None = None
) -> list[Path]:
    """Write ``training.csv`` with what is drawn, and ``training.png``, ``.pdf``, ``.svg`` as asked; return them.

    Raises:
        UsageError: an unknown format, matplotlib is not installed, or ``out`` cannot be written.
        DataError: the log is absent, damaged or empty.
    """
    check_formats(formats)
    rows = log.read(run)
    if not rows:
        raise DataError(f"{run / log.NAME} has no rows yet; train on for an epoch")
    with looks(setting):
        figure, columns = _figure(rows, run)
        return write_figure(out, "training", figure, log.csv_of(rows, columns).encode(), formats)


def _axis(rows: list[dict[str, Any]]) -> tuple[str, list[float]]:
    """Return the horizontal axis: steps where rows count them, epochs else."""
    name = "step" if "step" in rows[0] else "epoch"
    return name, [float(row.get(name, number)) for number, row in enumerate(rows, start=1)]


def _figure(rows: list[dict[str, Any]], run: Path) -> tuple[Any, list[str]]:
    present = {name for row in rows for name in row}
    panels = [(title, {name: value for name, value in lines.items() if name in present}) for title, lines in PANELS]
    panels = [(title, lines) for title, lines in panels if lines]
    if not panels:
        raise DataError(f"{run / log.NAME} has none of the columns that are drawn (loss, accuracy, lr)")
    named: dict[str, Look] = {}
    for _, lines in panels:
        for label, colour in lines.values():
            named.setdefault(label, Look(COLOURS[colour][0], "-", ""))
    name, places = _axis(rows)
    note = f"{run.name}: {len(rows)} rows of the log. The training loss is what was minimised (augmented, regularised)."
    drawn = sheet(len(panels), legend=list(named.items()), note=note)
    for axes, (title, lines) in zip(drawn.panels[0], panels, strict=True):
        for column, (label, _) in lines.items():
            points = [
                (x, float(row[column])) for x, row in zip(places, rows, strict=True) if row.get(column) is not None
            ]
            axes.plot(*zip(*points, strict=True), color=named[label].colour, marker="o" if len(points) == 1 else "")
        axes.set_title(title)
        axes.set_xlabel(name)
    return drawn.figure, [name, *dict.fromkeys(column for _, lines in panels for column in lines)]
