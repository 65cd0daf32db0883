"""Figures of studies, each with the numbers it draws.

::

    from nasharness.analysis import figures
    from nasharness.studies import load

    figures.draw(load("results/first"), "results/first/figures")
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nasharness.analysis.figures import curves, finals, landscape, shrinking
from nasharness.analysis.figures.source import Source
from nasharness.analysis.figures.style import looks, save
from nasharness.errors import DataError, UsageError, unknown
from nasharness.storage import atomically, writing

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from nasharness.studies import StudyResults

FORMATS = ("png", "pdf", "svg")


@dataclass(frozen=True)
class Kind:
    """One figure: its title, how its numbers are computed, and how they are drawn. ``average``: mean or median."""

    title: str
    data: Callable[[Source, str], pd.DataFrame]
    draw: Callable[[Source, pd.DataFrame, str], Figure]


KINDS: dict[str, Kind] = {
    "incumbent-time": Kind(
        "Incumbent against simulated time",
        lambda source, average: curves.incumbent(source, "simulated_seconds", average),
        lambda source, data, average: curves.draw_incumbent(source, data, "simulated_seconds", average),
    ),
    "incumbent-evaluations": Kind(
        "Incumbent against evaluations",
        lambda source, average: curves.incumbent(source, "step", average),
        lambda source, data, average: curves.draw_incumbent(source, data, "step", average),
    ),
    "rank": Kind(
        "Rank over the budget",
        lambda source, _: curves.ranks(source),
        lambda source, data, _: curves.draw_ranks(source, data),
    ),
    "critical-difference": Kind(
        "Which algorithms differ",
        lambda source, _: finals.critical_difference(source),
        lambda source, data, _: finals.draw_critical_difference(source, data),
    ),
    "final-ecdf": Kind(
        "Distribution of the final metric",
        lambda source, _: finals.ecdf(source),
        lambda source, data, _: finals.draw_ecdf(source, data),
    ),
    "final-runs": Kind(
        "Final metric of the runs",
        lambda source, _: finals.final_runs(source),
        lambda source, data, _: finals.draw_final_runs(source, data),
    ),
    "landscape": Kind(
        "Search signal against final metric",
        lambda source, _: landscape.landscape(source),
        lambda source, data, _: landscape.draw_landscape(source, data),
    ),
    "pareto": Kind(
        "Accuracy against cost",
        lambda source, _: landscape.pareto(source),
        lambda source, data, _: landscape.draw_pareto(source, data),
    ),
    "shrinking": Kind(
        "What AutoShrink removed, and when",
        lambda source, _: shrinking.shrinking(source),
        lambda source, data, _: shrinking.draw_shrinking(source, data),
    ),
}


@dataclass
class Drawn:
    """What ``draw`` wrote, and why some figures could not be drawn."""

    written: list[Path] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def names(only: Sequence[str] | None = None) -> list[str]:
    """Names of figures: all, or ``only`` those, checked. Raises UsageError for an unknown one."""
    for name in only or ():
        if name not in KINDS:
            raise unknown("figure", name, KINDS, "nasharness figures --help")
    return list(KINDS) if not only else [name for name in KINDS if name in only]


def render(source: Source, name: str, average: str = "mean") -> tuple[Figure, pd.DataFrame]:
    """One figure and the numbers that it draws. Call within ``style.looks()``.

    Raises UsageError or DataError where the study cannot give it: no AutoShrink run, or its table is not here.
    """
    names([name])
    if average not in curves.AVERAGES:
        raise unknown("average", average, curves.AVERAGES)
    kind = KINDS[name]
    data = kind.data(source, average)
    return kind.draw(source, data, average), data


def draw(
    results: StudyResults | Source,
    out: str | os.PathLike[str],
    *,
    only: Sequence[str] | None = None,
    formats: Sequence[str] = ("png", "pdf"),
    average: str = "mean",
    progress: Callable[[int, int], None] | None = None,
) -> Drawn:
    """Write figures into the folder ``out``: NAME.csv with the numbers, and NAME.png (300 dpi), NAME.pdf, NAME.svg.

    ``only``: some of ``KINDS``; a figure asked for by name that cannot be drawn is an error, else it is left out.
    Raises UsageError for an unknown figure or format, or a folder that cannot be written.
    """
    wanted = names(only)
    if average not in curves.AVERAGES:
        raise unknown("average", average, curves.AVERAGES, "nasharness figures --help")
    for format_ in formats:
        if format_ not in FORMATS:
            raise unknown("format of figures", format_, FORMATS, "nasharness figures --help")
    source = results if isinstance(results, Source) else Source(results)
    folder = Path(out)
    done = Drawn()
    with looks():
        for number, name in enumerate(wanted):
            try:
                figure, data = render(source, name, average)
            except (UsageError, DataError) as error:
                if only:
                    raise
                done.left_out[name] = str(error)
                continue
            files = {"csv": data.to_csv(index=False, lineterminator="\n").encode("utf-8")}
            files |= {format_: save(figure, format_) for format_ in formats}
            done.written += _write(folder, name, files)
            if progress is not None:
                progress(number + 1, len(wanted))
    return done


def _write(folder: Path, name: str, files: dict[str, bytes]) -> list[Path]:
    with writing(f"figures to {folder}"):
        for ending, content in files.items():
            atomically(folder / f"{name}.{ending}", content)
    return [folder / f"{name}.{ending}" for ending in files]


__all__ = ["FORMATS", "KINDS", "Drawn", "Source", "draw", "names", "render"]
