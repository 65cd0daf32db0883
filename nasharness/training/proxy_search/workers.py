"""Trainings of a search side by side: in this process, or in several on the CPU or sharing the GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

from nasharness.runs.pool import Pool
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


def workers(proxy: Proxy, count: int, devices: Sequence[str]) -> Pool[Job]:
    """A pool that runs jobs, ``count`` at a time; ``devices``: that processes are spread over.

    On a CPU every training has one thread, so a result does not depend on how many run side by side.
    """
    return Pool(_train, (proxy, list(devices)), count, "the training of", here=count == 1)


def _train(given: tuple[Any, Sequence[str]], number: int, job: Job) -> Iterator[Outcome]:
    proxy, devices = given
    device = devices[number % len(devices)]
    with _one_thread(device):
        yield replace(proxy, device=device).run(job)


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
