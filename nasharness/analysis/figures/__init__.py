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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nasharness.analysis.figures import curves, devices, finals, fronts, landscape, shrinking
from nasharness.analysis.figures.files import FORMATS, as_csv, check_formats, write_figure
from nasharness.analysis.figures.source import StudyView
from nasharness.analysis.figures.style import Setting, looks
from nasharness.errors import DataError, UsageError, unknown
from nasharness.runs.job import Progress

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from nasharness.studies import StudyResults


@dataclass(frozen=True)
class Kind:
    """One figure: its title, how its numbers are computed, and how they are drawn.

    ``of``: whether a study is of its kind at all; of others it is drawn, or refused, by name alone. ``curve``: where
    it is of curves, a panel a data set, the columns of its numbers that hold budget and value.
    """

    title: str
    data: Callable[[StudyView], pd.DataFrame]
    draw: Callable[[StudyView, pd.DataFrame], Figure]
    of: Callable[[StudyView], bool] = lambda _: True
    curve: Callable[[StudyView], tuple[str, str]] | None = None


def _incumbent(title: str, axis: str) -> Kind:
    return Kind(
        title,
        partial(curves.incumbent, axis=axis),
        partial(curves.draw_incumbent, axis=axis),
        curve=lambda source: (axis, source.average),
    )


KINDS: dict[str, Kind] = {
    "incumbent-time": _incumbent("Incumbent against simulated time", "simulated_seconds"),
    "incumbent-evaluations": _incumbent("Incumbent against evaluations", "step"),
    "rank": Kind(
        "Rank over the budget",
        curves.ranks,
        curves.draw_ranks,
        curve=lambda source: (curves.rank_axis(source), "rank"),
    ),
    "critical-difference": Kind("Which algorithms differ", finals.critical_difference, finals.draw_critical_difference),
    "final-ecdf": Kind("Distribution of the final metric", finals.ecdf, finals.draw_ecdf),
    "final-runs": Kind("Final metric of the runs", finals.final_runs, finals.draw_final_runs),
    "landscape": Kind("Search signal against final metric", landscape.landscape, landscape.draw_landscape),
    "pareto": Kind("Accuracy against cost", landscape.pareto, landscape.draw_pareto),
    "fronts": Kind("Fronts that runs attain", fronts.attained, fronts.draw_attained, fronts.several),
    "hypervolume": Kind(
        "Hypervolume against evaluations",
        fronts.growth,
        fronts.draw_growth,
        fronts.several,
        curve=lambda source: ("step", source.average),
    ),
    "under-limits": Kind("The best under limits", fronts.under_limits, fronts.draw_under_limits, fronts.several),
    "device-agreement": Kind("How far devices agree", devices.agreement, devices.draw_agreement, devices.named),
    "device-best": Kind("The best network of each device", devices.best, devices.draw_best, devices.named),
    "shrinking": Kind("What was shrunk away, and when", shrinking.shrinking, shrinking.draw_shrinking),
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


def of(source: StudyView) -> list[str]:
    """Names of the figures for studies of this kind."""
    return [name for name, kind in KINDS.items() if kind.of(source)]


def render(source: StudyView, name: str) -> tuple[Figure, pd.DataFrame]:
    """One figure and the numbers that it draws. Call within ``style.looks()``.

    Raises UsageError or DataError where the study cannot give it: nothing shrinks, or its table is not here.
    """
    names([name])
    data = KINDS[name].data(source)
    return KINDS[name].draw(source, data), data


def draw(
    results: StudyResults | StudyView,
    out: str | os.PathLike[str],
    *,
    only: Sequence[str] | None = None,
    formats: Sequence[str] = ("png", "pdf"),
    average: str = "mean",
    setting: Setting | None = None,
    progress: Progress | None = None,
) -> Drawn:
    """Write figures into the folder ``out``: NAME.csv with the numbers, and NAME.png (300 dpi), NAME.pdf, NAME.svg.

    ``only``: some of ``KINDS``; a figure asked for by name that cannot be drawn is an error, else it is left out.
    ``average``: of curves, mean or median; a StudyView has its own. ``setting``: width, style, and whether captions are
    part of the figure; where they are not, NAME.txt has them. Raises UsageError for an unknown figure or
    format, or a folder that cannot be written.
    """
    wanted = names(only)
    check_formats(formats)
    source = results if isinstance(results, StudyView) else StudyView(results, average)
    wanted = wanted if only else of(source)
    done = Drawn()
    with looks(setting):
        for number, name in enumerate(wanted):
            try:
                figure, data = render(source, name)
            except (UsageError, DataError) as error:
                if only:
                    raise
                done.left_out[name] = str(error)
                continue
            done.written += write_figure(Path(out), name, figure, as_csv(data), formats)
            if progress is not None:
                progress(number + 1, len(wanted))
    return done


__all__ = ["FORMATS", "KINDS", "Drawn", "Setting", "StudyView", "draw", "names", "of", "render"]
