"""Errors that a user can act on.

Every message names the thing, its value, what was expected and, where there is one, the command that fixes it. The
command line prints the message alone and exits with ``exit_code``; a traceback is a bug.
"""

from __future__ import annotations

import difflib
import operator
import traceback
from collections.abc import Collection, Iterable
from typing import Any


class NasharnessError(Exception):
    """Base of every error raised on purpose. ``exit_code`` is what the command line exits with."""

    exit_code = 2


class UsageError(NasharnessError, ValueError):
    """The request cannot be met as written: an unknown name, a budget of 0, an output that cannot be written."""


class DataError(NasharnessError):
    """Data are absent, damaged, incomplete or refused."""

    exit_code = 1


class DegenerateError(DataError):
    """A search has nothing left to decide, so that it would train on for an answer that is of no use."""


class AlgorithmFailedError(NasharnessError):
    """An algorithm raised an error of its own, or returned what it must not; ``__cause__`` has the traceback."""

    exit_code = 1


def printable(text: str, most: int = 2_000) -> str:
    """``text`` on one line and of bounded length, with whatever a terminal would obey, or cannot show, escaped."""
    if len(text) > most:
        text = f"{text[: most // 2]} ... {text[-most // 2 :]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c == "\n" else ascii(c)[1:-1] for c in text)


def where(error: BaseException, files: Collection[str] = ()) -> str:
    """Say an error in a line: where it was raised (in one of ``files`` if it passed through them), and what it says."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    known = [frame for frame in frames if frame.filename in files] or frames
    if isinstance(error, SyntaxError) or not known:  # a SyntaxError names the file and the line itself
        return text
    return f"{known[-1].filename}, line {known[-1].lineno} ({known[-1].name}): {text}"


def whole(what: str, value: Any, least: int, most: int = 2**62) -> int:
    """``value``, any kind of integer, as a plain one. Raises UsageError for what is none, too small, or too large."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not least <= number <= most:
        shown = repr(value) if number is None else number
        upper = "2**62" if most == 2**62 else f"{most:,}"
        raise UsageError(f"{what} {shown}: expected a whole number of at least {least}, at most {upper}")
    return number


def nearest(name: object, known: Iterable[object], count: int = 3) -> list[str]:
    """Return up to ``count`` names of ``known`` nearest to ``name``, best first."""
    names = [str(item) for item in known]
    wanted = str(name).lower()
    close = difflib.get_close_matches(wanted, [item.lower() for item in names], n=count, cutoff=0.0)
    by_lower = {item.lower(): item for item in names}
    return list(dict.fromkeys(by_lower[item] for item in close))


def unknown(kind: str, name: object, known: Iterable[object], command: str = "") -> UsageError:
    """Build the error for an unknown name: the three nearest right ones, and the command that lists them all."""
    close = nearest(name, known)
    message = f"unknown {kind} {str(name)!r}"
    message += f"; nearest: {', '.join(close)}" if close else "; none is available"
    if command:
        message += f" (all: {command})"
    return UsageError(message)
