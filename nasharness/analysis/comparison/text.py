"""A comparison as text, CSV, Markdown or LaTeX."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from nasharness.analysis.comparison import Comparison, Overall, Row, Section
from nasharness.analysis.layout import (
    bracket,
    comma_separated,
    latex,
    markdown,
    p_value,
    plain,
    plus_minus,
    quantity,
)
from nasharness.errors import unknown

FORMATS = ("text", "csv", "markdown", "latex")
#: How scores are called in a header.
MEANING = {
    "final": "final metric of the incumbent (best by signal)",
    "recommended": "final metric of the algorithm's own answer",
    "hypervolume": "hypervolume of the run's front, of the exact front's",
}


@dataclass(frozen=True)
class Column:
    """A column of a table: its head, ``{reference}`` in it filled in, and its cell of a row.

    ``cell`` takes the row and how an estimate is written: value, its interval, digits.
    """

    head: str
    cell: Callable[[Row, Estimate], str]


Estimate = Callable[[float, tuple[float, float]], str]
#: name -> column; ``compare --columns`` chooses among them
COLUMNS: dict[str, Column] = {
    "runs": Column("runs", lambda row, _: f"{row.runs:,}"),
    "mean": Column("mean [95 %]", lambda row, of: of(row.mean, row.mean_ci)),
    "median": Column("median [95 %]", lambda row, of: of(row.median, row.median_ci)),
    "iqm": Column("IQM [95 %]", lambda row, of: of(row.iqm, row.iqm_ci)),
    "regret": Column("regret [95 %]", lambda row, of: of(row.regret, row.regret_ci)),
    "signal-regret": Column("signal regret", lambda row, _: _known(row.signal_regret, "{:.2f}")),
    "at-max": Column("at max", lambda row, _: _known(100 * row.at_maximum, "{:.0f} %")),
    "rank": Column("rank [95 %]", lambda row, of: of(row.rank, row.rank_ci)),
    "improvement": Column("P(> {reference}) [95 %]", lambda row, of: of(row.improvement, row.improvement_ci)),
    "p": Column("p (Holm)", lambda row, _: p_value(row.p_holm)),
    "reached": Column("reached", lambda row, _: f"{100 * row.reached:.0f} %"),
    "evaluations": Column("evaluations", lambda row, _: quantity(row.target_evaluations)),
    "seconds": Column("seconds", lambda row, _: quantity(row.target_seconds)),
}
#: a table of text is cut in two, what was scored and how the algorithms compare, to fit a terminal
SCORED = ("runs", "mean", "median", "iqm", "regret", "signal-regret", "at-max")
#: what a paper's table has room for
PAPER = ("mean", "regret", "rank", "p")
#: from this p on an algorithm is not told apart from the best
ALPHA = 0.05


def check_columns(names: Sequence[str]) -> tuple[str, ...]:
    """The columns asked for. Raises UsageError for one that is none."""
    for name in names:
        if name not in COLUMNS:
            raise unknown("column", name, COLUMNS, "nasharness compare --help")
    return tuple(names)


def render(comparison: Comparison, form: str = "text", columns: Sequence[str] = ()) -> str:
    """The whole comparison in one of FORMATS. ``columns``: some of COLUMNS, in this order; the default suits the form.

    Raises UsageError for another form or column.
    """
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    columns = check_columns(columns)
    if form == "csv":
        return _csv(comparison)
    parts = [_section(section, form, columns) for section in comparison.sections]
    if comparison.overall is not None:
        parts.append(_overall(comparison.overall, form))
    return "\n\n".join(parts)


def _known(value: float, form: str) -> str:
    return "-" if math.isnan(value) else form.format(value)


def _table(section: Section, columns: Sequence[str], of: Estimate = bracket) -> tuple[list[str], list[list[str]]]:
    """Head and rows of some columns, the algorithm first."""
    head = ["algorithm", *(COLUMNS[name].head.format(reference=section.reference) for name in columns)]
    return head, [[row.algorithm, *(COLUMNS[name].cell(row, of) for name in columns)] for row in section.rows]


def _section(section: Section, form: str, columns: Sequence[str]) -> str:
    if form == "markdown":
        lines = [f"### {section.space} / {section.dataset}", ""]
        lines += [f"- {line}" for line in _told(section)]
        return "\n".join([*lines, "", markdown(*_table(section, columns or tuple(COLUMNS)))])
    if form == "latex":
        return _latex_section(section, columns or PAPER)
    others = tuple(name for name in COLUMNS if name not in SCORED)
    tables = [columns] if columns else [SCORED, others]
    told = "\n".join([f"{section.space} / {section.dataset}", *(f"  {line}" for line in _told(section))])
    return "\n\n".join([told, *(plain(*_table(section, names)) for names in tables)])


def _latex_section(section: Section, columns: Sequence[str]) -> str:
    """A table for a paper: the best mean in bold, with a dagger what is not told apart from it."""
    head, rows = _table(section, columns, plus_minus)
    head = [name.removesuffix(" [95 %]") for name in head]
    caption = f"{section.space}, {section.dataset}: {meaning(section)}, percent, {section.budget}"
    caption += " (half the width of 95 % intervals after the sign)"
    tested = section.reference == section.rows[0].algorithm
    alike = {row.algorithm for row in section.rows[1:] if tested and row.p_holm >= ALPHA}
    if alike:
        caption += f". \N{DAGGER}: not told apart from {section.reference}, Wilcoxon paired by seed, Holm, 5 %"
    for row in rows:
        row[0] += " \N{DAGGER}" if row[0] in alike else ""
    label = "-".join(re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") for name in (section.space, section.dataset))
    return latex(head, rows, caption + ".", label=f"tab:{label}", bold=0)


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
        *(f"caveat: {caveat}" for caveat in section.caveats),
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
        return latex(head, rows, "All data sets: " + "; ".join(told) + ".", label="tab:all", bold=None)
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
