"""The process as its caller left it: streams that are closed, words that are no arguments, and quick Ctrl-C."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from nasharness.errors import UsageError, printable

#: seconds after a Ctrl-C in which further ones are the same one: what it began may end in peace
PATIENCE = 1.0
_ADDRESS = re.compile(r"(?:-{1,2}[\w-]+=)?([A-Za-z][A-Za-z0-9+.-]*)://")
#: options whose value may be an address
_ADDRESSES = ("--mirror", "--ray")


def ready() -> None:
    """Make standard streams usable whatever the caller did to them, and let one Ctrl-C do the work of several."""
    for descriptor in range(3):  # else the next file that is opened would be taken for the closed stream
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a file's name may be no text
    if not faulthandler.is_enabled():  # a plug-in that crashes the interpreter: say in which line of whose file
        with contextlib.suppress(OSError, ValueError):  # a stream that is no file
            faulthandler.enable(all_threads=False)
    main = threading.current_thread() is threading.main_thread()
    if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _Once())


class _Once:
    def __init__(self) -> None:
        self.last = -PATIENCE

    def __call__(self, number: int, frame: Any) -> None:
        now = time.monotonic()
        if now - self.last >= PATIENCE:
            self.last = now
            raise KeyboardInterrupt


def check_words(words: Sequence[str]) -> None:
    """Raise UsageError for words that no option and no argument of ours takes."""
    if words and words[0] == "exec":
        return  # they are the script's
    before = ""
    for word in words:
        if not word.strip() or re.fullmatch(r"--[a-z0-9-]+=\s*", word):
            named = before or word.rstrip("= ") or "an argument"
            raise UsageError(f"an empty value for {named}: expected a name, a number or a path")
        if "\0" in word:
            raise UsageError(f"{printable(word, 60)}: a zero byte, which no name holds")
        address = _ADDRESS.match(word)
        if address and before not in _ADDRESSES and not word.startswith(tuple(f"{name}=" for name in _ADDRESSES)):
            raise UsageError(f"{printable(word, 200)}: an address ({address[1]}://), expected a path on this machine")
        before = word if word.startswith("-") else ""


def leave_nothing_to_flush() -> None:
    """Flush the streams; one that cannot be flushed is pointed where the interpreter's own flush does no harm."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
