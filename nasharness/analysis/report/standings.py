"""The section of a report that ranks algorithms over data sets, tables and budgets: Elo and win rates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nasharness.analysis.rating import Contest, elo
from nasharness.analysis.report.boards import Swatch
from nasharness.analysis.report.page import escape as _
from nasharness.analysis.report.page import table


def section(found: Sequence[Contest], anchor: str, swatch: Swatch = lambda _: "") -> str:
    """A row an algorithm, the highest rating first; empty where nothing was compared. ``anchor``: who has 1000."""
    if not found:
        return ""
    ratings = elo(found, anchor)
    rows = []
    for name, rating in sorted(ratings.items(), key=lambda each: -each[1]):
        own = [contest for contest in found if contest.algorithm == name]
        numbers = [f"{np.mean([getattr(one, what) for one in own]):{form}}"
                   for what, form in (("wins", ".1%"), ("rank", ".2f"), ("first", ".1%"))]  # fmt: skip
        cells = "".join(f"<td>{text}</td>" for text in (f"{rating:.0f}", *numbers, f"{len(own)}"))
        rows.append(f'<tr><th scope="row">{swatch(name)}{_(name)}</th>{cells}</tr>')
    heads = ("algorithm", "Elo", "win rate", "rank", "first", "cells")
    zero = f"{_(anchor)} has 1000" if anchor in ratings else "their mean is 1000"
    return (
        f'<h2 id="standings">Standings</h2><p>Over {_(_cells(found))}, each with the same weight, incumbents '
        f"compared on equal seeds. Elo: Bradley-Terry ratings, {zero}, 400 more are odds of ten to one. Win rate: "
        "share of comparisons won, equals by half. First: share of runs in which no other is better, shared with "
        "equals.</p>"
        f"{table('Standings', heads, ''.join(rows), narrow=True)}"
    )


def _cells(found: Sequence[Contest]) -> str:
    """Which cells: data sets and budgets, by table."""
    cells = list(dict.fromkeys(contest.cell for contest in found))
    tables: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for space, dataset, source, evaluations, seconds, part, *__ in cells:
        datasets, budgets = tables.setdefault(f"{space} ({source})", ({}, {}))
        datasets[dataset] = None
        budgets[f"{int(evaluations * part):,}" if evaluations is not None else f"{seconds * part:,.0f} s"] = None
    told = [f"{name}: {', '.join(datasets)} at {', '.join(budgets)}" for name, (datasets, budgets) in tables.items()]
    return f"{len(cells)} cells of data set and budget ({'; '.join(told)})"
