"""What the terminal can show, and progress of long work."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Self

import click

from nasharness.errors import UsageError
from nasharness.extras import pip_install

#: Where a command's context notes that progress is not wanted.
QUIET = "nasharness.quiet"


class Progress:
    """Progress on standard error: a line rewritten in place on a terminal, else a plain line every ten seconds.

    Callable as ``progress(done, total)``; short work prints nothing, nor does any with ``--quiet``. ``left``: who knows
    how many seconds are left better than the rate so far.
    """

    def __init__(
        self,
        unit: str,
        clock: Callable[[], float] = time.monotonic,
        stream: Any = None,
        left: Callable[[], float | None] | None = None,
    ) -> None:
        self.unit, self.clock, self.left = unit, clock, left
        context = click.get_current_context(silent=True)
        self.quiet = context is not None and context.meta.get(QUIET, False)
        self.stream = stream if stream is not None else sys.stderr
        self.terminal = bool(self.stream.isatty())
        self.start = self.shown = clock()
        self.first: int | None = None
        self.label = ""
        self.open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, done: int, total: int, label: str = "", detail: str = "", line: str = "") -> None:
        """Tell how far the work is, as `nasharness.runs.job.Progress` says."""
        if line:
            self.close()
            self.stream.write(f"{line}\n")
            self.stream.flush()
        if self.quiet or (not done and not total):
            return
        now = self.clock()
        if label != self.label or self.first is None:
            self.label, self.first, self.start = label, done, now
        if now - self.shown < (0.25 if self.terminal else 10.0) and done != total:
            return
        if done == total and not self.terminal and now - self.start < 10.0:
            return
        self.shown = now
        rate = (done - self.first) / max(now - self.start, 1e-9)
        text = f"{label + ': ' if label else ''}{done:,}"
        text += f" of {total:,} {self.unit} ({100 * done / total:.0f} %)" if total else f" {self.unit}"
        if rate > 0 and now > self.start:
            text += f", {rate:,.0f}/s" if rate >= 10 else f", {rate:.2g}/s"
            if total > done:
                known = self.left() if self.left is not None else None
                text += f", {duration((total - done) / rate if known is None else known)} left"
        if detail:
            text += f", {detail}"
        if self.terminal:
            self.stream.write(f"\r\x1b[K{text}")
            self.open = True
        else:
            self.stream.write(f"{text}\n")
        self.stream.flush()

    __call__ = update

    def close(self) -> None:
        """Wipe the line that is being rewritten."""
        if self.open:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
            self.open = False


def duration(seconds: float) -> str:
    """Seconds as hours:minutes:seconds."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def quiet_option(command: Any) -> Any:
    """Add ``--quiet``: progress, which goes to standard error, is not shown."""

    def note(context: click.Context, _: click.Parameter, value: bool) -> None:
        context.meta[QUIET] = value or context.meta.get(QUIET, False)

    option = click.option("--quiet", "-q", is_flag=True, expose_value=False, callback=note, help="Show no progress.")
    return option(command)


def ascii_only() -> bool:
    """Whether standard output cannot show box-drawing characters."""
    try:
        "━▶".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False


def need_torch() -> None:
    """Raise UsageError where PyTorch is not installed."""
    if importlib.util.find_spec("torch") is None:
        raise UsageError(f"this needs PyTorch; install it with: {pip_install('train')}")


def use_processors() -> None:
    """Let torch compute with every processor this process may use, or with OMP_NUM_THREADS threads.

    ``main`` keeps numpy's matrix products to one thread, and torch would take that for its own: hence said in so many
    words, and the bits of a run do not depend on how it was started. Freed memory is kept: a training step needs the
    same again. Raises UsageError where there is no torch, or OMP_NUM_THREADS is no number.
    """
    need_torch()
    import torch

    from nasharness.training.memory import keep_freed_memory

    keep_freed_memory()

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", str(allowed)).split(",")[0]  # a list is for nested loops
    if not wanted.isdecimal() or int(wanted) < 1:
        raise UsageError(f"OMP_NUM_THREADS={wanted!r}: expected a whole number of at least 1")
    torch.set_num_threads(int(wanted))
