"""Tables of text: aligned columns, Markdown, LaTeX, CSV. Cells are strings, the first column is left-aligned."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from nasharness.storage import as_cell

Rows = Sequence[Sequence[str]]


def plain(head: Sequence[str], rows: Rows) -> str:
    """Columns aligned by spaces."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = []
    for row in (head, *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(head: Sequence[str], rows: Rows) -> str:
    """A table of GitHub's Markdown."""
    clean = [[_markdown_text(cell) for cell in row] for row in (head, *rows)]
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (clean[0], rule, *clean[1:]))


def _markdown_text(text: str) -> str:
    """``text`` as it is: no markup, no link, no formula, no HTML; intervals keep their brackets."""
    return re.sub(r"[\\`*_|~$]|<(?=[A-Za-z/!?])|(?<=\])\(", r"\\\g<0>", " ".join(text.split()))


def latex(head: Sequence[str], rows: Rows, caption: str, *, label: str, bold: int | None) -> str:
    """A table with the rules of package booktabs; the row ``bold``, if any, stands out."""

    def cells(row: Sequence[str], strong: bool) -> str:
        return " & ".join(rf"\textbf{{{_latex_text(cell)}}}" if strong else _latex_text(cell) for cell in row)

    body = "\n".join(f"  {cells(row, number == bold)} \\\\" for number, row in enumerate(rows))
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{_latex_text(caption)}}}",
            rf"\label{{{label}}}",
            r"\centering",
            rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
            r"\toprule",
            "  " + " & ".join(map(_latex_text, head)) + r" \\",
            r"\midrule",
            body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "\N{PLUS-MINUS SIGN}": r"\ensuremath{\pm}",
    "\N{DAGGER}": r"\textsuperscript{\textdagger}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
}


def _latex_text(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


def comma_separated(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """CSV with a header; numbers in full, NaN and infinity as empty cells."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(as_cell, head))
    for row in rows:
        writer.writerow(["" if isinstance(cell, float) and not math.isfinite(cell) else as_cell(cell) for cell in row])
    return out.getvalue().rstrip("\n")


def bracket(value: float, bounds: tuple[float, float], digits: int = 2) -> str:
    """``94.21 [94.19, 94.23]``; without a known interval the value alone."""
    if math.isnan(value):
        return "-"
    text = f"{value:.{digits}f}"
    return text if math.isnan(bounds[0]) else f"{text} [{bounds[0]:.{digits}f}, {bounds[1]:.{digits}f}]"


def plus_minus(value: float, bounds: tuple[float, float]) -> str:
    """``94.21 ± 0.02``: the interval's longer half, so that it holds the whole; without one the value alone."""
    if math.isnan(value):
        return "-"
    half = max(value - bounds[0], bounds[1] - value)
    return f"{value:.2f}" if math.isnan(half) else f"{value:.2f} \N{PLUS-MINUS SIGN} {half:.2f}"


def estimate(value: float, bounds: tuple[float, float], digits: int) -> str:
    """As ``bracket``; ``[-]`` where resampling gives no interval of a value that is known."""
    return bracket(value, bounds, digits) + (" [-]" if math.isnan(bounds[0]) and not math.isnan(value) else "")


def json_ready(value: Any) -> Any:
    """Plain values of dataclasses, mappings and sequences, for JSON; what is not finite becomes None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: json_ready(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): json_ready(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def p_value(p: float) -> str:
    """A p-value for people."""
    if math.isnan(p):
        return "-"
    return "<0.0001" if p < 1e-4 else f"{p:.4f}"


def quantity(value: float) -> str:
    """A whole number with thousands separated, ``-`` where there is none."""
    return f"{value:,.0f}" if math.isfinite(value) else "-"


def budget(protocol: Mapping[str, Any]) -> str:
    """The budget of a protocol in words."""
    parts = [] if protocol["evaluations"] is None else [f"{protocol['evaluations']:,} evaluations"]
    parts += [] if protocol["seconds"] is None else [f"{protocol['seconds']:,.0f} simulated s"]
    return " and ".join(parts)
