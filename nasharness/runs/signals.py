"""Being told to stop, by preemption (SIGTERM) or Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from nasharness.errors import NasharnessError

#: Exit code after SIGTERM (EX_TEMPFAIL of sysexits.h): nothing is wrong, start the same command again.
REQUEUE = 75
#: Exit code after Ctrl-C.
INTERRUPTED = 130


class Stopped(NasharnessError):  # noqa: N818 - what happened, and no mistake
    """The run was told to stop and has written what it needs to go on; ``exit_code`` is 75 or 130."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code


class Stop:
    """While entered, SIGTERM and SIGINT only set ``code``, which the driver reads between steps to leave a checkpoint.

    The second Ctrl-C acts at once. ``at_once``: SIGTERM interrupts as Ctrl-C does, for work that keeps what is done on
    its way. Outside the main thread, where Python allows no handlers, nothing is caught.
    """

    def __init__(self, at_once: bool = False) -> None:
        self.code, self.at_once = 0, at_once
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            handler: Callable[[int, FrameType | None], None] = self._told
            for number in (signal.SIGTERM,) if self.at_once else (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _told(self, number: int, frame: FrameType | None) -> None:
        again = number == signal.SIGINT and self.code
        self.code = self.code or (REQUEUE if number == signal.SIGTERM else INTERRUPTED)
        if again or self.at_once:
            raise KeyboardInterrupt


def ignore_in_worker(_: int) -> None:
    """Let a data loader's worker live until its parent ends it: a signal to the group is the parent's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
