"""The page of studies that must not be mixed, of several budgets or tables: standings over all, and each apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nasharness.analysis.comparison import compare
from nasharness.analysis.comparison.runs import controls
from nasharness.analysis.figures.source import StudyView
from nasharness.analysis.rating import Contest, contests, elo
from nasharness.analysis.report import standings
from nasharness.analysis.report.boards import INTRODUCTION, boards
from nasharness.analysis.report.page import document, header
from nasharness.analysis.report.page import escape as _
from nasharness.studies.plan import count

if TYPE_CHECKING:
    from nasharness.studies import StudyResults


def render(groups: Sequence[StudyResults], provenance: str, title: str | None = None) -> str:
    """The page as text. Each of ``groups`` is of one protocol."""
    names = [path.resolve().name for results in groups for path in results.paths]
    name = title or (", ".join(names) if len(names) <= 3 else f"{names[0]} and {len(names) - 1} other studies")
    found, parts, anchors = [], [], []
    for number, results in enumerate(groups):
        view = StudyView(results)
        anchors += controls(results.cells)
        found += [Contest((*one.cell, number), one.algorithm, one.wins, one.rank, one.first)
                  for one in contests(results, parts=(1.0,))]  # fmt: skip
        titles = {(panel.space.name, panel.dataset): panel.title for panel in view.panels}
        of = ", ".join(path.resolve().name for path in results.paths)
        made = boards(compare(results.frame, results.cells).sections, titles, lambda _: "")
        parts.append(
            f"<details{' open' if number == 0 else ''}><summary>{_(of)}: {_(', '.join(view.titles))}</summary>"
            f'<p class="quiet">{_(view.note)}</p>{made}</details>'
        )
    anchor = next(iter(anchors), "random")
    lead = f"{len(names):,} studies of several tables or budgets: standings over all, and each apart."
    sections = [
        standings.section(found, anchor),
        f'<h2 id="leaderboard">Leaderboards</h2>{INTRODUCTION}{"".join(parts)}<p>Figures and winners are of one '
        "protocol: <code>nasharness report STUDY</code> makes the page of one of these.</p>",
        provenance,
    ]
    links = [("standings", "Standings")] if found else []
    links += [("leaderboard", "Leaderboards"), ("provenance", "Provenance")]
    return document(name, header(name, _headline(found, anchor), lead, links), sections)


def _headline(found: Sequence[Contest], anchor: str) -> str:
    if not found:
        return "Nothing to rank: no two algorithms met on one data set at one budget."
    ratings = elo(found, anchor)
    best, *others = sorted(ratings, key=lambda name: -ratings[name])
    cells = len({one.cell for one in found})
    ahead = f", {ratings[best] - ratings[others[0]]:.0f} ahead of {others[0]}" if others else ""
    return f"{best} stands highest over {count(cells, 'cell')} of data set and budget: Elo {ratings[best]:.0f}{ahead}."
