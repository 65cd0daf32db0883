"""Answers of `nasharness.analysis.validation.validate` as text, and as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nasharness.analysis import layout
from nasharness.analysis.statistics.sequential import SAME
from nasharness.analysis.validation import HYPERVOLUME, Answer, Validation, percent
from nasharness.search import Problem


def render(validation: Validation, problems: Sequence[Problem], seeds: str) -> str:
    """The answers as text."""
    score = {
        "recommended": "final metric of the algorithm's own answer (--score final: the incumbent's)",
        "final": "final metric of the incumbent (--score recommended: the algorithm's own answer)",
        HYPERVOLUME: "hypervolume of a run's front, of the exact front's",
    }[validation.score]
    if all(percent(problem, validation.score) for problem in problems):
        score += ", percent"
    if validation.score != HYPERVOLUME and problems[0].sign < 0:
        score += ", lower is better, effects are improvements"
    asked = problems[0].describe()
    sought = [
        f"{key:10} {', '.join(values)}"
        for key, values in (
            ("objectives", [each.name for each in problems[0].objectives] if "objectives" in asked else []),
            ("limits", asked.get("limits", [])),
        )
        if values
    ]
    each = validation.answers[0].realisations
    tables = dict.fromkeys(_protocol(problems[at : at + each]) for at in range(0, len(problems), each))
    rows = []
    for answer in validation.answers:
        low, high = answer.interval
        rows.append(
            [
                answer.dataset,
                answer.budget,
                f"{answer.runs:,} of {answer.planned:,}" if each == 1 else f"{answer.runs:,} x {each}",
                f"{answer.new_mean:.2f}",
                f"{answer.old_mean:.2f}",
                f"{answer.effect:+.3f} [{low:+.3f}, {high:+.3f}]",
                _verdict(answer),
            ]
        )
    how = "paired mean, group-sequential" if each == 1 else "Student's t with crossed effects of seeds and realisations"
    count, level = len(validation.answers), 100 * (1 - validation.alpha)
    lines = [
        f"new        {validation.new}",
        f"old        {validation.old}",
        *(f"table      {line}" for line in tables),
        *sought,
        f"score      {score}; seeds {seeds}",
        f"errors     any false better or worse: at most {100 * validation.alpha:g} % ({how}"
        + (f", Holm over {count} comparisons)" if count > 1 else ")"),
        "",
        layout.plain(["data set", "budget", "runs", "new", "old", f"effect [at least {level:g} %]", "verdict"], rows),
        "",
        *_signals(validation),
        *_effects(validation),
        *_cautions(validation),
        f"verdict    {validation.verdict}, {validation.answers[0].generalises}",
    ]
    return "\n".join(lines)


def _protocol(realised: Sequence[Problem]) -> str:
    """Table, data set, signal or its realisations, final metric, repeats and start, on a line."""
    one, last = realised[0], realised[-1]
    signal = str(one.signal) if len(realised) == 1 else f"{one.signal} ... {last.signal} ({len(realised)} realisations)"
    return (
        f"{one.table.name}, checksum {one.table.checksum[:12]}; {one.dataset}: {signal} -> {one.final}, "
        f"repeats {one.repeats}" + ("" if one.start.own else f", start {one.start}")
    )


def _label(answer: Answer, validation: Validation) -> str:
    """Which answer is meant, where there are several."""
    return f"{answer.dataset}, {answer.budget}: " if len(validation.answers) > 1 else ""


def _signals(validation: Validation) -> list[str]:
    """How well both searched, apart from what the signal tells of the score."""
    return [
        f"signal     {_label(answer, validation)}regret of new {answer.new_signal[0]:.3f}, {answer.new_signal[1]:.0%} "
        f"of its runs at the maximum; of old {answer.old_signal[0]:.3f}, {answer.old_signal[1]:.0%}"
        for answer in validation.answers
        if answer.new_signal is not None and answer.old_signal is not None
    ]


def _effects(validation: Validation) -> list[str]:
    """The effect on each realisation: what one of them alone would have said."""
    lines = []
    for answer in validation.answers:
        if answer.realisations > 1:
            by = " ".join(f"{effect:+.2f}" for effect in answer.effects[:12])
            more = " ..." if len(answer.effects) > 12 else ""
            lines.append(f"effects    {_label(answer, validation)}by realisation {by}{more}")
    return lines


def _cautions(validation: Validation) -> list[str]:
    """Caveats, those of one answer with its name."""
    return list(
        dict.fromkeys(
            f"caveat     {_label(answer, validation)}{caveat}"
            for answer in validation.answers
            for caveat in answer.caveats
        )
    )


def _verdict(answer: Answer) -> str:
    if answer.verdict != SAME:
        return answer.verdict
    if answer.equal == 1.0:
        return f"{SAME}: every run is equal"
    return f"{SAME} ({answer.detectable:.3f} would have been, 80 % power)"


def as_dict(validation: Validation) -> dict[str, Any]:
    """The answers as plain values, for JSON."""
    names = ("new", "old", "score", "alpha", "verdict")
    return {name: getattr(validation, name) for name in names} | {"cells": layout.json_ready(validation.answers)}
