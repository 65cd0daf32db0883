"""Processes side by side: for the shards of a study, the trainings of a search, the runs of a supernet."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from nasharness.errors import NasharnessError

#: The items are the parallel work; threads within would fight for the same cores.
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

Item = TypeVar("Item")


class WorkerError(NasharnessError):
    """Some work cannot be done: its process dies of it, or it fails in a way that is not the user's doing."""

    exit_code = 1


class LostError(Exception):
    """A process died of its work, as often as it was tried. ``item``: the work; ``args[0]``: how."""

    def __init__(self, item: Any, how: str) -> None:
        super().__init__(how)
        self.item = item


class Pool(Generic[Item]):
    """Does ``work(given, number, item)``, a module's function that yields what it makes of an item, for many items.

    In ``count`` processes, or in this one where ``here``. ``given`` is sent to each once; ``number``: which of them it
    is, from 0. ``noun``: what an item is, for messages. ``attempts``: how often an item is tried whose process is lost;
    more than one is for work that yields once. Processes start when they are needed, spawned (a forked CUDA context, or
    a forked thread pool, does not work), and end with this one, or when the context that the pool is ends.
    """

    def __init__(
        self,
        work: Callable[[Any, int, Item], Iterable[Any]],
        given: Any,
        count: int,
        noun: str,
        *,
        attempts: int = 1,
        here: bool = False,
    ) -> None:
        self.work, self.given, self.count, self.noun, self.attempts, self.here = (
            work,
            given,
            count,
            noun,
            attempts,
            here,
        )
        self._workers: dict[int, _Worker] = {}
        self._payload = b""

    def __enter__(self) -> Pool[Item]:
        return self

    def __exit__(self, *_: object) -> None:
        for number in list(self._workers):
            self._workers.pop(number).end()

    def run(self, items: Iterable[Item]) -> Generator[tuple[Item, Any], None, None]:
        """Yield (item, what it made) as it is made, in any order. Raises what an item raises, and LostError.

        What is no NasharnessError comes from another process as a WorkerError.
        """
        if self.here:
            for item in items:
                for made in self.work(self.given, 0, item):
                    yield item, made
            return
        work = list(items)
        waiting, lost = deque(range(len(work))), Counter[int]()
        try:
            while self._occupy(waiting, work):
                busy = {worker.pipe: number for number, worker in self._workers.items() if worker.at is not None}
                for pipe in wait(list(busy)):
                    number = busy[pipe]  # type: ignore[index]
                    place = self._workers[number].at or 0
                    try:
                        made = self._workers[number].take()
                    except (EOFError, OSError):
                        how = f"exit code {self._workers.pop(number).end()}"
                        lost[place] += 1
                        if lost[place] >= self.attempts:
                            raise LostError(work[place], how) from None
                        waiting.appendleft(place)
                        continue
                    if isinstance(made, BaseException):
                        raise made
                    for one in made:
                        yield work[place], one
        finally:
            for number in [number for number, worker in self._workers.items() if worker.at is not None]:
                self._workers.pop(number).end()  # nobody will take what it makes

    def _occupy(self, waiting: deque[int], work: list[Item]) -> bool:
        """Give what waits to processes that are free; return whether any has work."""
        for number in range(self.count):
            if waiting and number not in self._workers:
                self._payload = self._payload or pickle.dumps((self.work, self.given, self.noun))
                self._workers[number] = _Worker(number, self._payload)
            if waiting and self._workers[number].at is None:
                self._workers[number].give(waiting.popleft(), work)
        return any(worker.at is not None for worker in self._workers.values())


class _Worker:
    """A process. ``pipe``: its end of ours; ``at``: the place of the item that it is at, None where it is free."""

    def __init__(self, number: int, payload: bytes) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_serve, args=(theirs, number), daemon=True)
        with _environment():
            self.process.start()
        theirs.close()
        self.at: int | None = None
        self._payload = payload

    def give(self, place: int, work: list[Any]) -> None:
        self.at = place
        try:
            if self._payload:
                self.pipe.send_bytes(self._payload)
                self._payload = b""
            self.pipe.send(work[place])
        except OSError:
            pass  # it has died; the pipe tells when it is read

    def take(self) -> tuple[Any, ...] | BaseException:
        """What it has made since it was asked last, or its error; nothing where it is through with its item."""
        made: tuple[Any, ...] | BaseException = self.pipe.recv()
        if not isinstance(made, tuple) or not made:
            self.at = None
        return made

    def end(self) -> int | None:
        self.pipe.close()
        self.process.terminate()
        self.process.join()
        return self.process.exitcode


def _serve(pipe: Connection, number: int) -> None:
    """Life of a worker: do what comes until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()
    try:
        work, given, noun = pickle.loads(pipe.recv_bytes())  # noqa: S301 - from our own parent
        while True:
            item = pipe.recv()
            try:
                for made in work(given, number, item):
                    pipe.send((made,))
            except NasharnessError as error:
                pipe.send(error)
            except MemoryError:
                pipe.send(WorkerError(f"{noun} {item}: out of memory; ask for fewer --jobs"))
            except Exception as error:  # an algorithm may raise anything; it must cross the pipe as text
                pipe.send(WorkerError(f"{noun} {item}: {type(error).__name__}: {error}"))
            else:
                pipe.send(())
    except (EOFError, OSError):
        return


def _follow(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


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
