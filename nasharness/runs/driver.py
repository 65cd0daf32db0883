"""The driver of every long job: folder, lock, refusal of another plan, resume, log, progress, checkpoints, signals."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasharness.errors import UsageError
from nasharness.runs.job import Job, Mark, Progress
from nasharness.runs.log import Log
from nasharness.runs.signals import INTERRUPTED, Stop, Stopped
from nasharness.storage import claimed
from nasharness.storage.sealed import write_sealed

if TYPE_CHECKING:
    from nasharness.runs.checkpoint import Keeper


@dataclass
class Driver:
    """Drives ``job`` to its end, in the folder ``out`` (None: nothing is kept); all processes of the job have one.

    ``keeper``: its checkpoints, within ``out``. ``resume``: go on from the last of them, where there is one. ``key``:
    of the journal's rows. ``plan``, ``record``: what to write into which file of ``out`` when the job begins, and what
    when it has ended. ``minutes``: longest time without a checkpoint. ``stop``: what has been told, where somebody
    listens. ``resumed``: the checkpoint that it went on from.
    """

    job: Job
    out: Path | None = None
    keeper: Keeper | None = None
    resume: bool = False
    key: str = "epoch"
    plan: tuple[str, Callable[[], Mapping[str, Any]]] | None = None
    record: tuple[str, Callable[[], dict[str, Any]]] | None = None
    minutes: float = math.inf
    boards: tuple[str, ...] = ()
    stop: Stop = field(default_factory=Stop)
    progress: Progress | None = None
    clock: Callable[[], float] = time.monotonic
    resumed: Path | None = None

    def complete(self) -> dict[str, Any]:
        """Do it all, and return the record.

        Raises UsageError where the folder holds a run and ``resume`` is False, or holds another one; DataError where a
        file cannot be read or written; Stopped when it was told to stop; whatever the job raises.
        """
        for _ in self.marks():
            pass
        return self.made

    def marks(self) -> Iterator[Mark]:
        """The same, mark by mark, each when everything that follows from it is done."""
        main = self.job.world.main
        with claimed(self.out if main else None, "a training"):
            self._refuse()
            log = None
            if self.out is not None and main:
                log = Log(self.out, key=self.key, boards=self.boards)
            try:
                self._begin(log)
                yield from self._steps(log)
            except KeyboardInterrupt:
                raise Stopped(f"interrupted; {self.kept()}", self.stop.code or INTERRUPTED) from None
            finally:
                if log is not None:
                    log.close()
            self.made = self._written(self.record)

    def kept(self, whole: bool = False) -> str:
        """Say where the last state lies; ``whole``: that it is all of it."""
        if self.keeper is None:
            return "nothing was kept (--out DIR keeps a checkpoint an epoch)"
        there = self.keeper.steps()
        if not there:
            return "no epoch was complete, so nothing is kept"
        what = f"epoch {self.job.logged:,}" if self.key == "epoch" else "the last checkpoint"
        what = "everything" if whole else what
        return f"{what} is kept in {there[-1]}, and the same command with --resume goes on from it"

    def _refuse(self) -> None:
        """Raise UsageError rather than write over a run."""
        if self.keeper is None or self.out is None or self.resume:
            return
        files = [self.out / written[0] for written in (self.plan, self.record) if written is not None]
        taken = self.job.world.main and (bool(self.keeper.steps()) or any(file.exists() for file in files))
        if self.job.world.largest(int(taken)):  # of the first process: the others may see what it has begun to write
            raise UsageError(f"--out {self.out} holds a run: add --resume to go on with it, or choose another folder")

    def _begin(self, log: Log | None) -> None:
        if self.keeper is not None and self.resume:
            if self.job.world.main:
                self.keeper.sweep()
            self.resumed = self.keeper.take_up(self.job)
        if self.resumed is None:
            self._written(self.plan)
        elif self.progress is not None and self.job.world.main:
            self.progress(0, 0, line=f"going on from {self.resumed}")
        if log is not None:
            log.rewind(self.job.logged)

    def _steps(self, log: Log | None) -> Iterator[Mark]:
        world, self._saved = self.job.world, self.clock()
        steps = self.job.steps()
        for mark in steps:
            if mark.row is not None and log is not None:
                log.write(mark.row)
            if self.progress is not None and world.main:
                self.progress(mark.done, mark.total, mark.label, mark.detail, mark.line)
            told = self._told(mark)
            if told > 1:
                steps.close()
            if mark.step is not None and (mark.due or told) and (told > 1 or not mark.aside):
                self._save(mark.step)
            if told > 1:
                raise Stopped(f"stopped {mark.where}; {self.kept(mark.step is not None)}", told // 2)
            yield mark

    def _told(self, mark: Mark) -> int:
        """Twice the code to stop with, plus 1 where it is time to save; one number, so that all processes agree."""
        world = self.job.world
        if mark.aside:
            return 2 * self.stop.code if world.size == 1 else 0
        late = world.main and self.clock() - self._saved >= 60 * self.minutes
        return world.largest(2 * self.stop.code + late)

    def _save(self, step: int) -> None:
        state = self.job.state()
        if self.keeper is not None and self.job.world.main:
            self.keeper.save(step, state, kind=self.job.kind, identity=self.job.identity)
        self._saved = self.clock()

    def _written(self, file: tuple[str, Callable[[], Mapping[str, Any]]] | None) -> dict[str, Any]:
        """Write what the job says into ``file``, and return it."""
        if file is None:
            return {}
        content = dict(file[1]())
        if self.out is not None and self.job.world.main:
            write_sealed(self.out / file[0], content)
        return content
