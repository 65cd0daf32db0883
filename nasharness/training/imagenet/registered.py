"""The task ``imagenet``: images of any classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nasharness.tasks import Headline, Task, register
from nasharness.training.fields import Fields, finite, two

NAME = "imagenet"
OPTIONS = (
    "size", "classes", "accumulate", "ema", "mixup", "erase", "batch_norm", "workers", "bad_images", "bad_limit",
)  # fmt: skip


def _finished(fields: Fields) -> Headline:
    best = Fields(fields.object("best"), f"{fields.source}, best")
    weights = f"({best.text('weights')} weights, epoch {best.integer('epoch')})"
    quality = f"top-1 {two(best.number('top1'))} %, top-5 {two(best.number('top5'))} % {weights}"
    return Headline(NAME, quality, fields.text("recipe"), fields.integer("macs"))


def _unfinished(fields: Fields, rows: Sequence[Mapping[str, Any]]) -> Headline:
    columns = ("val_top1", "ema_top1")
    seen = [value for row in rows for name in columns if (value := finite(row.get(name))) is not None]
    recipe = Fields(fields.object("recipe"), f"{fields.source}, recipe").text("name")
    # an epoch is behind it when it has been evaluated; the log has rows within one
    behind = [row for row in rows if "val_top1" in row]
    return Headline(NAME, f"top-1 {max(seen):.2f} % so far" if seen else "", recipe, rows=behind)


register(
    Task(
        NAME,
        unit="images",
        reads="images",
        options=frozenset(OPTIONS),
        train="nasharness.training.imagenet.retrain:retrain_images",
        export="nasharness.training.imagenet.export:export",
        predict="nasharness.training.imagenet.predict:answers",
        finished=_finished,
        unfinished=_unfinished,
    )
)
