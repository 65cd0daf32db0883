"""Run a one-shot algorithm: train a supernet, derive an architecture, and only then ask the table about it."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from typing import Any

import torch

from nasharness.errors import DataError
from nasharness.runs.checkpoint import Keeper
from nasharness.runs.driver import Driver
from nasharness.runs.job import Mark, Progress
from nasharness.runs.pool import LostError, Pool
from nasharness.runs.signals import INTERRUPTED, Stop, Stopped
from nasharness.storage import claimed
from nasharness.supernets.held_out import HeldOut, Judged
from nasharness.supernets.judge import Judge
from nasharness.supernets.limit import within
from nasharness.supernets.request import OneShotRequest
from nasharness.supernets.result import OneShotResult, Trained
from nasharness.supernets.session import CHECKPOINT, Session
from nasharness.supernets.text import line
from nasharness.training import device as devices
from nasharness.training.record import device_name


def run_one_shot(
    algorithm: str,
    space: str = "tss",
    dataset: str = "cifar10",
    *,
    images: Any,
    table: str | None = None,
    final: str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> OneShotResult:
    """Train supernets with ``algorithm``, derive an architecture from each, judge them by the table.

    ``images`` and ``options``: as for ``OneShotRequest.create``. ``table``, ``final``: as for ``Problem.create``. With
    ``out``, every run has a folder in it (``seed-0``, ...) with a checkpoint an epoch; the result is not written: call
    ``write``. ``progress``: told of steps, and of every epoch in a line. Raises UsageError, DataError, and Stopped on
    Ctrl-C and SIGTERM.
    """
    request = OneShotRequest.create(algorithm, space, dataset, images=images, **options)
    return execute(request, Judge.find(space, dataset, table=table, final=final), progress)


def execute(request: OneShotRequest, judge: Judge, progress: Progress | None = None) -> OneShotResult:
    """Do what is requested. The judge looks at what has been derived; no session knows of it."""
    trained: dict[int, Trained] = {}
    here = len(request.devices) == 1 or len(request.seeds) == 1
    try:
        with (
            claimed(request.out, "a run"),
            Stop(at_once=not here) as stop,
            contextlib.ExitStack() as stack,
        ):
            if request.limit is not None:
                request = within(request, request.limit, stop, progress)
            events = stack.enter_context(contextlib.closing(_each(request, here, stop)))
            for seed, event in events:
                if isinstance(event, Trained):
                    trained[seed] = event
                elif progress is not None:
                    progress(event.done, event.total, event.label, event.detail, _line(request, judge, seed, event))
    except KeyboardInterrupt:  # the runs go on in other processes
        kept = "nothing was kept (--out DIR keeps a checkpoint an epoch)"
        if request.out is not None:
            kept = f"what is complete is kept in {request.out}, and the same command with --resume goes on from it"
        raise Stopped(f"interrupted; {kept}", stop.code or INTERRUPTED) from None
    return OneShotResult(request=request, judge=judge, runs=[trained[seed] for seed in request.seeds])


def _line(request: OneShotRequest, judge: Judge, seed: int, mark: Mark) -> str:
    """What an epoch came to, in a line; nothing within one."""
    if mark.result is None:
        return ""
    final = None if mark.result.arch is None else judge.final(mark.result.arch)
    named = f"{mark.label}  " if len(request.seeds) > 1 else ""
    return named + line(mark.result, final, request.space, request.dataset)


def _each(request: OneShotRequest, here: bool, stop: Stop) -> Generator[tuple[int, Mark | Trained]]:
    """The runs in turn, or side by side, a process a device, which goes from run to run and tells of whole epochs."""
    count = len(request.devices)
    threads = torch.get_num_threads() if here else max(1, torch.get_num_threads() // count)
    given = (request, threads, stop if here else None)
    with Pool(_one, given, count, "the run of seed", here=here) as pool:
        try:
            yield from pool.run(request.seeds)
        except LostError:
            kept = "nothing was kept" if request.out is None else f"--resume goes on with what {request.out} holds"
            raise DataError(f"the process of a run died (killed, or out of memory); {kept}") from None


def _one(given: tuple[OneShotRequest, int, Stop | None], number: int, seed: int) -> Iterator[Mark | Trained]:
    """One run: yield where it stands, and last what the whole of it has trained."""
    request, threads, stop = given
    torch.set_num_threads(threads)
    session = request.session(seed, request.devices[number])
    folder = session.folder
    keeper = None if folder is None else Keeper(folder, name=CHECKPOINT, device=session.device)
    job: Session | Judged = session
    if request.split.domains is not None:
        job = Judged(session, HeldOut(request.images, request.split, session.device))
    driver = Driver(job, folder, keeper, request.resume, stop=stop or Stop())
    try:
        for mark in driver.marks():
            if stop is not None or mark.result is not None:
                yield mark
    except DataError as error:
        raise DataError(f"{error}; {driver.kept()}") from error
    rates = sorted(row.images_per_second for row in session.rows)
    yield Trained(
        seed=seed,
        epochs=list(job.rows),
        device=device_name(session.device),
        peak_memory=devices.memory(session.device),
        images_per_second=rates[len(rates) // 2],
        resumed_elsewhere=session.began_on if session.began_on != session.device.type else "",
        select=request.select,
    )
