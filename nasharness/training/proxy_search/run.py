"""One search from data to winner: what is asked, the search with its journal, and the files it leaves."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nasharness import spaces
from nasharness.errors import DataError, UsageError
from nasharness.runs.job import Progress
from nasharness.runs.pool import LostError
from nasharness.runs.signals import INTERRUPTED, Stop, Stopped
from nasharness.search import streams
from nasharness.search import winner as winners
from nasharness.search.result import provenance
from nasharness.spaces.shrink import Graph, GraphSpace, official_assignment
from nasharness.storage import claimed, write_json, writing
from nasharness.studies.folder import refuse_others
from nasharness.training.device import choose
from nasharness.training.proxy_search import trajectory as trajectory_file
from nasharness.training.proxy_search.journal import Journal
from nasharness.training.proxy_search.randomness import OPERATIONS
from nasharness.training.proxy_search.settings import SETTINGS, ImageSettings, ShrinkSettings, TextSettings
from nasharness.training.proxy_search.shrink import Candidate, Job, Outcome, Trajectory, shrink
from nasharness.training.proxy_search.workers import Proxy, workers

#: Processes that share one GPU, unless asked otherwise: enough to hide the launching of small kernels.
JOBS_PER_GPU = 4


@dataclass(frozen=True)
class ShrinkRequest:
    """A search that can be run: everything is checked, the data are here. Made by ``ShrinkRequest.create``."""

    algorithm: str
    space: GraphSpace
    settings: ShrinkSettings
    seed: int
    proxy: Proxy
    start: Graph
    dataset: str
    source: str
    identity: dict[str, Any]
    devices: tuple[str, ...]
    jobs: int
    out: Path

    @classmethod
    def create(
        cls,
        algorithm: str,
        space: str,
        *,
        out: str | os.PathLike[str],
        images: str | None = None,
        text: str | Path | None = None,
        data: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
        seed: int = 0,
        jobs: int | None = None,
        device: str | None = None,
        precision: str = "auto",
    ) -> ShrinkRequest:
        """Check what is asked and read the data.

        ``algorithm``: autoshrink or autoshrink.official. ``space``: shrink-cnn, which needs ``images`` (a name or path,
        found under ``data``), or shrink-rnn, which needs ``text``, a folder with NAME.train.txt, NAME.valid.txt and
        NAME.test.txt. ``jobs``: trainings side by side (default: the processors of this machine, on GPUs four each).
        ``device``: one, or several joined by commas. Raises UsageError for what cannot be asked, DataError for data
        that are not here.
        """
        graphs = spaces.graphs(space)
        chosen = SETTINGS[space].make(algorithm, graphs, settings or {})
        if not 0 <= seed < 2**63:
            raise UsageError(f"seed = {seed}: expected 0 to 2**63 - 1")
        devices = _devices(device)
        count = _jobs(jobs, devices, chosen.k)
        proxy: Proxy
        if isinstance(chosen, ImageSettings):
            if text is not None:
                raise UsageError(f"--text {text}: space {space} trains on images; use {graphs.needs}")
            if images is None:
                raise UsageError(f"space {space} trains on images: add {graphs.needs}")
            from nasharness import images as sets
            from nasharness.training.device import dtype_of
            from nasharness.training.proxy_search.images import ImageProxy

            dtype_of(torch.device(devices[0]), precision)
            loaded = sets.load(images, data)
            proxy = ImageProxy.make(loaded, chosen, seed, devices[0], precision)
            dataset, source, checksum = loaded.name, str(loaded.source), loaded.checksum
        elif isinstance(chosen, TextSettings):
            if images is not None or data is not None:
                raise UsageError(f"space {space} trains on text, not on --images; use {graphs.needs}")
            if text is None:
                raise UsageError(f"space {space} trains on text: add {graphs.needs}")
            from nasharness.training.language.data import read_corpus
            from nasharness.training.proxy_search.text import TextProxy

            corpus = read_corpus(text, chosen.corpus or None, unknown_words="unk")
            proxy = TextProxy.make(corpus, chosen, seed, devices[0])
            dataset, source = corpus.name, str(corpus.folder)
            checksum = hashlib.sha256(proxy.train.tobytes() + b"|" + proxy.val.tobytes()).hexdigest()
        else:
            raise UsageError(f"space {space} has no proxy training")
        start = graphs.complete(_operations(chosen.operations, graphs, seed))
        identity = {
            "search": "autoshrink 1",
            "algorithm": algorithm,
            "space": space,
            "start": str(start),
            "seed": seed,
            "data": checksum,
            "device": torch.device(devices[0]).type,
            "precision": precision,
        } | {f"setting {name}": value for name, value in chosen.record().items()}
        return cls(algorithm, graphs, chosen, seed, proxy, start, dataset, source, identity, devices, count, Path(out))


@dataclass(frozen=True)
class Found:
    """The outcome. ``replayed``: trainings that came from the journal of an earlier part of the search."""

    request: ShrinkRequest
    trajectory: Trajectory
    replayed: int

    @property
    def best(self) -> Candidate:
        """The graph that is the answer."""
        return self.trajectory.best()

    def winner(self) -> dict[str, Any]:
        """The content of ``winner.json``."""
        best, proxy = self.best, self.request.proxy
        answer = {
            "label": "best-signal",
            "about": "best by score of all that were trained",
            "index": None,
            "arch": str(best.graph),
            "mask": best.graph.vector().tolist(),
            "operations": list(best.graph.operations),
            "signal": best.score,
            "final": None,
            "votes": 1,
        }
        told = {
            "space": self.request.space.name,
            "dataset": self.request.dataset,
            "algorithm": self.request.algorithm,
            "settings": self.request.settings.record(),
            "runs": 1,
            "seed": self.request.seed,
        }
        more = {
            proxy.quality: best.value,
            "cost": {"value": best.cost, "unit": proxy.unit},
            "params": proxy.params(best.graph),
            "edges": len(best.graph.eligible),
            "trainings": self.trajectory.trainings,
            "data": {"source": self.request.source, "drawn": proxy.note, "checksum": self.request.identity["data"]},
            "provenance": provenance(None, [self.request.seed]) | {"torch": torch.__version__},
        }
        return winners.content(told, [answer], **more)


def search(
    request: ShrinkRequest,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    on_step: Callable[[Trajectory], None] | None = None,
) -> Found:
    """Run the search; its journal, ``trajectory.json`` after every step, and ``winner.json`` at the end are in ``out``.

    A search that was killed, by whatever means, goes on with ``resume``: trainings in the journal are replayed, and the
    result is the same, bit for bit on a CPU. ``progress(done, total, label)``: trainings of the present step.
    """
    with claimed(request.out, "a search"), Stop(at_once=True) as stop:
        try:
            return _search(request, resume, progress, on_step)
        except KeyboardInterrupt:
            why = f"interrupted; what was trained is in {request.out}: go on with --resume"
            raise Stopped(why, stop.code or INTERRUPTED) from None


def _search(
    request: ShrinkRequest,
    resume: bool,
    progress: Progress | None,
    on_step: Callable[[Trajectory], None] | None,
) -> Found:
    refuse_others(request.out, "journal.jsonl", "winner.json")
    journal = Journal(request.out, request.identity, resume=resume)
    replayed = 0  # what the search did not ask for is not counted: another --jobs may have finished more of a step
    with workers(request.proxy, request.jobs, request.devices) as pool:

        def train(jobs: Sequence[Job]) -> list[Outcome]:
            nonlocal replayed
            absent = [job for job in jobs if journal.get(job) is None]
            replayed += len(jobs) - len(absent)
            label = f"{len(jobs[0].graph.eligible)} edges" if jobs else ""
            if progress is not None:
                progress(len(jobs) - len(absent), len(jobs), label)

            try:
                for job, outcome in pool.run(absent):
                    journal.put(job, outcome)
                    if progress is not None:
                        progress(sum(journal.get(one) is not None for one in jobs), len(jobs), label)
            except LostError as error:
                raise DataError(
                    f"a process that trained {error.item.graph} died; if memory ran out, ask for fewer --jobs; "
                    "what is finished is kept, go on with --resume"
                ) from None
            return [_known(journal, job) for job in jobs]

        def stepped(trajectory: Trajectory) -> None:
            _write(request.out / trajectory_file.NAME, trajectory_file.record(request, trajectory))
            if on_step is not None:
                on_step(trajectory)

        trajectory = shrink(
            request.start, request.settings, request.seed,
            train=train, cost=request.proxy.cost, score=request.proxy.score, on_step=stepped,
        )  # fmt: skip
    found = Found(request, trajectory, replayed)
    _write(request.out / trajectory_file.NAME, trajectory_file.record(request, trajectory))
    _write(request.out / "winner.json", found.winner())
    return found


def _known(journal: Journal, job: Job) -> Outcome:
    outcome = journal.get(job)
    if outcome is None:
        raise RuntimeError(f"no outcome of {job.key}")
    return outcome


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with writing(path):
        write_json(path, content)


def _operations(text: str, space: GraphSpace, seed: int) -> tuple[str, ...]:
    if text == "drawn":
        return space.assign(streams.generator(seed, OPERATIONS))
    if text == "official":
        # the official recurrent search draws activations unseeded, so there its published cell's stand in
        return official_assignment(space) if space.balanced else space.official
    names = tuple(name.strip() for name in text.split(","))
    if len(names) != space.nodes - 1:
        raise UsageError(
            f"operations = {text!r}: expected drawn, official, or one of {', '.join(space.operations)} for each of "
            f"{space.nodes - 1} nodes, joined by commas; got {len(names)}"
        )
    return names


def _devices(text: str | None) -> tuple[str, ...]:
    if text is None and torch.cuda.is_available():
        return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))
    return tuple(str(choose(name.strip() or None)) for name in (text or "auto").split(","))


def _jobs(asked: int | None, devices: Sequence[str], most: int) -> int:
    if asked is not None:
        if not 1 <= asked <= 256:
            raise UsageError(f"jobs = {asked}: expected 1 to 256 trainings side by side")
        return asked
    if devices[0].startswith("cuda"):
        return min(most, JOBS_PER_GPU * len(devices))
    if devices[0] == "mps":
        return 1
    return min(most, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
