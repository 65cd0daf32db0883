"""Further measurements that a search may ask: stages, paid for one by one, and environments, which come together.

A *stage* is a cheaper measurement that an algorithm may pay for in place of the signal: another data set, fewer epochs.
It is asked as a fidelity below zero: of S stages the first is -S, the last -1. Its values are no signal: no incumbent
comes from them. An *environment* is a measurement in which the same architecture does differently; an evaluation
shows all sources, and the target, which no search sees, is what results are scored by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nasharness.errors import UsageError
from nasharness.search import measure as measures
from nasharness.search.measure import Measure
from nasharness.spaces.base import Space
from nasharness.tables import Table


def read_stages(stages: Sequence[str], table: Table | None, space: Space, dataset: str) -> tuple[Measure, ...]:
    """The measurements of the stages, in order; a mean over trials where none is named. Raises UsageError."""
    if isinstance(stages, str):
        raise UsageError(f"stages {stages!r}: expected a list of measurements, as in ['cifar10/val@200']")
    found: list[Measure] = []
    for text in stages:
        if table is None:
            raise UsageError(f"stage {text!r}: a backend has one measurement; give a table")
        seen = measures.parse(text, table, space, dataset)
        if seen.is_test and seen.source is None:
            raise UsageError(f"stage {text!r}: a test measurement is never searched by")
        if seen.seed in ("random", "others"):
            seen = replace(seen, seed="mean")
        if seen in found:
            raise UsageError(f"stage {text!r} is asked for twice")
        found.append(seen)
    return tuple(found)


def environments_asked(
    environments: str | Sequence[str], target: str | None, others: dict[str, Any]
) -> tuple[str, ...]:
    """The names of the sources. Raises UsageError for fewer than two, a target among them, none, or what they exclude.

    ``others``: what was asked besides and would say the same in other words, by its name.
    """
    names = environments.split(",") if isinstance(environments, str) else list(environments)
    found = tuple(name.strip() for name in names if name.strip())
    if not found:
        if target is not None:
            raise UsageError(f"target {target!r}: of environments; name those that the search sees: --environments a,b")
        return ()
    for name, value in others.items():
        if value:
            raise UsageError(f"--environments {','.join(found)}: they are signal and objectives; leave --{name} out")
    if len(found) < 2:
        raise UsageError(f"environments {found[0]!r}: expected at least two sources, as in a,b: one has no adversary")
    for name in found:
        if found.count(name) > 1:
            raise UsageError(f"environment {name!r} is named twice")
    if target is None:
        raise UsageError(f"environments {', '.join(found)}: which one is unseen and scored by? --target NAME")
    return found


def check_target(target: Measure, sources: Sequence[Measure]) -> None:
    """Raise UsageError where the target is one of the sources, or the same measurement reduced in another way."""
    for source in sources:
        if (source.stored, source.metric, source.schedule, source.epoch) == (
            target.stored, target.metric, target.schedule, target.epoch
        ):  # fmt: skip
            raise UsageError(f"target {target} is the source {source} too: what is scored by must not be searched by")
