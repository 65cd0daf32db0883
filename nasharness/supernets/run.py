"""Run a one-shot algorithm: train a supernet, derive an architecture, and only then ask the table about it."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from nasharness.errors import DataError
from nasharness.runs.log import Log
from nasharness.runs.pool import LostError, Pool
from nasharness.storage import claimed
from nasharness.supernets.judge import Judge
from nasharness.supernets.request import OneShotRequest
from nasharness.supernets.result import OneShotResult, Trained
from nasharness.supernets.session import CHECKPOINT, Epoch, Session
from nasharness.training import device as devices


class Watcher(Protocol):
    """Whoever wants to know how far the runs are."""

    def step(self, seed: int, epoch: int, step: int, steps: int) -> None:
        """Note that a step of an epoch (counted from 1) is done."""

    def epoch(self, seed: int, epoch: Epoch, final: float | None) -> None:
        """Note that an epoch is done; ``final``: the table's metric of its derived architecture, percent."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C. ``args[0]`` says what is kept."""


def run_one_shot(
    algorithm: str,
    space: str = "tss",
    dataset: str = "cifar10",
    *,
    images: Any,
    table: str | None = None,
    final: str | None = None,
    watcher: Watcher | None = None,
    **options: Any,
) -> OneShotResult:
    """Train supernets with ``algorithm``, derive an architecture from each, judge them by the table.

    ``images`` and ``options``: as for ``OneShotRequest.create``. ``table``, ``final``: as for ``Problem.create``. With
    ``out``, every run has a folder in it (``seed-0``, ...) with a checkpoint an epoch; the result is not written: call
    ``write``. Raises UsageError, DataError, and Interrupted on Ctrl-C.
    """
    request = OneShotRequest.create(algorithm, space, dataset, images=images, **options)
    return execute(request, Judge.find(space, dataset, table=table, final=final), watcher)


def execute(request: OneShotRequest, judge: Judge, watcher: Watcher | None = None) -> OneShotResult:
    """Do what is requested. The judge looks at what has been derived; no session knows of it."""
    with claimed(request.out, "a run"):
        return _execute(request, judge, watcher)


def _execute(request: OneShotRequest, judge: Judge, watcher: Watcher | None) -> OneShotResult:
    trained: dict[int, Trained] = {}
    current = request.seeds[0]
    try:
        with contextlib.closing(_each(request, watcher)) as events:
            for event in events:
                current = event.seed
                if isinstance(event, Trained):
                    trained[event.seed] = event
                elif watcher is not None:
                    arch = event.epoch.arch
                    watcher.epoch(event.seed, event.epoch, None if arch is None else judge.final(arch))
    except Interrupted:
        raise
    except KeyboardInterrupt:  # while an epoch is shown, or the runs go on in other processes
        raise Interrupted(f"interrupted{_kept(request.folder(current))}") from None
    return OneShotResult(request=request, judge=judge, runs=[trained[seed] for seed in request.seeds])


@dataclass(frozen=True)
class Event:
    """An epoch of a run is done."""

    seed: int
    epoch: Epoch


def train(request: OneShotRequest, seed: int, device: str, watcher: Watcher | None = None) -> Iterator[Event | Trained]:
    """One run: yield every epoch that is trained now, and last what the whole run has trained."""
    folder = request.folder(seed)
    with _saying_what_is_kept(folder):
        session = request.session(seed, device)
        journal = None
        elsewhere = ""
        if folder is not None:
            path = folder / CHECKPOINT
            if path.exists():
                made_on = session.load(path)
                elsewhere = made_on if made_on != session.device.type else ""
            journal = Log(folder, key="epoch")
            journal.rewind(session.done)
        current = session.done + 1
        step = None if watcher is None else lambda done, steps: watcher.step(seed, current, done, steps)
        for row in session.train(step):
            if folder is not None and journal is not None:
                _keep(session, folder, request.keep_every)
                journal.write(row.row())
                session.save(folder / CHECKPOINT)  # last: whatever is cut off before it is done again
            current = row.epoch + 1
            yield Event(seed, row)
        if journal is not None:
            journal.close()
    rates = sorted(row.images_per_second for row in session.rows)
    yield Trained(
        seed=seed,
        epochs=list(session.rows),
        device=_name(session.device),
        peak_memory=devices.memory(session.device),
        images_per_second=rates[len(rates) // 2],
        resumed_elsewhere=elsewhere,
    )


def _keep(session: Session, folder: Path, every: int) -> None:
    if session.done % every == 0 or session.done == session.recipe.epochs:
        session.save_weights(folder / f"epoch-{session.done:05d}.pt")


def _each(request: OneShotRequest, watcher: Watcher | None) -> Generator[Event | Trained]:
    """The runs in turn; with several devices side by side, a process a device, which goes from run to run."""
    count = len(request.devices)
    here = count == 1 or len(request.seeds) == 1
    threads = torch.get_num_threads() if here else max(1, torch.get_num_threads() // count)
    given = (request, threads, watcher if here else None)
    with Pool(_one, given, count, "the run of seed", here=here) as pool:
        try:
            for _, event in pool.run(request.seeds):
                yield event
        except LostError:
            kept = "nothing was kept" if request.out is None else f"--resume goes on with what {request.out} holds"
            raise DataError(f"the process of a run died (killed, or out of memory); {kept}") from None


def _one(given: tuple[OneShotRequest, int, Watcher | None], number: int, seed: int) -> Iterator[Event | Trained]:
    request, threads, watcher = given
    torch.set_num_threads(threads)
    return train(request, seed, request.devices[number], watcher)


@contextlib.contextmanager
def _saying_what_is_kept(folder: Path | None) -> Iterator[None]:
    """Add to an error, or to Ctrl-C, where the last good state lies."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{error}{_kept(folder)}") from error
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted{_kept(folder)}") from None


def _kept(folder: Path | None) -> str:
    if folder is None:
        return "; nothing was kept (--out DIR keeps a checkpoint an epoch)"
    if not (folder / CHECKPOINT).exists():
        return "; no epoch was complete, so nothing is kept"
    return f"; the last complete epoch is kept in {folder / CHECKPOINT} (--resume goes on from it)"


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
