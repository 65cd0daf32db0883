"""The task ``imagenet``: images of any classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nasharness.tasks import Headline, Task, register
from nasharness.training.fields import Fields, finite, two

NAME = "imagenet"
OPTIONS = (
    "size", "classes", "accumulate", "ema", "mixup", "cutmix", "erase", "rand_augment", "batch_norm", "workers",
    "bad_images", "bad_limit",
)  # fmt: skip


def _finished(fields: Fields) -> Headline:
    found, best = (Fields(fields.object(name), f"{fields.source}, {name}") for name in ("headline", "best"))
    peak = f"best of all epochs {two(best.number('top1'))} %, {best.text('weights')}, epoch {best.integer('epoch')}"
    weights = f"(last {found.text('weights')} weights; {peak})"
    quality = f"top-1 {two(found.number('top1'))} %, top-5 {two(found.number('top5'))} % {weights}"
    return Headline(NAME, quality, fields.text("recipe"), fields.integer("macs"))


def _unfinished(fields: Fields, rows: Sequence[Mapping[str, Any]]) -> Headline:
    recipe = Fields(fields.object("recipe"), f"{fields.source}, recipe").text("name")
    # an epoch is behind it when it has been evaluated; the log has rows within one
    behind = [row for row in rows if "val_top1" in row]
    last = behind[-1] if behind else {}
    top1 = finite(last.get("ema_top1", last.get("val_top1")))
    return Headline(NAME, "" if top1 is None else f"top-1 {top1:.2f} % so far", recipe, rows=behind)


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
