"""The task ``ptb``: any text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nasharness.studies.plan import count
from nasharness.tasks import Headline, Task, register
from nasharness.training.fields import Fields, finite, two

NAME = "ptb"


def _finished(fields: Fields) -> Headline:
    best = Fields(fields.object("best"), f"{fields.source}, best")
    weights = f"({best.text('weights')} weights, epoch {best.integer('epoch')})"
    streams = fields.integer("test_streams")
    quality = (
        f"perplexity {two(fields.number('valid_perplexity'))} valid {weights}, "
        f"{two(fields.number('test_perplexity'))} test ({count(streams, 'stream')})"
    )
    if fields.values.get("dynamic_test_perplexity") is not None:
        quality += f", {two(fields.number('dynamic_test_perplexity'))} with dynamic evaluation"
    return Headline(fields.text("corpus"), quality, fields.text("recipe"))


def _unfinished(fields: Fields, rows: Sequence[Mapping[str, Any]]) -> Headline:
    seen = [value for row in rows if (value := finite(row.get("valid_perplexity"))) is not None]
    quality = f"perplexity {min(seen):.2f} valid so far" if seen else ""
    return Headline(NAME, quality, fields.text("recipe"), rows=rows)


register(
    Task(
        NAME,
        unit="words",
        reads="text",
        options=frozenset(),
        train="nasharness.training.language.task:retrain_text",
        export="nasharness.training.language.export:export_text",
        predict="nasharness.training.language.task:answers",
        finished=_finished,
        unfinished=_unfinished,
    )
)
