"""Trainings side by side: in this process, or in several on the CPU or sharing the GPUs."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import wait
from typing import Any, Protocol

from nasharness.errors import DataError
from nasharness.spaces.shrink import Graph
from nasharness.training.proxy_search.shrink import Job, Outcome


class Proxy(Protocol):
    """What is trained, and what it is worth."""

    device: str
    note: str

    @property
    def quality(self) -> str:
        """What a value is: accuracy or perplexity."""

    @property
    def unit(self) -> str:
        """What ``cost`` counts."""

    def cost(self, graph: Graph) -> float:
        """What the graph's network costs."""

    def params(self, graph: Graph) -> int:
        """Parameters of the graph's network."""

    def score(self, value: float, cost: float) -> float:
        """What decides."""

    def run(self, job: Job) -> Outcome:
        """Train one network from scratch."""


class Workers:
    """Runs jobs, ``count`` at a time; a context manager. On a CPU every training has one thread, whatever ``count``.

    So a result does not depend on how many run side by side. ``devices``: that processes are spread over.
    """

    def __init__(self, proxy: Proxy, count: int, devices: Sequence[str]) -> None:
        self.proxy, self.count, self.devices = proxy, count, list(devices)
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            # what is running is lost anyway; waiting for it would hold up Ctrl-C
            processes = list((getattr(self._pool, "_processes", None) or {}).values())
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()

    def run(self, jobs: Sequence[Job], done: Callable[[Job, Outcome], None]) -> None:
        """Run ``jobs`` and call ``done`` for each as it is finished, in any order.

        Raises DataError where a process dies of its job.
        """
        if self.count == 1:
            with _one_thread(self.proxy.device):
                for job in jobs:
                    done(job, self.proxy.run(job))
            return
        if not jobs:
            return
        if self._pool is None:
            self._pool = self._start()
        futures: dict[Future[Outcome], Job] = {self._pool.submit(_work, job): job for job in jobs}
        for future in as_completed(futures):
            try:
                outcome = future.result()
            except BrokenProcessPool:
                raise DataError(
                    f"a process that trained {futures[future].graph} died; if memory ran out, ask for fewer --jobs; "
                    "what is finished is kept, go on with --resume"
                ) from None
            done(futures[future], outcome)

    def _start(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")  # a forked CUDA context, or a forked thread pool, does not work
        number = context.Value("i", 0)
        return ProcessPoolExecutor(
            self.count, mp_context=context, initializer=_begin, initargs=(self.proxy, self.devices, number)
        )


#: the proxy of a worker process
_mine: list[Any] = []


def _begin(proxy: Any, devices: Sequence[str], number: Any) -> None:
    """Start a worker: take the next device, one thread, and end with the parent."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()
    with number.get_lock():
        mine = number.value
        number.value += 1
    torch.set_num_threads(1)
    _mine[:] = [replace(proxy, device=devices[mine % len(devices)])]


def _work(job: Job) -> Outcome:
    outcome: Outcome = _mine[0].run(job)
    return outcome


def _follow(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


@contextmanager
def _one_thread(device: str) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
