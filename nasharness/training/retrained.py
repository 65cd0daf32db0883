"""Records of full training, read without torch: checked, and worded as search -> table -> full training."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasharness import tasks
from nasharness.errors import DataError, UsageError
from nasharness.runs import log
from nasharness.storage.sealed import read_sealed
from nasharness.studies.plan import count
from nasharness.training.fields import Fields, two
from nasharness.training.record import FORMAT


@dataclass(frozen=True)
class Search:
    """The search whose winner was trained.

    ``algorithm`` and ``dataset`` are empty where a winner was written by hand. ``winner``: the architecture, as in
    ``winner.json``; ``arch``: the same as text, if it has one. ``metric``: ``94.10 %`` of the table ``judged`` (its
    name, version and the final metric), or a proxy's; empty where nothing is known.
    """

    algorithm: str
    space: str
    dataset: str
    winner: Mapping[str, Any]
    arch: str
    metric: str
    judged: str

    def __str__(self) -> str:
        """``rea on tss cifar10``."""
        where = f"{self.space} {self.dataset}".strip()
        return f"{self.algorithm} on {where}" if self.algorithm else where


@dataclass(frozen=True)
class Retraining:
    """One full training, finished or not.

    ``data``: ``imagenet``, or the name of a text. ``done``: epochs behind it, of ``epochs``. ``quality``: the outcome
    in words, the best so far where it is not finished. ``seconds``, ``params``, ``macs``: None where unknown.
    ``hardware``: device and processes, if known. ``record``: what was read.
    """

    search: Search | None
    network: str
    task: str
    data: str
    recipe: str
    epochs: int
    done: int
    finished: bool
    quality: str
    params: int | None
    macs: int | None
    seconds: float | None
    hardware: str
    record: Mapping[str, Any]
    name: str = ""
    source: str = ""

    def __str__(self) -> str:
        """Search -> table -> full training, in one line."""
        parts = []
        if self.search is not None:
            parts.append(str(self.search))
            judged = f" ({self.search.judged})" if self.search.judged else ""
            parts += [f"{self.search.metric}{judged}"] if self.search.metric else []
        text = f"{self.network}, {self.data} {count(self.epochs, 'epoch')} ({self.recipe}): "
        text += "" if self.finished else f"not finished, {self.done:,} done, "
        text += self.quality or "not evaluated yet"
        took = [duration(self.seconds)] if self.seconds is not None else []
        took += [f"on {self.hardware}"] if self.hardware else []
        return " -> ".join([*parts, ", ".join([text, " ".join(took)] if took else [text])])


def line(record: Mapping[str, Any]) -> str:
    """Return search -> table -> full training in one line, of the content of a ``retrained.json``."""
    return str(parse(record))


def read(path: str | os.PathLike[str]) -> Retraining:
    """Read a record: ``retrained.json``, or the folder of a run, finished or not.

    Raises:
        DataError: there is none, or it is damaged.
    """
    given = Path(path)
    file = given / "retrained.json" if given.is_dir() else given
    if given.is_dir() and not file.is_file():
        if (given / "run.json").is_file():
            return _unfinished(given)
        raise DataError(
            f"no full training in {given}: it has no retrained.json (nasharness retrain ... --out "
            f"{shlex.quote(str(given))} makes one)"
        )
    return parse(_json(file), file)


def read_all(paths: Sequence[str | os.PathLike[str]]) -> list[Retraining]:
    """Read several records. Raises DataError as ``read``, UsageError for one that is given twice."""
    found = [read(path) for path in paths]
    sources = [Path(training.source).resolve() for training in found]
    for path, source in zip(paths, sources, strict=True):
        if sources.count(source) > 1:
            raise UsageError(f"full training {path} is given twice")
    return found


def parse(record: object, source: str | os.PathLike[str] = "the record") -> Retraining:
    """Check what a ``retrained.json`` holds. Raises DataError where it cannot be one."""
    fields = Fields(record, source)
    if fields.values.get("kind") != "retrained":
        raise DataError(f"{source} is no record of a full training; expected retrained.json of nasharness retrain")
    task = _task(fields)
    headline = task.finished(fields)
    processes, device = fields.integer("processes"), fields.text("device")
    hardware = f"{processes} x {device}" if processes > 1 else device
    epochs = fields.integer("epochs")
    return Retraining(
        search=_search(fields), network=fields.text("network"), task=task.name, data=headline.data,
        recipe=headline.recipe, epochs=epochs, done=epochs, finished=True, quality=headline.quality,
        params=fields.integer("params"), macs=headline.macs, seconds=fields.number("seconds"), hardware=hardware,
        record=fields.values, name=Path(source).resolve().parent.name, source=str(source),
    )  # fmt: skip


def _unfinished(run: Path) -> Retraining:
    """What is known of a run that has not written its record: what was asked for, and its log."""
    file = run / "run.json"
    fields = Fields(_json(file), file)
    task = _task(fields)
    rows = log.read(run) if (run / log.NAME).is_file() else []
    last = Fields(rows[-1] if rows else {"epoch": 0}, run / log.NAME)
    headline = task.unfinished(fields, rows)
    done = Fields(headline.rows[-1], run / log.NAME).integer("epoch") if headline.rows else 0
    search = _search(fields)
    network = fields.values.get("network")
    named = f"{search.space} {search.arch}".strip() if search is not None else ""
    return Retraining(
        search=search, network=named if isinstance(network, Mapping) else fields.text("network"), task=task.name,
        data=headline.data, recipe=headline.recipe, epochs=fields.integer("epochs"), done=done, finished=False,
        quality=headline.quality, params=None, macs=None,
        seconds=last.number("seconds") if "seconds" in last.values else None, hardware="",
        record=fields.values, name=run.resolve().name, source=str(file),
    )  # fmt: skip


def _search(fields: Fields) -> Search | None:
    """Return the search behind a record; of ``run.json``, the network itself is the winner."""
    values = fields.values
    winner = values.get("winner")
    if winner is None and isinstance(values.get("network"), Mapping):
        winner = values["network"]
    if winner is None:
        return None
    found = Fields(winner, f"{fields.source}, winner")
    chosen = found.object("winner")
    arch = chosen.get("arch")
    metric, judged = "", ""
    if chosen.get("final") is not None:
        metric = f"table {two(Fields(chosen, found.source).number('final'))} %"
        table, protocol = (_part(found, key) for key in ("table", "protocol"))
        name = " ".join(table.text(key, "") for key in ("source", "version")).strip()
        judged = ", ".join(text for text in (name, protocol.text("final", "")) if text)
    elif found.values.get("accuracy") is not None:  # AutoShrink's own search: no table knows its architectures
        share = found.number("accuracy")
        metric = f"proxy accuracy {two(None if share is None else 100 * share)} %"
    elif found.values.get("perplexity") is not None:
        metric = f"proxy perplexity {two(found.number('perplexity'))}"
    return Search(
        algorithm=found.text("algorithm", ""), space=found.text("space"), dataset=found.text("dataset", ""),
        winner=chosen, arch=Fields(chosen, found.source).text("arch") if isinstance(arch, str) else "", metric=metric,
        judged=judged,
    )  # fmt: skip


def _part(fields: Fields, key: str) -> Fields:
    value = fields.values.get(key)
    return Fields(value if isinstance(value, Mapping) else {}, f"{fields.source}, {key}")


def _task(fields: Fields) -> tasks.Task:
    if fields.values.get("format") != FORMAT:
        raise DataError(f"{fields.source}: format {fields.values.get('format')!r:.40}, expected {FORMAT}")
    task = fields.text("task")
    if task not in tasks.names():
        raise DataError(f"{fields.source}: task {task!r:.40}, expected {' or '.join(tasks.names())}")
    return tasks.get(task)


def _json(file: Path) -> dict[str, Any]:
    return read_sealed(file, dict, "the command that trained writes it again with --resume", sealed=False)


def duration(seconds: float | None) -> str:
    """``40 s``, ``12 min``, ``3.5 h``, ``6.1 days``."""
    if seconds is None:
        return "unknown time"
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:,.0f} s"
