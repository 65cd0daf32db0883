"""A comparison as text, CSV, Markdown or LaTeX."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from nasharness.analysis.comparison import Comparison, Overall, Row, Section
from nasharness.analysis.layout import bracket, comma_separated, latex, markdown, p_value, plain, quantity
from nasharness.errors import unknown

FORMATS = ("text", "csv", "markdown", "latex")
#: How scores are called in a header.
MEANING = {
    "final": "final metric of the incumbent (best by signal)",
    "recommended": "final metric of the algorithm's own answer",
    "hypervolume": "hypervolume of the run's front, of the exact front's",
}


def render(comparison: Comparison, form: str = "text") -> str:
    """The whole comparison in one of FORMATS."""
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    if form == "csv":
        return _csv(comparison)
    parts = [_section(section, form) for section in comparison.sections]
    if comparison.overall is not None:
        parts.append(_overall(comparison.overall, form))
    return "\n\n".join(parts)


def _section(section: Section, form: str) -> str:
    scores_head = [
        "algorithm",
        "runs",
        "mean [95 %]",
        "median [95 %]",
        "IQM [95 %]",
        "regret [95 %]",
        "signal regret",
        "at max",
    ]
    tests_head = [
        "rank [95 %]",
        f"P(> {section.reference}) [95 %]",
        "p (Holm)",
        "reached",
        "evaluations",
        "seconds",
    ]
    left = [_scores(row) for row in section.rows]
    right = [_tests(row) for row in section.rows]
    if form == "markdown":
        lines = [f"### {section.space} / {section.dataset}", ""]
        lines += [f"- {line}" for line in _told(section)]
        whole = [[*a, *b] for a, b in zip(left, right, strict=True)]
        return "\n".join([*lines, "", markdown([*scores_head, *tests_head], whole)])
    if form == "latex":
        caption = f"{section.space} / {section.dataset}: " + "; ".join(_told(section)) + "."
        whole = [[*a, *b] for a, b in zip(left, right, strict=True)]
        return latex([*scores_head, *tests_head], whole, caption)
    names = [row[0] for row in left]
    return "\n".join(
        [
            f"{section.space} / {section.dataset}",
            *(f"  {line}" for line in _told(section)),
            "",
            plain(scores_head, left),
            "",
            plain(["algorithm", *tests_head], [[name, *row] for name, row in zip(names, right, strict=True)]),
        ]
    )


def meaning(section: Section) -> str:
    """What was scored, in words."""
    return MEANING.get(section.score) or f"final metric of the {section.score} (best by signal)"


def _what(section: Section) -> str:
    """What a target is one of."""
    return {"hypervolume": "front"}.get(section.score, "incumbent" if section.score in MEANING else section.score)


def _told(section: Section) -> list[str]:
    protocol = section.protocol
    return [
        f"table {section.table}",
        f"signal {section.realised or protocol['signal']}, final {protocol['final']}, repeats {protocol['repeats']}",
        f"score: {meaning(section)}, percent, {section.budget}; optimum {section.optimum:.2f}",
        *(
            []
            if section.realised
            else [
                f"intervals: 95 %, stratified bootstrap; p: Wilcoxon paired by seed against {section.reference}, Holm "
                "over the other algorithms of this data set"
            ]
        ),
        f"target {section.target:.2f} % for the {_what(section)}: share of runs that reached it, and the median "
        "evaluations and simulated seconds until then (- where most never did, or it is not known when)",
        *section.notes,
    ]


def _scores(row: Row) -> list[str]:
    return [
        row.algorithm,
        f"{row.runs:,}",
        bracket(row.mean, row.mean_ci),
        bracket(row.median, row.median_ci),
        bracket(row.iqm, row.iqm_ci),
        bracket(row.regret, row.regret_ci),
        "-" if math.isnan(row.signal_regret) else f"{row.signal_regret:.2f}",
        "-" if math.isnan(row.at_maximum) else f"{100 * row.at_maximum:.0f} %",
    ]


def _tests(row: Row) -> list[str]:
    return [
        bracket(row.rank, row.rank_ci),
        bracket(row.improvement, row.improvement_ci),
        p_value(row.p_holm),
        f"{100 * row.reached:.0f} %",
        quantity(row.target_evaluations),
        quantity(row.target_seconds),
    ]


def _overall(overall: Overall, form: str) -> str:
    told = [
        f"mean rank in {overall.blocks:,} blocks (a seed on a data set): {', '.join(overall.datasets)}",
        f"Friedman p {p_value(overall.friedman_p)}" if not math.isnan(overall.friedman_p) else "two algorithms",
        f"mean ranks further apart than {overall.critical_difference:.3f} differ (Nemenyi, 5 %)",
    ]
    head = ["algorithm", "mean rank [95 %]"]
    rows = [
        [name, bracket(rank, bounds, 3)]
        for name, rank, bounds in zip(overall.algorithms, overall.rank, overall.rank_ci, strict=True)
    ]
    if form == "markdown":
        return "\n".join(["### all data sets", "", *(f"- {line}" for line in told), "", markdown(head, rows)])
    if form == "latex":
        return latex(head, rows, "All data sets: " + "; ".join(told) + ".")
    return "\n".join(["all data sets", *(f"  {line}" for line in told), "", plain(head, rows)])


def _csv(comparison: Comparison) -> str:
    named = [field.name for field in fields(Row)]
    head = ["space", "dataset", "table", "signal", "metric", "score", "budget", "optimum", "reference", "target"]
    for name in named:
        head += [f"{name[:-3]}_low", f"{name[:-3]}_high"] if name.endswith("_ci") else [name]
    rows: list[list[Any]] = []
    for section in comparison.sections:
        front: list[Any] = [section.space, section.dataset, section.table, section.protocol["signal"]]
        front += [section.protocol["final"], section.score, section.budget]
        front += [section.optimum, section.reference, section.target]
        for row in section.rows:
            values: list[Any] = []
            for name in named:
                value = getattr(row, name)
                values += list(value) if name.endswith("_ci") else [value]
            rows.append([*front, *values])
    return comma_separated(head, rows)
