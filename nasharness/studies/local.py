"""Executors on this machine: in this process, or in several.

An executor takes shards and yields each with its bytes, in any order. It writes nothing.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from os import _exit

from nasharness.errors import NasharnessError
from nasharness.search import Problem
from nasharness.studies.shard import Shard

#: How often a shard may lose its worker before the study gives up.
ATTEMPTS = 3
#: The shards are the parallel work; threads within would fight for the same cores.
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class WorkerError(NasharnessError):
    """A shard cannot be computed: its worker dies of it, or fails in a way that is not the user's doing."""

    exit_code = 1


def in_process(shards: Sequence[Shard], problems: Sequence[Problem]) -> Generator[tuple[Shard, bytes], None, None]:
    """Compute shards here, one after the other."""
    for shard in shards:
        yield shard, shard.compute(problems[shard.problem])


def in_processes(
    shards: Sequence[Shard], problems: Sequence[Problem], jobs: int
) -> Generator[tuple[Shard, bytes], None, None]:
    """Compute shards in ``jobs`` processes. A process that is lost is replaced and its shard tried again.

    Processes are spawned, and end with this one: each holds one end of a pipe of its own, and watches its parent.
    """
    payload = pickle.dumps(list(problems), protocol=pickle.HIGHEST_PROTOCOL)
    waiting = deque(shards)
    attempts: dict[str, int] = {}
    workers: list[_Worker] = []
    try:
        while waiting or any(worker.shard is not None for worker in workers):
            while waiting and len(workers) < jobs and len(workers) < len(waiting) + len(workers):
                workers.append(_Worker(payload))
            for worker in workers:
                if worker.shard is None and waiting:
                    worker.give(waiting.popleft())
            ready = wait([worker.pipe for worker in workers if worker.shard is not None])
            for worker in [worker for worker in workers if worker.pipe in ready]:
                shard = worker.shard
                if shard is None:
                    continue
                try:
                    outcome = worker.take()
                except (EOFError, OSError):
                    workers.remove(worker)
                    code = worker.end()
                    attempts[shard.name] = attempts.get(shard.name, 0) + 1
                    if attempts[shard.name] >= ATTEMPTS:
                        raise WorkerError(lost(shard, f"exit code {code}")) from None
                    waiting.appendleft(shard)
                    continue
                if isinstance(outcome, BaseException):
                    raise outcome
                yield shard, outcome
    finally:
        for worker in workers:
            worker.end()


def lost(shard: Shard, reason: str) -> str:
    """Say that a shard lost its worker too often."""
    return (
        f"shard {shard} lost its process {ATTEMPTS} times ({reason}); if memory ran out, ask for fewer --jobs; "
        "a script that calls run_study needs `if __name__ == '__main__':` around it. What is finished is kept"
    )


class _Worker:
    """A process, and the shard it is at."""

    def __init__(self, payload: bytes) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _environment():
            self.process.start()
        theirs.close()
        self.shard: Shard | None = None
        self._payload: bytes | None = payload

    def give(self, shard: Shard) -> None:
        self.shard = shard
        try:
            if self._payload is not None:
                self.pipe.send_bytes(self._payload)
                self._payload = None
            self.pipe.send(shard)
        except OSError:
            pass  # it has died; the pipe tells when it is read

    def take(self) -> bytes | BaseException:
        outcome: bytes | BaseException = self.pipe.recv()
        self.shard = None
        return outcome

    def end(self) -> int | None:
        self.pipe.close()
        self.process.terminate()
        self.process.join()
        return self.process.exitcode


def _serve(pipe: Connection) -> None:
    """Life of a worker: compute what comes until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()
    try:
        problems: list[Problem] = pickle.loads(pipe.recv_bytes())  # noqa: S301 - from our own parent
        while True:
            shard: Shard = pipe.recv()
            pipe.send(_attempt(shard, problems))
    except (EOFError, OSError):
        return


def _attempt(shard: Shard, problems: list[Problem]) -> bytes | BaseException:
    try:
        return shard.compute(problems[shard.problem])
    except NasharnessError as error:
        return error
    except MemoryError:
        return WorkerError(f"shard {shard}: out of memory; ask for fewer --jobs")
    except Exception as error:  # an algorithm may raise anything; it must cross the pipe as text
        return WorkerError(f"shard {shard}: {type(error).__name__}: {error}")


def _follow(sentinel: int) -> None:
    wait([sentinel])
    _exit(1)


@contextmanager
def _environment() -> Iterator[None]:
    """Children inherit these; this process goes on as it was."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(THREADS)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
