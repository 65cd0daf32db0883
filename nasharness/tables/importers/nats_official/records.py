"""One architecture's record in NATS-Bench's files, turned into numbers (docs/reproduction/nats-bench.md#records).

A record is ``{hp: {arch_index, arch_str, dataset_seed, all_results: {(data set, seed): trial}}}``. A trial keeps each
curve as a dict from epoch (``3``, 0-based) or from set and epoch (``"x-valid@3"``) to a float. Which curves and epochs
exist differs between spaces, training lengths and versions, so nothing about it is assumed: a block of architectures
grows an array for each curve it meets, and what a record lacks stays NaN.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import DataError
from nasharness.storage import atomically, writing
from nasharness.tables.unpickle import NUMPY_SCALARS, OLD_PROTOCOLS, ORDERED_DICT

#: globals that a record's pickle may ask for
ALLOWED = {**ORDERED_DICT, **NUMPY_SCALARS, **OLD_PROTOCOLS}
#: increased when a shard's content changes meaning, so that older ones are read again
SHARD_VERSION = 2
#: names of NAS-Bench-201's two training lengths, in the words of NATS-Bench
HP = {"less": "12", "full": "200"}
SCHEDULES = (1, 12, 90, 200)
DATASETS = ("cifar10-valid", "cifar10", "cifar100", "ImageNet16-120")
#: metric prefix of each evaluation set; the two halves of CIFAR-10's training set have no x-test
SETS: dict[str, dict[str, str]] = {
    "cifar10-valid": {"x-valid": "val", "ori-test": "test"},
    "cifar10": {"ori-test": "test"},
    "cifar100": {"x-valid": "val", "x-test": "test", "ori-test": "valtest"},
    "ImageNet16-120": {"x-valid": "val", "x-test": "test", "ori-test": "valtest"},
}
#: times and latencies are one number per architecture; relative spread above which a value counts as not constant
CONSTANT = 1e-9
#: largest accuracy; a little above 100 for float32 rounding
PERCENT = 100.001
_PLANS = 4096


class Curve(NamedTuple):
    """What an array of a block holds: one metric over ``epochs`` (0-based; empty for a scalar) of one seed."""

    dataset: str
    metric: str
    schedule: int
    seed: str
    epochs: tuple[int, ...]


class Block:
    """Numbers of up to ``size`` architectures: for each curve met, float64 ``[size, epochs]``, NaN where absent.

    ``spread``: for each scalar column, [architectures where it is not constant, largest relative spread].
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.curves: dict[Curve, NDArray[np.float64]] = {}
        self.spread: dict[str, list[float]] = {}
        self._plans: dict[tuple[str, tuple[object, ...]], tuple[tuple[str, tuple[int, ...], slice], ...]] = {}

    def add(self, row: int, record: object, index: int, arch: str, what: str) -> None:
        """Put one record into ``row``. ``index`` and ``arch`` are what the file's name promises.

        Raises DataError naming the file (``what``), the field and the value that is not as expected.
        """
        if not isinstance(record, dict) or not record:
            raise DataError(f"{what}: holds {_kind(record)}, expected a dict from training lengths to results")
        scalars: dict[tuple[str, str], dict[int, list[float]]] = {}
        for hp, results in record.items():
            try:
                schedule = int(HP.get(str(hp), str(hp)))
            except (TypeError, ValueError):
                schedule = 0
            if schedule not in SCHEDULES:
                raise DataError(f"{what}: training length {_kind(hp)}, expected '12' and '200', or '01', '12' and '90'")
            _check_identity(results, index, arch, f"{what}, {hp} epochs")
            for (dataset, seed), trial in _trials(results, f"{what}, {hp} epochs"):
                try:
                    self._trial(row, dataset, schedule, seed, trial, scalars)
                except DataError as error:
                    raise DataError(f"{what}, {hp} epochs, {dataset}, seed {seed}: {error}") from None
                except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                    problem = f"{type(error).__name__}: {str(error)[:100]}"
                    raise DataError(f"{what}, {hp} epochs, {dataset}, seed {seed}: damaged ({problem})") from None
        for (dataset, metric), by_schedule in scalars.items():
            self._scalar(row, dataset, metric, by_schedule)

    def _trial(
        self,
        row: int,
        dataset: str,
        schedule: int,
        seed: str,
        trial: Mapping[str, Any],
        scalars: dict[tuple[str, str], dict[int, list[float]]],
    ) -> None:
        length = trial["epochs"]
        if not isinstance(length, int) or not 0 < length <= schedule:
            raise DataError(f"field epochs is {_kind(length)}, expected 1 to {schedule}")
        for field, metric in (("train_acc1es", "acc"), ("train_losses", "loss"), ("train_acc5es", "top5")):
            if metric == "top5" and trial.get(field) is None:
                continue
            curve = trial[field]
            epochs = self._plan("", tuple(curve))[0][1]
            if epochs[-1] >= length:
                raise DataError(f"{field} has epoch {epochs[-1] + 1} of {length}")
            self._store(row, Curve(dataset, f"train_{metric}", schedule, seed, epochs), _floats(curve))
        for field, metric in (("eval_acc1es", "acc"), ("eval_losses", "loss")):
            values = _floats(trial[field])
            for prefix, epochs, part in self._plan(dataset, tuple(trial[field])):
                if epochs[-1] >= length:
                    raise DataError(f"{field} has epoch {epochs[-1] + 1} of {length}")
                self._store(row, Curve(dataset, f"{prefix}_{metric}", schedule, seed, epochs), values[part])
        times = trial.get("train_times")
        if times:
            _extend(scalars, dataset, "train_s", schedule, tuple(times.values()))
        times = trial.get("eval_times")
        if times:
            values_of = tuple(times.values())
            for prefix, _, part in self._plan(dataset, tuple(times)):
                _extend(scalars, dataset, f"{prefix}_s", schedule, values_of[part])
        latency = trial.get("latency")
        if latency:
            _extend(scalars, dataset, "latency_s", schedule, [x for x in latency if x is not None and x > 0])

    def _plan(self, dataset: str, keys: tuple[object, ...]) -> tuple[tuple[str, tuple[int, ...], slice], ...]:
        """Split a dict's keys into runs of one evaluation set: (metric prefix, epochs, slice of the values)."""
        plan = self._plans.get((dataset, keys))
        if plan is None:
            if len(self._plans) >= _PLANS:
                self._plans.clear()
            plan = self._plans[dataset, keys] = tuple(_runs(dataset, keys))
        return plan

    def _store(self, row: int, curve: Curve, values: array[float]) -> None:
        target = self.curves.get(curve)
        if target is None:
            target = self.curves[curve] = np.full((self.size, max(1, len(curve.epochs))), np.nan)
        target[row] = values

    def _scalar(self, row: int, dataset: str, metric: str, by_schedule: Mapping[int, list[float]]) -> None:
        # One value per architecture: of the shortest training but the one-epoch run, which searches use. What other
        # trainings say differently is counted, so that the import can tell.
        schedules = [s for s in sorted(by_schedule) if by_schedule[s]]
        if not schedules:
            return
        first = next((s for s in schedules if s > 1), schedules[0])
        values = by_schedule[first]
        low = min(min(by_schedule[s]) for s in schedules)
        high = max(max(by_schedule[s]) for s in schedules)
        value = low if low == high else sum(values) / len(values)
        spread = (high - low) / abs(high) if high else 0.0
        if spread > CONSTANT:
            seen = self.spread.setdefault(f"{dataset}.{metric}", [0, 0.0])
            seen[0] += 1
            seen[1] = max(seen[1], spread)
        self._store(row, Curve(dataset, metric, 0, "", ()), array("d", [value]))

    # ---- on disk

    def write(self, path: Path, identity: str, hashes: Mapping[int, str]) -> None:
        """Write the block as a shard: one line of JSON, then each curve as float64 ``[epochs, rows]``. Atomic.

        ``identity``: of what was read, see ``is_done``. ``hashes``: each row's architecture, and SHA-256 of its record.
        Raises DataError where an accuracy is none, or the file cannot be written.
        """
        head = {
            "identity": f"{SHARD_VERSION}-{identity}",
            "indices": list(hashes),
            "sha256": list(hashes.values()),
            "spread": self.spread,
            "layout": [list(curve) for curve in self.curves],
        }

        def whole(temporary: Path) -> None:
            with temporary.open("wb") as file:
                file.write(json.dumps(head).encode() + b"\n")
                for curve, values in self.curves.items():
                    _check_range(curve, values)
                    file.write(np.ascontiguousarray(values[: len(hashes)].T).data)

        with writing(path, "run the import again", DataError):
            atomically(path, whole)


class Shard:
    """A block on disk: its header, and each curve's place in the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            self.head: dict[str, Any] = json.loads(file.readline())
            start = file.tell()
        self.indices: list[int] = self.head["indices"]
        self.size = len(self.indices)
        self.places: dict[Curve, int] = {}
        for dataset, metric, schedule, seed, epochs in self.head["layout"]:
            curve = Curve(dataset, metric, schedule, seed, tuple(epochs))
            self.places[curve] = start
            start += 8 * self.size * max(1, len(epochs))
        if path.stat().st_size != start:
            raise ValueError(f"{path} has another length than its header says")

    def read(self, curve: Curve) -> NDArray[np.float64]:
        """Return a curve as float64 ``[epochs, size]`` (``[1, size]`` for a scalar)."""
        rows = max(1, len(curve.epochs))
        values = np.fromfile(self.path, np.float64, rows * self.size, offset=self.places[curve])
        return values.reshape(rows, self.size)


def is_done(path: Path, identity: str) -> bool:
    """Whether an earlier import left at ``path`` the shard of this very block."""
    try:
        return bool(Shard(path).head["identity"] == f"{SHARD_VERSION}-{identity}")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _check_identity(results: object, index: int, arch: str, what: str) -> None:
    if not isinstance(results, dict):
        raise DataError(f"{what}: holds {_kind(results)}, expected a dict of results")
    if results.get("arch_index") != index:
        raise DataError(
            f"{what}: arch_index is {_kind(results.get('arch_index'))}, but the name of the file says {index}"
        )
    if results.get("arch_str") != arch:
        raise DataError(f"{what}: arch_str is {_kind(results.get('arch_str'))}, but architecture {index} is {arch!r}")


def _trials(results: Mapping[str, Any], what: str) -> Iterable[tuple[tuple[str, str], Mapping[str, Any]]]:
    trials, seeds = results.get("all_results"), results.get("dataset_seed")
    if not isinstance(trials, dict) or not trials or not isinstance(seeds, dict):
        raise DataError(f"{what}: fields all_results and dataset_seed are not the dicts they should be")
    for key, trial in trials.items():
        if not isinstance(key, tuple) or len(key) != 2 or key[0] not in SETS or not isinstance(key[1], int):
            raise DataError(f"{what}: a trial of {_kind(key)}, expected a data set of {', '.join(DATASETS)} and a seed")
        if not isinstance(trial, dict):
            raise DataError(f"{what}: the trial {key} is {_kind(trial)}, expected a dict")
        listed = seeds.get(key[0])
        if not isinstance(listed, list) or key[1] not in listed:
            raise DataError(f"{what}: the trial {key} is not listed in dataset_seed")
        yield (key[0], str(key[1])), trial
    if sum(map(len, seeds.values())) != len(trials):
        raise DataError(
            f"{what}: dataset_seed lists {sum(map(len, seeds.values()))} trials, but {len(trials)} are stored"
        )


def _runs(dataset: str, keys: tuple[object, ...]) -> Iterable[tuple[str, tuple[int, ...], slice]]:
    parsed: list[tuple[str, int]] = []
    for key in keys:
        name, epoch = ("", key) if not dataset else str(key).rsplit("@", 1)
        if dataset and name not in SETS[dataset]:
            raise DataError(f"evaluation set {_kind(name)}, expected {' or '.join(SETS[dataset])}")
        number = int(epoch) if isinstance(epoch, (int, str)) else -1
        if number < 0:
            raise DataError(f"epoch {_kind(epoch)}")
        parsed.append((name, number))
    if not parsed:
        raise DataError("a curve without epochs")
    if len(set(parsed)) < len(parsed):
        raise DataError("an epoch is stored twice")
    start = 0
    for stop in range(1, len(parsed) + 1):
        ended = stop == len(parsed) or parsed[stop][0] != parsed[start][0] or parsed[stop][1] <= parsed[stop - 1][1]
        if ended:
            epochs = tuple(epoch for _, epoch in parsed[start:stop])
            yield (SETS[dataset][parsed[start][0]] if dataset else "train"), epochs, slice(start, stop)
            start = stop


def _floats(curve: Mapping[object, float]) -> array[float]:
    return array("d", curve.values())  # takes real numbers only, and no text


def _extend(
    scalars: dict[tuple[str, str], dict[int, list[float]]],
    dataset: str,
    metric: str,
    schedule: int,
    values: Sequence[float | None],
) -> None:
    numbers = [value for value in values if value is not None]
    if not numbers:
        return
    # Mostly one number many times: keep it once, so that the mean is that number and not off by rounding.
    if numbers.count(numbers[0]) == len(numbers):
        numbers = numbers[:1]
    scalars.setdefault((dataset, metric), {}).setdefault(schedule, []).extend(map(float, numbers))


def _check_range(curve: Curve, values: NDArray[np.float64]) -> None:
    if curve.metric.endswith(("_acc", "_top5")):
        wrong = (values < 0) | (values > PERCENT)
        if wrong.any():
            raise DataError(f"{curve.metric} of {curve.dataset} is {values[wrong][0]!r}, expected 0 to 100 percent")


def _kind(thing: object) -> str:
    return repr(thing)[:80] if isinstance(thing, (str, int, float, type(None))) else f"a {type(thing).__name__}"
