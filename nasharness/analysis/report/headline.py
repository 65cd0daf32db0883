"""The sentence on top of a report: what the study found, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from nasharness.analysis.comparison import Section
from nasharness.analysis.comparison.text import ALPHA


def headline(sections: Sequence[Section], titles: Mapping[tuple[str, str], str]) -> str:
    """Which algorithm is best where, and which are not told apart from it (Holm, 5 %). ``titles`` of data sets."""
    named = {titles.get((one.space, one.dataset), one.dataset): one for one in sections}
    if all(len(section.rows) < 2 for section in sections):
        told = [f"{_value(section)} on {title}" for title, section in named.items()]
        return f"{sections[0].rows[0].algorithm} reaches {_and(told)}."
    winners: dict[str, list[str]] = {}
    for title, section in named.items():
        winners.setdefault(section.rows[0].algorithm, []).append(title)
    parts = []
    for name, on in winners.items():
        if len(on) == 1:
            parts.append(f"{name} is best on {on[0]} ({_value(named[on[0]])})")
        else:
            where = "every data set" if len(on) == len(named) else f"{len(on)} data sets"
            values = "; ".join(f"{title} {_value(named[title])}" for title in on)
            parts.append(f"{name} is best on {where} ({values})")
    return f"{_and(parts, '; ')}{_told_apart(named)}."


def _told_apart(named: Mapping[str, Section]) -> str:
    """What the winners are not told apart from."""
    close = {
        title: [row.algorithm for row in section.rows[1:] if not row.p_holm < ALPHA]
        for title, section in named.items()
        if len(section.rows) > 1
    }
    some = {title: names for title, names in close.items() if names}
    if not some:
        return ", and told apart from every other algorithm"
    if len(close) == 1 or (len(some) == len(close) and len({tuple(names) for names in some.values()}) == 1):
        names = next(iter(some.values()))
        everyone = len(names) == len(next(iter(named.values())).rows) - 1
        return ", but not told apart from " + ("any other" if everyone else _few(names))
    return ", but not told apart from " + _and([f"{_few(names)} on {title}" for title, names in some.items()])


def _few(names: Sequence[str]) -> str:
    return _and(names) if len(names) <= 3 else f"{len(names)} others"


def _value(section: Section) -> str:
    row = section.rows[0]
    low, high = row.mean_ci
    interval = "" if math.isnan(low) else f" [{low:.2f}, {high:.2f}]"
    return f"{row.mean:.2f} %{interval}"


def _and(words: Sequence[str], between: str = ", ") -> str:
    if len(words) < 2:
        return "".join(words)
    last = " and " if between == ", " else between
    return between.join(words[:-1]) + last + words[-1]
