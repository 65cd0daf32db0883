"""Runs commands in copies of a process that has loaded everything, kills them at a given moment, or races them.

A copy starts at once, so that the moments lie within the work and not within the imports before it. Used as a program,
it takes a line of JSON for each request and answers with one; ``Copies`` talks to it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

#: what changes something on the disk, as Python's audit hooks name it
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Copies:
    """A process that copies itself for every command. A context manager."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __enter__(self) -> Copies:
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "NASHARNESS_DATA": str(self.home)}, start_new_session=True,
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def run(self, words: list[str], place: Path, *, step: int = 0, after: float = 0.0) -> dict[str, Any]:
        """Run a command; ``step``: kill it before its Nth change of a file below ``place``; ``after``: seconds.

        Returns ``code``, ``seconds``, ``said``, ``steps`` (the changes that it made) and ``orphans``.
        """
        return self.race([words], place, step, after)[0]

    def race(self, several: list[list[str]], place: Path, step: int = 0, after: float = 0.0) -> list[dict[str, Any]]:
        """Run several commands, which begin at the same moment."""
        return self._ask([several, str(place), step, after])

    def load(self, words: list[str]) -> None:
        """Run a command in the process itself, on other data, so that copies have loaded whatever it loads."""
        self._ask([[words], "", 0, 0.0])

    def _ask(self, request: list[Any]) -> Any:
        said = str(self.home.parent.with_suffix(".said"))
        self.process.stdin.write(json.dumps([*request, said]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the process that starts the others has ended"
        return json.loads(answer)


def _counted(place: str, step: int, steps: int) -> None:
    """Count the changes of files below ``place`` into the open file ``steps``, and end before number ``step``."""
    count, own = 0, os.getpid()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if os.getpid() != own or not (event in CHANGES or (event == "open" and (arguments[2] or 0) & WRITES)):
            return
        names = [os.fsdecode(one) for one in arguments[:2] if isinstance(one, str | bytes | os.PathLike)]
        if not any(os.path.abspath(name).startswith(place) for name in names):
            return
        count += 1
        if count == step:
            os.kill(own, signal.SIGKILL)
        os.pwrite(steps, str(count).encode(), 0)

    sys.addaudithook(hook)


class _Copy:
    """A command in a copy of this process; it begins when ``gate`` gives it a byte."""

    def __init__(self, words: list[str], place: str, step: int, said: str, gate: int) -> None:
        self.steps, self.said, self.code = os.memfd_create("steps"), said, None
        self.process = os.fork()
        if self.process:
            return
        os.setsid()
        out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for descriptor, file in ((0, os.open(os.devnull, os.O_RDONLY)), (1, out), (2, out)):
            os.dup2(file, descriptor)
        _counted(place, step, self.steps)
        from nasharness.cli import main

        os.read(gate, 1)
        try:
            main(words)
        except SystemExit as error:
            os._exit(error.code)  # without taking apart all that was loaded, which takes longer than the work

    def ended(self, began: float, after: float) -> bool:
        if self.code is None:
            done, status = os.waitpid(self.process, os.WNOHANG)
            if not done and after and time.monotonic() - began > after:
                os.kill(self.process, signal.SIGKILL)
                done, status = os.waitpid(self.process, 0)
            if done:
                self.code, self.seconds = os.waitstatus_to_exitcode(status), time.monotonic() - began
        return self.code is not None

    def told(self) -> dict[str, Any]:
        end = time.monotonic() + 60  # on a busy machine a worker takes a while to see that it is alone
        while (orphans := _in_session(self.process)) and time.monotonic() < end:
            time.sleep(0.02)
        steps = int(os.pread(self.steps, 20, 0) or b"0")
        os.close(self.steps)
        said = Path(self.said).read_text(errors="replace")[-4_000:]
        return {"code": self.code, "seconds": self.seconds, "steps": steps, "orphans": orphans, "said": said}


def _in_session(session: int) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(entry.name)
    return found


def _race(several: list[list[str]], place: str, step: int, after: float, said: str) -> list[dict[str, Any]]:
    gate, start = os.pipe()
    copies = [_Copy(words, place, step, f"{said}{number}", gate) for number, words in enumerate(several)]
    began = time.monotonic()
    os.write(start, bytes(len(copies)))
    while not all([copy.ended(began, after) for copy in copies]):  # noqa: C419 - each is looked at
        time.sleep(0.0005)
    for end in (gate, start):
        os.close(end)
    return [copy.told() for copy in copies]


def _load(words: list[str], said: str) -> None:
    from nasharness.cli import main

    kept, home = os.dup(1), os.environ["NASHARNESS_DATA"]
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    os.environ["NASHARNESS_DATA"] = f"{home}-loaded"  # what a process remembers of a table is the table's
    try:
        main(words)
    except SystemExit as error:
        if error.code:
            raise
    finally:
        os.environ["NASHARNESS_DATA"] = home
        os.dup2(kept, 1)


if __name__ == "__main__":
    for line in sys.stdin:
        several, place, step, after, said = json.loads(line)
        answer = _race(several, place, step, after, said) if place else _load(several[0], said)
        print(json.dumps(answer), flush=True)
