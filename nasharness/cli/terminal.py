"""What the terminal can show, and progress of long work: a bar there, a plain line now and then when piped."""

from __future__ import annotations

import sys
import time


class Progress:
    """Callable as ``progress(done, total)``. Silent for the first moment, so that short work prints nothing.

    On a terminal one line is redrawn four times a second; elsewhere a line is written every 10 seconds. All on stderr.
    """

    def __init__(self, unit: str, quiet_for: float = 1.0) -> None:
        self._unit = unit
        self._terminal = sys.stderr.isatty()
        self._started = time.monotonic()
        self._next = self._started + quiet_for
        self._drawn = False

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (0.25 if self._terminal else 10.0)
        elapsed = now - self._started
        rate = done / elapsed
        left = (total - done) / rate if rate else float("inf")
        line = f"{done:,} of {total:,} {self._unit}, {rate:,.1f}/s, {_clock(left)} left"
        if self._terminal:
            filled = int(30 * done / max(total, 1))
            sys.stderr.write(f"\r[{'#' * filled}{'.' * (30 - filled)}] {line}\x1b[K")
        else:
            sys.stderr.write(line + "\n")
        sys.stderr.flush()
        self._drawn = True

    def close(self) -> None:
        """Wipe the bar."""
        if self._drawn and self._terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _clock(seconds: float) -> str:
    if seconds == float("inf"):
        return "unknown time"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def ascii_only() -> bool:
    """Whether standard output cannot show box-drawing characters."""
    try:
        "━▶".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False
