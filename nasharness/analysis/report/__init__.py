"""A study as one HTML page that explains itself: leaderboards, figures, winners, settings, provenance."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nasharness import spaces
from nasharness.analysis import figures
from nasharness.analysis.comparison import Overall, Row, Section, compare
from nasharness.analysis.comparison.text import meaning
from nasharness.analysis.figures import pictures
from nasharness.analysis.figures.source import Panel, StudyView, budget_text
from nasharness.analysis.figures.style import COLOURS, looks, themed_svg
from nasharness.analysis.report import device, training
from nasharness.analysis.report.page import document, header, scrolling, table
from nasharness.analysis.report.page import escape as _
from nasharness.errors import DataError, UsageError
from nasharness.storage import atomically, writing
from nasharness.studies.plan import count
from nasharness.studies.winners import FOLDER, candidates_of, write_winners
from nasharness.training.retrained import Retraining

if TYPE_CHECKING:
    from nasharness.studies import StudyResults


def write(
    results: StudyResults | None,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    average: str = "mean",
    progress: Callable[[int, int], None] | None = None,
    trainings: Sequence[Retraining] = (),
) -> Path:
    """Write the page of one study or several to ``path``, and beside it ``winners/``, a file an algorithm and data set.

    ``trainings``: full trainings to show, from ``retrained.read_all``; with them ``results`` may be None. Raises
    UsageError where the page cannot be written, DataError for a training whose winner is no architecture.
    """
    if results is None and not trainings:
        raise UsageError("a report needs a study or a full training")
    target = Path(path)
    if target.is_dir():
        raise UsageError(f"{target} is a folder; expected a file name such as {target / 'report.html'}")
    with writing(target, "choose another file"):
        # before the work, so that it is not lost
        target.parent.mkdir(parents=True, exist_ok=True)
        text = render(results, title=title, average=average, progress=progress, trainings=trainings)
        atomically(target, text)
        if results is not None:
            write_winners(results, target.parent / FOLDER)
            device.write_winners(StudyView(results, average), target.parent / FOLDER)
    return target


def render(
    results: StudyResults | None,
    *,
    title: str | None = None,
    average: str = "mean",
    progress: Callable[[int, int], None] | None = None,
    trainings: Sequence[Retraining] = (),
) -> str:
    """The page as text. ``average``: mean or median, for the curves.

    ``trainings``: full trainings to show beside the study; ``results`` None: alone.
    """
    if results is None:
        name = title or ", ".join(training.name for training in trainings)
        top = header(name, f"{count(len(trainings), 'full training')}.", "", [])
        return document(name, top, [training.section(trainings)])
    source = StudyView(results, average)
    compared = compare(results.frame, results.cells)
    fronts = [cell for cell in results.cells if cell.get("front", {}).get("hypervolume")]
    boards = list(compared.sections)
    boards += compare(results.frame, fronts, score="hypervolume").sections if fronts else ()
    name = title or ", ".join(path.resolve().name for path in results.paths)
    sections = [_boards(source, boards, compared.overall), _figures(source, progress), _winners(source)]
    if fronts:
        sections.append(device.section(source, lambda label: _swatch(source, label)))
    if trainings:
        sections.append(training.section(trainings, lambda label: _swatch(source, label)))
    sections += [_settings(source), _provenance(results)]
    more = [("device", "For your device")] if fronts else []
    more += [("training", "Full training")] if trainings else []
    return document(name, _header(source, name, more), sections)


def _header(source: StudyView, name: str, more: Sequence[tuple[str, str]]) -> str:
    links = [("leaderboard", "Leaderboard"), ("figures", "Figures"), ("winners", "Winners"), *more]
    links += [("settings", "Settings"), ("provenance", "Provenance")]
    datasets = ", ".join(panel.title for panel in source.panels)
    lead = f"{count(len(source.algorithms), 'algorithm')} on {datasets}. {source.note_runs}"
    return header(name, lead, source.note_table, links)


# ---- leaderboards

#: Heading, kind, direction of the first click, and (number to sort by, text to show) of a row.
Column = tuple[str, str, str, Callable[[Row], tuple[float, str]]]


def _columns(section: Section) -> list[Column]:
    def spread(value: str, bounds: str) -> Callable[[Row], tuple[float, str]]:
        return lambda row: (getattr(row, value), _spread(getattr(row, value), getattr(row, bounds)))

    def plain(value: str, form: str) -> Callable[[Row], tuple[float, str]]:
        return lambda row: (getattr(row, value), _number(getattr(row, value), form))

    return [
        ("mean %", "number", "descending", spread("mean", "mean_ci")),
        ("median %", "number", "descending", plain("median", ".2f")),
        ("IQM %", "number", "descending", spread("iqm", "iqm_ci")),
        ("regret", "number", "ascending", spread("regret", "regret_ci")),
        ("rank", "number", "ascending", spread("rank", "rank_ci")),
        ("P better", "number", "descending", plain("improvement", ".2f")),
        ("p (Holm)", "number", "ascending", lambda row: (row.p_holm, _p_value(row.p_holm))),
        (f"reach {section.target:.2f}", "number", "descending", plain("reached", ".0%")),
        ("evaluations to it", "number", "ascending", plain("target_evaluations", ",.0f")),
        ("simulated s to it", "number", "ascending", plain("target_seconds", ",.0f")),
        ("evaluations", "number", "ascending", plain("evaluations", ",.1f")),
        ("simulated s", "number", "ascending", plain("seconds", ",.0f")),
        ("runs", "number", "descending", plain("runs", ",.0f")),
    ]


def _boards(source: StudyView, sections: Sequence[Section], overall: Overall | None) -> str:
    titles = {(panel.space.name, panel.dataset): panel.title for panel in source.panels}
    parts = ['<h2 id="leaderboard">Leaderboard</h2><p>Click a heading to sort. Small print: 95 % intervals, stratified '
             "bootstrap over runs. Evaluations and seconds to a target are medians over all runs.</p>"]  # fmt: skip
    for section in sections:
        parts.append(_board(source, section, titles.get((section.space, section.dataset), section.dataset)))
    if overall is not None:
        rows = "".join(
            f'<tr><th scope="row">{_swatch(source, label)}{_(label)}</th><td>{_spread(rank, bounds)}</td></tr>'
            for label, rank, bounds in zip(overall.algorithms, overall.rank, overall.rank_ci, strict=True)
        )
        parts.append(
            f"<section><h3>All data sets</h3><p>Mean rank over {overall.blocks:,} blocks (data set and seed). Friedman "
            f"{_p_value(overall.friedman_p, 'p ')}; ranks closer than {overall.critical_difference:.2f} "
            "(Nemenyi, 5 %) are not told apart.</p>"
            f"{table('Ranks over all data sets', ('algorithm', 'mean rank'), rows)}</section>"
        )
    return "\n".join(parts)


def _board(source: StudyView, section: Section, title: str) -> str:
    columns = _columns(section)
    head = '<th scope="col" aria-sort="none" data-kind="text" data-first="ascending">' + _button("algorithm") + "</th>"
    head += "".join(
        f'<th scope="col" aria-sort="{"descending" if number == 0 else "none"}" data-kind="{kind}" '
        f'data-first="{first}">{_button(words)}</th>'
        for number, (words, kind, first, __) in enumerate(columns)
    )
    rows = []
    for row in section.rows:
        cells = []
        for _words, _kind, _first, read in columns:
            value, shown = read(row)
            # an infinite time to a target is worse than any other
            key = "" if math.isnan(value) else "1e308" if math.isinf(value) else repr(float(value))
            cells.append(f'<td data-value="{key}">{shown}</td>')
        label = (
            f'<th scope="row" data-value="{_(row.algorithm)}">{_swatch(source, row.algorithm)}{_(row.algorithm)}</th>'
        )
        rows.append(f"<tr>{label}{''.join(cells)}</tr>")
    board = f'<table class="board"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    notes = "".join(f'<p class="quiet">{_(note)}</p>' for note in section.notes)
    of = f"{title}: fronts" if section.score == "hypervolume" else title
    return (
        f'<section><h3>{_(of)}</h3><p class="quiet">{_(meaning(section).capitalize())}, by '
        f"{_(section.protocol['final'])}, "
        f"{_(section.budget)}; the best there is: {_number(section.optimum, '.2f')} %. "
        f"P better: probability that a run beats one of {_(section.reference)}; "
        "p: paired Wilcoxon test against it. Reach: share of runs whose "
        f"{'front' if section.score == 'hypervolume' else 'incumbent'} reached {section.target:.2f} %.</p>"
        f"{scrolling(f'Leaderboard of {title}', board)}"
        f'<p class="hidden" aria-live="polite"></p>{notes}</section>'
    )


def _button(words: str) -> str:
    return f'<button type="button">{_(words)}</button>'


def _swatch(source: StudyView, label: str) -> str:
    look = source.looks.get(label)
    name = next((name for name, pair in COLOURS.items() if look is not None and pair[0] == look.colour), None)
    return f'<span class="swatch" style="background:var(--c-{name})"></span>' if name else ""


def _number(value: float, form: str) -> str:
    if math.isnan(value):
        return "–"
    return "never" if math.isinf(value) else format(value, form)


def _spread(value: float, bounds: Sequence[float]) -> str:
    low, high = bounds
    shown = _number(value, ".2f")
    return shown if math.isnan(low) else f"{shown}<small>[{low:.2f}, {high:.2f}]</small>"


def _p_value(p: float, prefix: str = "") -> str:
    if math.isnan(p):
        return "–"
    equals = "= " if prefix else ""
    return f"{prefix}&lt; 0.001" if p < 0.001 else f"{prefix}{equals}{p:.3f}"


# ---- figures and winners


def _figures(source: StudyView, progress: Callable[[int, int], None] | None) -> str:
    parts = ['<h2 id="figures">Figures</h2>']
    left_out = []
    with looks():
        wanted = figures.of(source)
        for number, name in enumerate(wanted):
            kind = figures.KINDS[name]
            try:
                figure, _data = figures.render(source, name)
            except (UsageError, DataError) as error:
                left_out.append(f"<li>{_(kind.title)}: {_(error)}</li>")
                continue
            parts.append(
                f'<figure id="figure-{name}"><figcaption>{_(kind.title)}</figcaption>'
                f"{scrolling(kind.title, themed_svg(figure, name, kind.title))}</figure>"
            )
            if progress is not None:
                progress(number + 1, len(wanted))
    if left_out:
        parts.append(f'<p class="quiet">Not drawn:</p><ul class="quiet">{"".join(left_out)}</ul>')
    return "\n".join(parts)


def _winners(source: StudyView) -> str:
    parts = [
        '<h2 id="winners">Winners</h2><p>What each algorithm recommends most often. An edge that carries nothing from '
        "input to output is dotted.</p>"
    ]
    for number, panel in enumerate(source.panels):
        cards = "".join(_box(panel, number, place, winner) for place, winner in enumerate(_by_winner(panel)))
        parts.append(f'<h3>{_(panel.title)}</h3><div class="cards">{cards}</div>')
    return "\n".join(parts)


def _by_winner(panel: Panel) -> Iterable[tuple[str, float, list[str]]]:
    """(architecture, final metric, who recommends it and how often), the best first."""
    found: dict[str, tuple[float, list[str]]] = {}
    for runs in panel.runs:
        one = next(c for c in candidates_of(runs.last, panel.space, runs.cells[0]) if c.label == "most-recommended")
        if one.arch is not None:
            text = f"{runs.algorithm} ({one.votes:,} of {len(runs.last):,} runs)"
            found.setdefault(panel.space.string(one.arch), (one.final, []))[1].append(text)
    return sorted(((arch, *value) for arch, value in found.items()), key=lambda winner: -winner[1])


def _box(panel: Panel, number: int, place: int, winner: tuple[str, float, list[str]]) -> str:
    space, (string, final, algorithms) = panel.space, winner
    arch = space.from_string(string)
    name = string if space.arch_shape else f"{arch}: {string}"
    drawing = pictures.svg(space, arch, f"w{number}-{place}", f"Architecture {name} of {space.name}")
    words = {"macs": ", {:,.1f} M MACs", "params": ", {:.3f} M params"}
    cost = "".join(
        words[form].format(float(space.closed_form(form, np.asarray(arch), panel.dataset)))
        for form in words
        if form in space.closed_forms
    )
    return (
        f'<div class="card">{drawing}<p><strong>{final:.2f} %</strong>{cost}</p><p>{_(", ".join(algorithms))}</p>'
        f"<p><code>{_(name)}</code></p></div>"
    )


# ---- settings and provenance


def _settings(source: StudyView) -> str:
    protocols = []
    for panel in source.panels:
        cell = panel.cell
        told = {
            "space": f"{panel.space.name}, {spaces.get(panel.space.name).size:,} architectures",
            "table": f"{cell['table']['source']}, {cell['table']['version']}",
            "checksum": cell["table"]["checksum"],
            "signal": cell["protocol"]["signal"],
            "final metric": cell["protocol"]["final"],
            "budget": budget_text(cell),
            "repeats": cell["protocol"]["repeats"],
            "cost": cell["protocol"]["cost"],
            "optimum": "not known" if np.isnan(panel.optimum) else f"{panel.optimum:.4f} %",
        }
        protocols.append(f"<h3>{_(panel.title)}</h3>{_list(told)}")
    seen: dict[str, Mapping[str, Any]] = {}
    for panel in source.panels:
        for runs in panel.runs:
            seen.setdefault(runs.algorithm, runs.cells[0])
    rows = "".join(
        f'<tr><th scope="row">{_swatch(source, label)}{_(label)}</th><td class="text" style="white-space:normal">'
        f"{_setting_text(cell)}</td><td>{cell['seed']} to {cell['seed'] + cell['runs'] - 1}</td></tr>"
        for label, cell in seen.items()
    )
    heads = ("algorithm", "settings (changed ones are bold)", "seeds")
    made = table("Settings of the algorithms", heads, rows, "plain text")
    return f'<h2 id="settings">Settings</h2>{made}{"".join(protocols)}'


def _setting_text(cell: Mapping[str, Any]) -> str:
    changed = cell.get("changed", {})
    pairs = [
        f"<strong>{_(key)}={_(value)}</strong>" if key in changed else f"{_(key)}={_(value)}"
        for key, value in cell["settings"].items()
    ]
    return ", ".join(pairs) or "none"


def _list(told: Mapping[str, Any]) -> str:
    return "<dl>" + "".join(f"<dt>{_(key)}</dt><dd>{_(value)}</dd>" for key, value in told.items()) + "</dl>"


def _provenance(results: StudyResults) -> str:
    parts = ['<h2 id="provenance">Provenance</h2>']
    for path, meta in zip(results.paths, results.metas, strict=True):
        provenance = dict(meta.get("provenance", {}))
        tables = provenance.pop("tables", {})
        command = provenance.pop("command", None)
        told = {"study": path.resolve().name, "identity": meta["identity"]}
        told |= {key.replace("_", " "): _plain(value) for key, value in provenance.items()}
        told |= {f"table {name}": _plain(value) for name, value in tables.items()}
        parts.append(f"<h3>{_(path.resolve().name)}</h3>{_list(told)}")
        if command:
            parts.append(f"<p>The command that made it:</p><pre tabindex='0'>{_(' '.join(map(str, command)))}</pre>")
        plan = json.dumps(meta["plan"], indent=1)
        parts.append(f"<details><summary>The plan</summary><pre tabindex='0'>{_(plan)}</pre></details>")
    return "\n".join(parts)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_plain(inner)}" for key, inner in value.items())
    return "unknown" if value is None else str(value)
