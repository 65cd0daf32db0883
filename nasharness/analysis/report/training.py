"""The section of a report on full trainings: search -> table -> full training, a row each, and the winners drawn."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from nasharness import spaces
from nasharness.analysis.figures import pictures
from nasharness.analysis.report.page import escape as _
from nasharness.analysis.report.page import table
from nasharness.errors import DataError, UsageError
from nasharness.training.retrained import Retraining, Search, duration


def section(trainings: Sequence[Retraining], swatch: Callable[[str], str] = lambda algorithm: "") -> str:
    """The section. ``swatch``: the mark of an algorithm's colour on this page.

    Raises DataError for a winner that its space does not know.
    """
    searched = any(training.search is not None for training in trainings)
    heads = ["run", *(["search", "table"] if searched else []), "network", "trained on", "recipe", "epochs", "outcome"]
    heads += ["parameters", "MACs", "time", "hardware", "state"]
    rows = "".join(_row(training, number, searched, swatch) for number, training in enumerate(trainings))
    lines = "".join(f"<li>{_(training)}</li>" for training in trainings)
    cards = "".join(_box(training, number) for number, training in enumerate(trainings))
    first = "The search that found it, what the table says of it, and the outcome" if searched else "The outcome"
    return (
        f'<h2 id="training">Full training</h2><p>{first} of training the network in full. Images: top-1 and top-5 on '
        f"the validation images; text: perplexity.</p>{table('Full trainings', heads, rows, 'plain text')}"
        '<p>The same in one line:</p><ul class="lines">'
        f'{lines}</ul><div class="cards">{cards}</div>'
    )


def _row(training: Retraining, number: int, searched: bool, swatch: Callable[[str], str]) -> str:
    search = training.search
    cells = []
    if searched and search is not None:
        judged = f"<small>{_(search.judged)}</small>" if search.judged else ""
        cells += [f"{swatch(search.algorithm)}{_(search)}", f"{_(search.metric.removeprefix('table ')) or '–'}{judged}"]
    elif searched:
        cells += ["–", "–"]
    name = training.network if search is None else f"winner of {search.space}"
    epochs = f"{training.epochs:,}" if training.finished else f"{training.done:,} of {training.epochs:,}"
    cells += [f'<a href="#training-{number}">{_(name)}</a>', _(training.data), _(training.recipe), epochs]
    cells += [f'<div class="words">{_(training.quality) or "–"}</div>']
    cells += ["–" if value is None else f"{value:,}" for value in (training.params, training.macs)]
    cells += ["–" if training.seconds is None else duration(training.seconds), _(training.hardware) or "–"]
    cells += ["finished" if training.finished else "<strong>not finished</strong>"]
    columns = "".join(f'<td class="text">{cell}</td>' for cell in cells)
    return f'<tr><th scope="row">{_(training.name)}</th>{columns}</tr>'


def _box(training: Retraining, number: int) -> str:
    """What was trained: the winner drawn, where its space can be, and all that is on record."""
    search = training.search
    drawing = "" if search is None else _drawing(search, f"t{number}", training.source)
    arch = f"<p><code>{_(search.arch)}</code></p>" if search is not None and search.arch else ""
    record = json.dumps(training.record, indent=1)
    name = training.network if search is None else f"{search}"
    metric = f"<p>{_(search.metric)}</p>" if search is not None and search.metric else ""
    return (
        f'<div class="card" id="training-{number}">{drawing}<p><strong>{_(training.name)}</strong>: {_(name)}</p>'
        f"{metric}{arch}<details><summary>The record</summary><pre tabindex='0'>{_(record)}</pre></details></div>"
    )


def _drawing(search: Search, prefix: str, source: str) -> str:
    title = f"Winner of {search}"
    try:
        if spaces.is_graphs(search.space):
            return pictures.svg(search.space, spaces.graphs(search.space).read(search.winner), prefix, title)
        if search.space in spaces.names():
            arch = search.winner.get("arch", search.winner.get("index"))
            return pictures.svg(search.space, arch if isinstance(arch, str | int) else "", prefix, title)
    except UsageError as error:
        raise DataError(f"{source}: its winner is no architecture: {error}") from error
    return ""  # a genotype: its text says it all
