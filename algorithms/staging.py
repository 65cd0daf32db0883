"""Settings of searches in stages: how the classes grow, how long it takes, and what is left of the candidates."""

from __future__ import annotations

import re

import numpy as np

from nasharness.errors import UsageError

#: candidates of a position left at the end by default
_LEAST = 2


def shares(text: str) -> list[float]:
    """Shares of the classes in each stage. Raises UsageError unless they grow to 1."""
    try:
        found = [float(part) for part in re.split(r"[,+\s]+", str(text).strip()) if part]
    except ValueError:
        found = []
    if not found or not all(0 < one <= 1 for one in found) or sorted(found) != found or found[-1] != 1:
        raise UsageError(
            f"da-nas: stages = {str(text)!r}: expected growing shares of the classes, the last 1, as 0.4,0.7,1"
        )
    return found


def whole(name: str, text: str, least: int) -> list[int]:
    """Whole numbers of at least ``least``. Raises UsageError naming the setting."""
    parts = [part for part in re.split(r"[,+\s]+", str(text).strip()) if part]
    if not all(re.fullmatch(r"\d{1,6}", part) and int(part) >= least for part in parts):
        nothing = "; 0 leaves nothing" if name == "quotas" else ""
        raise UsageError(f"da-nas: {name} = {str(text)!r}: expected whole numbers of at least {least}{nothing}")
    return [int(part) for part in parts]


def ends(epochs: int, lengths: list[int], stages: int) -> list[int]:
    """The epoch with which each stage ends; with fewer epochs than stages the first ones have none."""
    if len(lengths) != stages:
        raise UsageError(f"da-nas: lengths: expected {stages}, one for each stage; got {len(lengths)}")
    return [epochs * int(total) // sum(lengths) for total in np.cumsum(lengths)]


def quotas_of(text: str, sizes: tuple[int, ...], stages: int) -> list[list[int]]:
    """Candidates left of each position after each stage but the last: ``[stages - 1][positions]``."""
    given = whole("quotas", text, 1)
    if given:
        if len(given) != stages - 1 or sorted(given, reverse=True) != given:
            raise UsageError(
                f"da-nas: quotas = {str(text)!r}: expected {stages - 1} falling number(s), one for each stage but the "
                "last, after which nothing is dropped"
            )
        return [[min(size, quota) for size in sizes] for quota in given]
    parts = [(number + 1) / (stages - 1) for number in range(stages - 1)]
    return [[round(size ** (1 - part) * min(size, _LEAST) ** part) for size in sizes] for part in parts]
