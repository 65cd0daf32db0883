"""Reading archives in processes of their own.

Plain child processes that take one JSON line per task, a block of records or a whole single file: they need no
``__main__`` guard in the caller's script, die with their parent, and contain what a hostile record may do (crash, hang,
fill the memory): the record is then named.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from nasharness.errors import DataError
from nasharness.tables.importers.nats_official.records import ALLOWED, Block
from nasharness.tables.importers.nats_official.single import read_single
from nasharness.tables.importers.nats_official.sources import Member
from nasharness.tables.unpickle import bunzip2, loads

#: seconds after which a record that is still being read is given up; a real one takes 0.01
STALL = 45.0
#: bytes of address space of a reading process; a real record needs a few MB
MEMORY = 3 << 29
_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {} import main; main()"


#: plain values: a block's ``members`` (index, string, place), its ``shard`` and what that is keyed by (``identity``);
#: or what ``read_single`` takes
Task = Mapping[str, Any]


def read_block(task: Task, report: Callable[[str, str], None]) -> None:
    """Read a block of records and write its shard; see ``read_single`` for ``report``.

    Raises DataError for the first bad record.
    """
    block = Block(len(task["members"]))
    hashes = {}
    for row, (index, arch, place) in enumerate(task["members"]):
        member = Member(**place)
        report("reads", member.name)
        data = member.read()
        hashes[index] = hashlib.sha256(data).hexdigest()
        data = bunzip2(data, what=member.name)
        block.add(row, loads(data, ALLOWED, what=member.name, checked=True), index, arch, member.name)
    block.write(Path(task["shard"]), task["identity"], hashes)
    report("shard", task["shard"])


def main() -> None:
    """Loop of a reading process: tasks from standard input, answers to standard output."""
    import gc

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us
    _limit_memory()
    gc.disable()  # records hold no cycles, and collecting costs a tenth of the time
    out = sys.stdout.buffer

    def answer(*words: str) -> None:
        out.write(json.dumps(words).encode() + b"\n")
        out.flush()

    try:
        for line in sys.stdin.buffer:
            task = json.loads(line)
            try:
                (read_single if "single" in task else read_block)(task, answer)
                answer("done")
            except DataError as error:
                answer("error", type(error).__name__, str(error))
            except MemoryError:
                answer("error", "DataError", "takes more memory than any record of this format")
            gc.collect(0)
    except BrokenPipeError:
        os._exit(1)  # the parent is gone


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # no such limits on this system; the walk over opcodes would cost more than the reading
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    wanted = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


class _Worker:
    def __init__(self, events: queue.SimpleQueue[tuple[_Worker, list[str] | None]]) -> None:
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in stop
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _BOOT.format(__name__), json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=environment,
        )
        self.task: Task | None = None
        self.record = ""
        self.seen = time.monotonic()
        threading.Thread(target=self._listen, args=(events,), daemon=True).start()

    def _listen(self, events: queue.SimpleQueue[tuple[_Worker, list[str] | None]]) -> None:
        assert self.process.stdout is not None  # noqa: S101 - for the type checker
        for line in self.process.stdout:
            self.seen = time.monotonic()
            try:
                words = json.loads(line)
            except ValueError:
                break
            if words[0] == "reads":
                self.record = words[1]
            else:
                events.put((self, words))
        events.put((self, None))

    def give(self, task: Task | None) -> None:
        assert self.process.stdin is not None  # noqa: S101 - for the type checker
        self.task, self.record = task, ""
        self.seen = time.monotonic()
        try:
            if task is None:
                self.process.stdin.close()
            else:
                self.process.stdin.write(json.dumps(task).encode() + b"\n")
                self.process.stdin.flush()
        except BrokenPipeError:
            pass  # its end is reported by the listener

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def last_words(self) -> str:
        code = self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read()[-2000:].decode(errors="replace").strip().splitlines()
        return (f"signal {-code}" if code < 0 else f"exit code {code}") + (f": {lines[-1]}" if lines else "")


def read_all(tasks: Iterable[Task], jobs: int, wrote: Callable[[Path], None]) -> None:
    """Do all tasks in ``jobs`` processes; ``wrote(shard)`` is called in this thread after each shard.

    Raises DataError for the first bad record; shards already written stay. Leaves no process behind, whatever
    happens, Ctrl-C included.
    """
    todo = iter(tasks)
    events: queue.SimpleQueue[tuple[_Worker, list[str] | None]] = queue.SimpleQueue()
    workers: list[_Worker] = []
    busy = 0
    try:
        for task in itertools.islice(todo, jobs):
            worker = _Worker(events)
            workers.append(worker)
            worker.give(task)
            busy += 1
        while busy:
            try:
                worker, words = events.get(timeout=1.0)
            except queue.Empty:
                _give_up(workers)
                continue
            if worker.task is None:
                continue
            if words is None:
                record = worker.record or "an archive"
                raise DataError(f"{record}: reading it ended the reading process ({worker.last_words()})")
            if words[0] == "error":
                raise _error(words)
            if words[0] == "shard":
                wrote(Path(words[1]))
                continue
            following = next(todo, None)
            busy -= following is None
            worker.give(following)
    finally:
        for worker in workers:
            worker.stop()


def _give_up(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        if worker.task is not None and time.monotonic() - worker.seen > STALL:
            raise DataError(f"{worker.record}: not read after {STALL:.0f} s; no honest record takes that long")


def _error(words: Sequence[Any]) -> DataError:
    from nasharness.tables.unpickle import UnsafePickle

    return (UnsafePickle if words[1] == "UnsafePickle" else DataError)(words[2])
