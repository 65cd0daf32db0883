"""The leaderboards of a report: a table a data set, that sorts, and the ranks over all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from nasharness.analysis.comparison import Overall, Row, Section
from nasharness.analysis.comparison.text import meaning
from nasharness.analysis.report.page import escape as _
from nasharness.analysis.report.page import scrolling, table

#: The mark of an algorithm's colour on a page.
Swatch = Callable[[str], str]
#: Heading, direction of the first click, and (number to sort by, text to show) of a row.
Column = tuple[str, str, Callable[[Row], tuple[float, str]]]
INTRODUCTION = (
    "<p>Click a heading to sort. Small print: 95 % intervals, stratified bootstrap over runs. Evaluations and seconds "
    "to a target are medians over all runs.</p>"
)


def _columns(section: Section) -> list[Column]:
    def spread(value: str, bounds: str) -> Callable[[Row], tuple[float, str]]:
        return lambda row: (getattr(row, value), with_interval(getattr(row, value), getattr(row, bounds)))

    def plain(value: str, form: str) -> Callable[[Row], tuple[float, str]]:
        return lambda row: (getattr(row, value), number(getattr(row, value), form))

    return [
        ("mean %", "descending", spread("mean", "mean_ci")),
        ("median %", "descending", plain("median", ".2f")),
        ("IQM %", "descending", spread("iqm", "iqm_ci")),
        ("regret", "ascending", spread("regret", "regret_ci")),
        ("rank", "ascending", spread("rank", "rank_ci")),
        ("P better", "descending", plain("improvement", ".2f")),
        ("p (Holm)", "ascending", lambda row: (row.p_holm, p_value(row.p_holm))),
        (f"reach {section.target:.2f}", "descending", plain("reached", ".0%")),
        ("evaluations to it", "ascending", plain("target_evaluations", ",.0f")),
        ("simulated s to it", "ascending", plain("target_seconds", ",.0f")),
        ("evaluations", "ascending", plain("evaluations", ",.1f")),
        ("simulated s", "ascending", plain("seconds", ",.0f")),
        ("runs", "descending", plain("runs", ",.0f")),
    ]


def boards(sections: Iterable[Section], titles: dict[tuple[str, str], str], swatch: Swatch) -> str:
    """A leaderboard for each of ``sections``; ``titles`` by space and data set."""
    return "\n".join(
        board(section, titles.get((section.space, section.dataset), section.dataset), swatch) for section in sections
    )


def board(section: Section, title: str, swatch: Swatch) -> str:
    """The leaderboard of one data set. A column that has one value for all is said above it instead."""
    columns = _columns(section)
    shared, kept = [], []
    for column in columns:
        shown = {column[2](row)[1] for row in section.rows}
        if column[0] in ("runs", "evaluations") and len(shown) == 1 and len(section.rows) > 1:
            shared.append(f"{column[0]}: {shown.pop().removesuffix('.0')} each")
        else:
            kept.append(column)
    head = '<th scope="col" aria-sort="none" data-kind="text" data-first="ascending">' + _button("algorithm") + "</th>"
    head += "".join(
        f'<th scope="col" aria-sort="{"descending" if place == 0 else "none"}" data-kind="number" '
        f'data-first="{first}">{_button(words)}</th>'
        for place, (words, first, __) in enumerate(kept)
    )
    rows = []
    for row in section.rows:
        cells = []
        for _words, _first, read in kept:
            value, shown_value = read(row)
            # an infinite time to a target is worse than any other
            key = "" if math.isnan(value) else "1e308" if math.isinf(value) else repr(float(value))
            cells.append(f'<td data-value="{key}">{shown_value}</td>')
        name = f'<th scope="row" style="--name:{len(row.algorithm)}ch" data-value="{_(row.algorithm)}">'
        label = f"{name}{swatch(row.algorithm)}{_(row.algorithm)}</th>"
        rows.append(f"<tr>{label}{''.join(cells)}</tr>")
    made = f'<table class="board"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    told = [*section.notes, *(f"Caveat: {caveat}" for caveat in section.caveats)]
    notes = "".join(f'<p class="quiet">{_(note)}</p>' for note in told)
    of = f"{title}: fronts" if section.score == "hypervolume" else title
    said = f" {_('; '.join(shared)).capitalize()}." if shared else ""
    return (
        f'<section><h3>{_(of)}</h3><p class="quiet">{_(meaning(section).capitalize())}, by '
        f"{_(section.protocol['final'])}, "
        f"{_(section.budget)}; the best there is: {number(section.optimum, '.2f')} %. "
        f"P better: probability that a run beats one of {_(section.reference)}; "
        "p: paired Wilcoxon test against it. Reach: share of runs whose "
        f"{'front' if section.score == 'hypervolume' else 'incumbent'} reached {section.target:.2f} %.{said}</p>"
        f"{scrolling(f'Leaderboard of {title}', made)}"
        f'<p class="hidden" aria-live="polite"></p>{notes}</section>'
    )


def ranks_over_all(overall: Overall, swatch: Swatch) -> str:
    """Mean ranks over all data sets, with Friedman's test."""
    rows = "".join(
        f'<tr><th scope="row">{swatch(label)}{_(label)}</th><td>{with_interval(rank, bounds)}</td></tr>'
        for label, rank, bounds in zip(overall.algorithms, overall.rank, overall.rank_ci, strict=True)
    )
    return (
        f"<section><h3>All data sets</h3><p>Mean rank over {overall.blocks:,} blocks (data set and seed). Friedman "
        f"{p_value(overall.friedman_p, 'p ')}; ranks closer than {overall.critical_difference:.2f} "
        "(Nemenyi, 5 %) are not told apart.</p>"
        f"{table('Ranks over all data sets', ('algorithm', 'mean rank'), rows, narrow=True)}</section>"
    )


def _button(words: str) -> str:
    return f'<button type="button">{_(words)}</button>'


def number(value: float, form: str) -> str:
    """A number for people: a dash where it is not known, ``never`` where it is infinite."""
    if math.isnan(value):
        return "–"
    return "never" if math.isinf(value) else format(value, form)


def with_interval(value: float, bounds: Sequence[float]) -> str:
    """A number and its interval in small print below it, where one is known."""
    low, high = bounds
    shown = number(value, ".2f")
    return shown if math.isnan(low) else f"{shown}<small>[{low:.2f}, {high:.2f}]</small>"


def p_value(p: float, prefix: str = "") -> str:
    """A p-value as markup."""
    if math.isnan(p):
        return "–"
    equals = "= " if prefix else ""
    return f"{prefix}&lt; 0.001" if p < 0.001 else f"{prefix}{equals}{p:.3f}"
