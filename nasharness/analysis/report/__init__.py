"""A study as one HTML page that explains itself: leaderboards, figures, winners, settings, provenance."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nasharness import spaces
from nasharness.analysis import figures
from nasharness.analysis.comparison import compare
from nasharness.analysis.figures import pictures
from nasharness.analysis.figures.source import Panel, StudyView, budget_text
from nasharness.analysis.figures.style import COLOURS, Setting, looks, themed_svg
from nasharness.analysis.rating import contests
from nasharness.analysis.report import curves, device, several, standings, training
from nasharness.analysis.report.boards import INTRODUCTION, boards, ranks_over_all
from nasharness.analysis.report.headline import headline
from nasharness.analysis.report.page import document, header, scrolling, table
from nasharness.analysis.report.page import escape as _
from nasharness.errors import DataError, UsageError
from nasharness.runs.job import Progress
from nasharness.storage import atomically, writing
from nasharness.studies.plan import count
from nasharness.studies.winners import FOLDER, candidates_of, write_winners
from nasharness.training.retrained import Retraining

if TYPE_CHECKING:
    from nasharness.studies import StudyResults


def write(
    results: StudyResults | Sequence[StudyResults] | None,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    average: str = "mean",
    progress: Progress | None = None,
    trainings: Sequence[Retraining] = (),
) -> Path:
    """Write the page of one study or several to ``path``, and beside it ``winners/``, a file an algorithm and data set.

    ``results``: what ``load`` returns; a sequence of them where tables or budgets differ, which makes a page of
    standings without winners. ``trainings``: full trainings to show, from ``retrained.read_all``; with them ``results``
    may be None. Raises UsageError where the page cannot be written, DataError for a training whose winner is no
    architecture.
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
        if results is not None and not isinstance(results, Sequence):
            write_winners(results, target.parent / FOLDER)
            device.write_winners(StudyView(results, average), target.parent / FOLDER)
    return target


def render(
    results: StudyResults | Sequence[StudyResults] | None,
    *,
    title: str | None = None,
    average: str = "mean",
    progress: Progress | None = None,
    trainings: Sequence[Retraining] = (),
) -> str:
    """The page as text. ``average``: mean or median, for the curves.

    ``trainings``: full trainings to show beside the study; ``results`` None: alone.
    """
    if results is None:
        name = title or ", ".join(training.name for training in trainings)
        top = header(name, f"{count(len(trainings), 'full training')}.", "", [])
        return document(name, top, [training.section(trainings)])
    if isinstance(results, Sequence):
        if trainings:
            raise UsageError("a full training stands beside one study; leave out --retrained, or the other studies")
        return several.render(results, "".join(_provenance(one) for one in results), title)
    source = StudyView(results, average)
    compared = compare(results.frame, results.cells)
    fronts = [cell for cell in results.cells if cell.get("front", {}).get("hypervolume")]
    made = list(compared.sections)
    made += compare(results.frame, fronts, score="hypervolume").sections if fronts else ()
    name = title or ", ".join(path.resolve().name for path in results.paths)
    titles = {(panel.space.name, panel.dataset): panel.title for panel in source.panels}

    def swatch(label: str) -> str:
        return _swatch(source, label)

    board = f'<h2 id="leaderboard">Leaderboard</h2>{INTRODUCTION}{boards(made, titles, swatch)}'
    board += ranks_over_all(compared.overall, swatch) if compared.overall is not None else ""
    ranked = standings.section(contests(results), next(iter(source.controls), "random"), swatch)
    parts = [("leaderboard", "Leaderboard", board), ("standings", "Standings", ranked)]
    parts += [("figures", "Figures", _figures(source, progress)), ("winners", "Winners", _winners(source))]
    parts += [("device", "For your device", device.section(source, swatch))] if fronts else []
    parts += [("training", "Full training", training.section(trainings, swatch))] if trainings else []
    parts += [("settings", "Settings", _settings(source)), ("provenance", "Provenance", _provenance(results))]
    links = [(anchor, words) for anchor, words, content in parts if content]
    datasets = ", ".join(panel.title for panel in source.panels)
    about = f"{count(len(source.algorithms), 'algorithm')} on {datasets}. {source.note_runs} {source.note_table}"
    top = header(name, headline(compared.sections, titles), about, links)
    return document(name, top, [content for __, __, content in parts])


def _swatch(source: StudyView, label: str) -> str:
    look = source.looks.get(label)
    name = next((name for name, pair in COLOURS.items() if look is not None and pair[0] == look.colour), None)
    return f'<span class="swatch" style="background:var(--c-{name})"></span>' if name else ""


# ---- figures and winners


def _figures(source: StudyView, progress: Progress | None) -> str:
    parts = [
        '<h2 id="figures">Figures</h2><p>Point at a curve for values and intervals; by keyboard, reach a '
        "figure by Tab and use the arrows.</p>"
    ]
    left_out = []
    with looks(Setting(captions=False)):
        wanted = figures.of(source)
        for number, name in enumerate(wanted):
            kind = figures.KINDS[name]
            try:
                figure, data = figures.render(source, name)
            except (UsageError, DataError) as error:
                left_out.append(f"<li>{_(kind.title)}: {_(error)}</li>")
                continue
            drawn = themed_svg(figure, name, kind.title)
            if kind.curve is not None:
                values = curves.layer(source, figure, data, *kind.curve(source))
                drawn = curves.plot(kind.title, drawn, values)
            note = str(figure.get_label()).replace(source.note, "").strip()  # which stands on top of the page
            parts.append(
                f'<figure id="figure-{name}"><figcaption>{_(kind.title)}</figcaption>{scrolling(kind.title, drawn)}'
                + (f'<p class="quiet">{_(note)}</p>' if note else "")
                + "</figure>"
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
