"""How far long work is, read from what it writes: studies, trainings, searches by training, supernets."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasharness.errors import DataError, UsageError
from nasharness.runs import log
from nasharness.studies import forecast
from nasharness.studies.folder import read_meta

#: Rows of a journal that the rate is taken from: the latest.
RECENT = 5


@dataclass(frozen=True)
class Part:
    """One piece of work. ``total`` None: not known; ``each``: seconds of one unit; ``left``: seconds, None: not known.

    ``detail``: what it measures now, in words.
    """

    name: str
    done: int
    total: int | None
    unit: str
    each: float | None = None
    left: float | None = None
    detail: str = ""

    @property
    def finished(self) -> bool:
        """Whether nothing is left of it."""
        return self.total is not None and self.done >= self.total


def look(folder: Path) -> list[Part]:
    """What is going on in ``folder``. Raises UsageError where nothing of ours is there."""
    if not folder.is_dir():
        raise UsageError(f"no folder {folder}; give the --out of a study or a training")
    journals = [*folder.glob("log.jsonl"), *sorted(folder.glob("*/log.jsonl"))]
    parts = [part for journal in journals for part in _training(folder, journal.parent)]
    if parts:
        return parts
    if (folder / "study.json").is_file():
        return _study(folder)
    if (folder / "journal.jsonl").is_file():
        return [_search(folder)]
    if (folder / "run.json").is_file():
        return [Part(folder.name, 0, _total(folder, []), "epochs")]
    raise UsageError(
        f"nothing to watch in {folder}: no study.json, log.jsonl or journal.jsonl; give the --out of a study or of a "
        "training"
    )


def _study(folder: Path) -> list[Part]:
    """A row an algorithm, and all of it: what lies in ``shards``, and the forecast that the study writes."""
    meta = read_meta(folder)
    there = {path.stem for path in (folder / "shards").glob("*.parquet")}
    counts: dict[str, list[int]] = {}
    for cell in meta["cells"]:
        one = counts.setdefault(cell["algorithm"], [0, 0])
        size = cell["shard_runs"]
        for number in range(cell["shards"]):
            runs = min(size, cell["runs"] - number * size)
            one[0] += runs * (f"{cell['id']}-{number:05}" in there)
            one[1] += runs
    told = forecast.read(folder) or {}
    each = {name: one.get("seconds_each") for name, one in told.get("algorithms", {}).items()}
    parts = [
        Part(name, done, total, "runs", None if done >= total else each.get(name))
        for name, (done, total) in counts.items()
    ]
    done, total = (sum(one[place] for one in counts.values()) for place in (0, 1))
    left = 0.0 if done >= total else forecast.left_by_now(folder)
    return [*parts, Part(folder.resolve().name, done, total, "runs", left=left)]


def _training(top: Path, folder: Path) -> list[Part]:
    rows = log.read(folder)
    if not rows:
        return []
    last = rows[-1]
    unit = "epochs" if "epoch" in last and "step" not in last else "steps"
    done = int(last["epoch" if unit == "epochs" else "step"])
    total = _total(folder, rows) if unit == "epochs" else None
    each = _each(rows, unit)
    rest = None if total is None or each is None else max(0, total - done) * each
    name = folder.resolve().name if folder == top else str(folder.relative_to(top))
    if rest is not None and done < (total or 0):  # the unit in hand has been under way since the last row
        rest = max(0.0, rest - (time.time() - (folder / log.NAME).stat().st_mtime))
    return [Part(name, done, total, unit, each, rest, _measured(last))]


def _each(rows: Sequence[Mapping[str, Any]], unit: str) -> float | None:
    """Seconds of one epoch or step, by the latest rows."""
    recent = rows[-RECENT:]
    if all("train_s" in row for row in recent):
        return float(sum(row["train_s"] + (row.get("evaluation_s") or 0.0) for row in recent)) / len(recent)
    key = "epoch" if unit == "epochs" else "step"
    clocked = [row for row in rows[-RECENT - 1 :] if isinstance(row.get("seconds"), int | float)]
    if len(clocked) > 1 and clocked[-1][key] > clocked[0][key]:
        return float(clocked[-1]["seconds"] - clocked[0]["seconds"]) / float(clocked[-1][key] - clocked[0][key])
    if clocked and clocked[-1][key]:
        return float(clocked[-1]["seconds"]) / float(clocked[-1][key])
    return None


def _total(folder: Path, rows: Sequence[Mapping[str, Any]]) -> int | None:
    """Epochs that there will be: the journal says so, or what the run was asked for."""
    found = rows[-1].get("epochs") if rows else None
    for name in ("result.json", "run.json", "retrained.json"):
        if found is None and (folder / name).is_file():
            try:
                told = json.loads((folder / name).read_text(encoding="utf-8"))
            except ValueError:
                continue
            for part in (told, *(told.get(key) for key in ("recipe", "settings", "hyper"))):
                if isinstance(part, dict) and isinstance(part.get("epochs"), int):
                    found = part["epochs"]
                    break
    return found if isinstance(found, int) else None


def _measured(row: Mapping[str, Any]) -> str:
    """The most telling numbers of a journal's row."""
    names = ("loss", "train_loss", "valid_perplexity", "val_acc", "test_acc", "top1", "accuracy", "signal")
    shown = [f"{name.replace('_', ' ')} {row[name]:.4g}" for name in names if isinstance(row.get(name), int | float)]
    return ", ".join(shown[:3])


def _search(folder: Path) -> Part:
    """A search by training: what was paid for so far; how many trainings there will be, it does not know."""
    seconds = []
    for line in (folder / "journal.jsonl").read_text(encoding="utf-8", errors="replace").splitlines()[1:]:
        try:
            seconds.append(float(json.loads(line)["seconds"]))
        except (ValueError, KeyError, TypeError):  # the last line may be cut
            continue
    if not seconds:
        return Part(folder.resolve().name, 0, None, "trainings")
    done = (folder / "winner.json").is_file()
    recent = seconds[-20:]
    total = len(seconds) if done else None
    return Part(
        folder.resolve().name, len(seconds), total, "trainings", sum(recent) / len(recent), 0.0 if done else None
    )


def together(folders: Sequence[Path]) -> list[Part]:
    """The same of several folders. Raises what `look` does, and DataError for a journal that is damaged."""
    parts = [part for folder in folders for part in look(folder)]
    if not parts:
        raise DataError(f"{', '.join(map(str, folders))}: nothing has been written yet")
    return parts
