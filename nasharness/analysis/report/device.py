"""The section "For your device": the best network under limits on a cost, who finds it, and its cell to train."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nasharness.analysis.comparison.fronts import Found, Under, best_under, optimum_under
from nasharness.analysis.comparison.runs import sign_of
from nasharness.analysis.figures import pictures
from nasharness.analysis.figures.source import Panel, StudyView
from nasharness.analysis.report.page import escape as _
from nasharness.analysis.report.page import table
from nasharness.search import winner as winners
from nasharness.search.interval import summarise
from nasharness.search.winner import Candidate
from nasharness.storage import write_json


@dataclass(frozen=True)
class Answer:
    """What one algorithm found under one limit. ``mean``: of the final metric over the runs that found anything."""

    algorithm: str
    found: Found
    mean: float
    ci95: tuple[float, float] | None
    candidates: list[Candidate]

    @property
    def pick(self) -> Candidate:
        """What its runs found most often."""
        return next(one for one in self.candidates if one.label == "most-recommended")


def questions(panel: Panel) -> Iterator[Under]:
    """The limits of a panel: quartiles of each known cost over the space; none where one objective was searched by."""
    objectives = list(panel.cell["protocol"].get("objectives", ()))
    for name, bounds in panel.cell.get("front", {}).get("limits", {}).items():
        place = next(place for place, one in enumerate(objectives) if one["name"] == name)
        for bound in bounds:
            yield Under(name, place, True, bound, objectives[place]["unit"])


def answers(panel: Panel, limit: Under) -> list[Answer]:
    """What each algorithm found, the best mean first."""
    sign = sign_of(panel.cell)
    made = []
    for runs in panel.runs:
        found = best_under(runs.last, runs.cells[0], limit)
        known = found.final[~np.isnan(found.final)]
        if not len(known):
            continue
        stats = summarise(known)

        def score(arch: Any, found: Found = found) -> float:
            return float(found.final[found.arch == int(arch)].mean())

        candidates = winners.candidates(
            panel.space, runs.last["seed"].to_numpy(), found.arch, found.signal, found.arch,
            score, sign,
        )  # fmt: skip
        candidates = [replace(one, about=f"{one.about}, under {limit}") for one in candidates]
        ci95 = None if stats.get("ci95") is None else tuple(stats["ci95"])
        made.append(Answer(runs.algorithm, found, float(known.mean()), ci95, candidates))
    return sorted(made, key=lambda answer: -sign * answer.mean)


def section(source: StudyView, swatch: Callable[[str], str]) -> str:
    """The section, empty where no panel has a front. ``swatch``: the mark of an algorithm's colour on this page."""
    parts = []
    for number, panel in enumerate(source.panels):
        asked = list(questions(panel))
        if asked:
            parts.append(f"<h3>{_(panel.title)}</h3>{_panel(panel, number, asked, swatch)}")
    if not parts:
        return ""
    return (
        '<h2 id="device">For your device</h2><p>The most accurate network under a limit on a cost. Limits are the '
        "quartiles of the cost over the space. A run answers with the best of its front by the signal; means are of "
        "the final metric over the runs that found anything, with 95 % intervals. The drawn cell of each limit is what "
        "the runs of its best algorithm found most often; <code>winners/</code> beside this page has it as a file that "
        "<code>nasharness retrain --winner</code> takes. <code>nasharness compare --limit</code> tests other limits."
        "</p>" + "\n".join(parts)
    )


def _panel(panel: Panel, number: int, asked: list[Under], swatch: Callable[[str], str]) -> str:
    rows, cards = [], []
    for place, limit in enumerate(asked):
        best, arch = optimum_under(panel.cell, limit)
        found = answers(panel, limit)
        if found:
            rows.append(
                f'<tr><th class="group" scope="rowgroup" colspan="5">{_(limit)}<small>the best there is: {best:.2f}, '
                f"index {arch}</small></th></tr>"
            )
        for answer in found:
            missing = int(np.isnan(answer.found.final).sum())
            bounds = "" if answer.ci95 is None else f"<small>[{answer.ci95[0]:.2f}, {answer.ci95[1]:.2f}]</small>"
            cells = [
                f"{answer.mean:.2f}{bounds}",
                f"{abs(best - answer.mean):.2f}",
                "all" if not missing else f"{len(answer.found.final) - missing:,} of {len(answer.found.final):,}",
                f"{answer.pick.arch} ({answer.pick.votes:,} runs, {answer.pick.final:.2f})",
            ]
            rows.append(
                f'<tr><th scope="row">{swatch(answer.algorithm)}{_(answer.algorithm)}</th>'
                + "".join(f'<td class="text">{cell}</td>' for cell in cells)
                + "</tr>"
            )
        if found:
            cards.append(_card(panel, f"d{number}-{place}", limit, found[0], file_name(panel, limit)))
    heads = ("algorithm", "mean", "behind", "runs", "found most often")
    return (
        f"{table(f'The best under limits on {panel.title}', heads, ''.join(rows), 'plain text')}"
        f'<div class="cards">{"".join(cards)}</div>'
    )


def _card(panel: Panel, prefix: str, limit: Under, answer: Answer, file: str) -> str:
    pick, space = answer.pick, panel.space
    name = f"{pick.arch}: {space.string(pick.arch)}"
    drawing = pictures.svg(space, pick.arch, prefix, f"Architecture {name} of {space.name}")
    return (
        f'<div class="card">{drawing}<p><strong>{_(limit)}: {pick.final:.2f}</strong></p>'
        f"<p>{_(answer.algorithm)}, {pick.votes:,} of {len(answer.found.arch):,} runs</p>"
        f"<p><code>{_(name)}</code></p><p><code>winners/{_(file)}</code></p></div>"
    )


def file_name(panel: Panel, limit: Under) -> str:
    """Name of the ``winner.json`` of a limit."""
    text = f"{panel.space.name}-{panel.dataset}-{limit.name}-at-most-{limit.bound:.4g}"
    return re.sub(r"[^\w.+=-]+", "-", text).strip("-") + ".json"


def write_winners(source: StudyView, folder: Path) -> list[Path]:
    """Write a ``winner.json`` for each limit into ``folder``: the candidates of its best algorithm, that one's own
    favourite first.
    """  # noqa: D205 - two lines
    written = []
    for panel in source.panels:
        for limit in questions(panel):
            found = answers(panel, limit)
            if not found:
                continue
            best = found[0]
            cell = next(runs.cells[0] for runs in panel.runs if runs.algorithm == best.algorithm)
            order = sorted(best.candidates, key=lambda one: one is not best.pick)
            content = _content(panel, cell, limit, order, len(best.found.arch), source)
            written.append(folder / file_name(panel, limit))
            write_json(written[-1], content)
    return written


def _content(
    panel: Panel, cell: Mapping[str, Any], limit: Under, order: list[Candidate], runs: int, source: StudyView
) -> dict[str, Any]:
    told = dict(cell) | {"algorithm": cell["name"], "runs": runs}
    origin = source.results.metas[cell["study"]].get("provenance", {})
    plain = [one.as_dict(panel.space) for one in order if one.arch is not None]
    return winners.content(told, plain, limit=str(limit), provenance=origin)
