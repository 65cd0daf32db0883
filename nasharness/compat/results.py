"""``ArchResults`` and ``ResultsCount``: the results of one architecture, and of one of its trials."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from nasharness.compat.source import Backing, NotInTableError, Seed, mean, total
from nasharness.errors import UsageError
from nasharness.spaces.nats import DATASETS
from nasharness.tables.importers.nats_official.records import SETS

#: the cell of every sss network (tss index 9930)
SSS_CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
#: what ``nats_bench`` calls an evaluation set where the name is short
SHORT = {"valid": "x-valid"}


class Answers(dict[str, Any]):
    """A dict that remembers why a key is absent: ``lacking`` makes the error for what the table lacks."""

    def __init__(self, *known: Any, **more: Any) -> None:
        super().__init__(*known, **more)
        self.lacking: dict[str, Callable[[], NotInTableError]] = {}

    def __missing__(self, key: str) -> Any:
        raise self.lacking[key]() if key in self.lacking else KeyError(key)

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)  # pickled or copied, an answer is a plain dict: the table stays behind


def metrics(
    source: Backing, index: int, dataset: str, part: str, schedule: int, epoch: int, seed: Seed | None, strict: bool
) -> Answers:
    """Loss, accuracy and times of ``part`` (``train``, ``val``, ...) after ``epoch`` (from 1).

    ``seed`` None: means over trials; ``strict``: that trial and no other. Raises KeyError where NATS-Bench evaluated
    nothing; a key that the table lacks raises when it is asked for.
    """
    if not source.published(dataset, part, schedule, epoch):
        raise KeyError(f"NATS-Bench has no {part} results of {dataset} after {epoch} of {schedule} epochs")
    found = Answers(iepoch=epoch - 1)
    for key, name in (("loss", f"{part}_loss"), ("accuracy", f"{part}_acc")):
        value = source.value(index, dataset, name, schedule, epoch, seed, strict)
        if value is None:
            found.lacking[key] = partial(_missing, source, index, dataset, name, schedule, epoch, seed)
        else:
            found[key] = value
    seconds = source.seconds(index, dataset, f"{part}_s")
    if seconds is None:
        lacking = partial(source.missing, index, f"seconds of {part} on {dataset}", dataset, f"{part}_s", None)
        found.lacking |= {"cur_time": lacking, "all_time": lacking}
    else:
        found |= {"cur_time": seconds, "all_time": total(seconds, epoch)}
    if seed is None:  # means of equal times: nats_bench adds them up all the same
        count = len(source.trials(index, dataset, schedule))
        found |= {key: mean([found[key]] * count) for key in ("cur_time", "all_time") if key in found and count}
    return found


def _missing(
    source: Backing, index: int, dataset: str, metric: str, schedule: int, epoch: int, seed: Seed | None
) -> NotInTableError:
    of = "" if seed is None else f" of trial {seed}"
    what = f"{metric} on {dataset} after {epoch} of {schedule} epochs{of}"
    return source.missing(index, what, dataset, metric, schedule)


class ResultsCount:
    """One trial: ``get_train()``, ``get_eval('x-valid')``, costs. ``key`` is its seed, or ``"mean"``."""

    net_state_dict = None

    def __init__(self, source: Backing, index: int, dataset: str, schedule: int, key: Seed) -> None:
        self._source, self._index, self._key = source, index, key
        self.name = dataset
        self.epochs = schedule
        self.seed = f"{key:04d}" if isinstance(key, int) else key
        self.eval_names = list(SETS[dataset])

    @property
    def flop(self) -> float:
        """Multiply-accumulates in millions, computed."""
        return float(self._source.space.flops(self._index, self.name))

    @property
    def params(self) -> float:
        """Parameters in millions, computed."""
        return float(self._source.space.params(self._index, self.name))

    @property
    def arch_config(self) -> dict[str, Any]:
        """What a network is built from."""
        return net_config(self._source, self._index, self.name)

    def get_total_epoch(self) -> int:
        return self.epochs

    def get_eval_set(self) -> list[str]:
        return self.eval_names

    def get_latency(self) -> float:
        """Seconds per batch of 256; -1.0 where unknown, as in ``nats_bench``."""
        latency = self._source.seconds(self._index, self.name, "latency_s")
        return -1.0 if latency is None else latency

    def get_times(self) -> Answers:
        """Seconds of training and of every evaluation set: ``T-train@epoch``, ``T-x-valid@total``, ...."""
        return times(self._source, self._index, self.name, self.epochs, 1)

    def get_train(self, iepoch: int | None = None) -> Answers:
        """Keys ``iepoch, loss, accuracy, cur_time, all_time``; ``iepoch`` counts from 0, None is the last epoch."""
        return self._metrics("train", iepoch)

    def get_eval(self, name: str, iepoch: int | None = None) -> Answers:
        """As `get_train`, on an evaluation set: ``x-valid``, ``x-test``, ``ori-test``."""
        return self._metrics(_part(self.name, name), iepoch)

    def _metrics(self, part: str, iepoch: int | None) -> Answers:
        epoch = self._source.epoch(iepoch, self.epochs)
        return metrics(self._source, self._index, self.name, part, self.epochs, epoch, self._key, strict=False)

    def get_config(self, str2structure: Any = None) -> dict[str, Any]:
        """What a network is built from; ``str2structure`` turns the cell's string into ``genotype``."""
        config = self.arch_config
        if str2structure is not None:
            config["genotype"] = str2structure(config.get("genotype") or config.pop("arch_str"))
        return config

    def get_net_param(self, clone: bool = False) -> Any:
        raise no_weights()

    def __repr__(self) -> str:
        arch = self._source.space.string(self._index)
        return (
            f"ResultsCount({self.name}, arch={arch}, FLOP={self.flop:.2f}M, Param={self.params:.3f}MB, "
            f"seed={self.seed}, {len(self.eval_names)} eval-sets: [{', '.join(self.eval_names)}])"
        )


class ArchResults:
    """All trials of one architecture in training runs of one length."""

    clear_net_done = True

    def __init__(self, source: Backing, index: int, schedule: int) -> None:
        self._source, self._schedule = source, schedule
        self.arch_index = index
        self.arch_str = source.space.string(index)

    @property
    def dataset_seed(self) -> dict[str, list[Seed]]:
        """Trials by data set, those data sets alone that the table has."""
        trials = {dataset: list(self._source.trials(self.arch_index, dataset, self._schedule)) for dataset in SETS}
        return {dataset: seeds for dataset, seeds in trials.items() if seeds}

    @property
    def all_results(self) -> dict[tuple[str, Seed], ResultsCount]:
        """Every trial by data set and seed."""
        return {(dataset, seed): self._trial(dataset, seed) for dataset, s in self.dataset_seed.items() for seed in s}

    def _trial(self, dataset: str, seed: Seed) -> ResultsCount:
        return ResultsCount(self._source, self.arch_index, dataset, self._schedule, seed)

    def get_dataset_names(self) -> list[str]:
        return list(self.dataset_seed)

    def get_dataset_seeds(self, dataset: str) -> list[Seed]:
        """Seeds of the trials, ascending. Raises `NotInTableError` where the table has none."""
        return list(trials_of(self._source, self.arch_index, dataset, self._schedule))

    def query(self, dataset: str, seed: Seed | None = None) -> Any:
        """All trials on ``dataset`` by seed, or the one of ``seed``."""
        seeds = self.get_dataset_seeds(dataset)
        if seed is None:
            return {one: self._trial(dataset, one) for one in seeds}
        return self._trial(dataset, _checked_seed(seed, seeds))

    def get_metrics(self, dataset: str, setname: str, iepoch: int | None = None, is_random: Any = False) -> Answers:
        """Loss, accuracy and times on ``train``, ``x-valid``, ``x-test`` or ``ori-test``.

        ``is_random``: True draws a trial, False averages, an integer names the seed.
        """
        seeds = self.get_dataset_seeds(dataset)
        if is_random is True:
            is_random, strict = seeds[random.randint(0, len(seeds) - 1)], False
        else:
            strict = is_random is not False
        seed = _checked_seed(is_random, seeds) if is_random is not False else None
        part = _part(dataset, setname)
        epoch = self._source.epoch(iepoch, self._schedule)
        return metrics(self._source, self.arch_index, dataset, part, self._schedule, epoch, seed, strict)

    def get_compute_costs(self, dataset: str) -> Answers:
        """``flops`` and ``params`` in millions, computed; ``latency`` in seconds per batch of 256, None where unknown;
        seconds of training and of every evaluation set, as `ResultsCount.get_times`.
        """
        return costs(self._source, self.arch_index, dataset, self._schedule)

    get_comput_costs = get_compute_costs  # as its first versions had it

    def get_latency(self, dataset: str) -> float:
        latency: float | None = self.get_compute_costs(dataset)["latency"]
        if latency is None:
            raise self._source.missing(self.arch_index, f"latency on {dataset}", dataset, "latency_s", None)
        return latency

    def get_total_epoch(self, dataset: str | None = None) -> int:
        return self._schedule

    def get_net_param(self, dataset: str, seed: Seed | None = None) -> Any:
        raise no_weights()

    def arch_idx_str(self) -> str:
        return f"{self.arch_index:06d}"

    def clear_params(self) -> None:
        """Nothing to clear: there are no weights."""

    def __repr__(self) -> str:
        runs = sum(map(len, self.dataset_seed.values()))
        return f"ArchResults(arch-index={self.arch_index}, arch={self.arch_str}, {runs} runs, clear=True)"


def trials_of(source: Backing, index: int, dataset: str, schedule: int) -> tuple[Seed, ...]:
    """The trials of an architecture. Raises `NotInTableError` where the table has none."""
    source.sets(dataset)
    seeds = source.trials(index, dataset, schedule)
    if not seeds:
        what = f"{schedule}-epoch run on {dataset}"
        part = next(iter(SETS[dataset].values()))
        raise source.missing(index, what, dataset, f"{part}_acc", schedule)
    return seeds


def costs(source: Backing, index: int, dataset: str, schedule: int) -> Answers:
    """See `ArchResults.get_compute_costs`."""
    source.sets(dataset)
    count = len(source.trials(index, dataset, schedule)) or 1
    found = times(source, index, dataset, schedule, count)
    known = {
        "flops": float(source.space.flops(index, dataset)),
        "params": float(source.space.params(index, dataset)),
        "latency": source.latency(index, dataset, schedule),
    }
    ordered = Answers(known | found)
    ordered.lacking = found.lacking
    return ordered


def times(source: Backing, index: int, dataset: str, schedule: int, count: int) -> Answers:
    """Seconds of an epoch and of all of them, of training and every evaluation set; means over ``count`` trials."""
    found = Answers()
    for name, part in (("train", "train"), *SETS[dataset].items()):
        seconds = source.seconds(index, dataset, f"{part}_s")
        keys = f"T-{name}@epoch", f"T-{name}@total"
        if seconds is None:
            what = f"seconds of {name} on {dataset}"
            error = partial(source.missing, index, what, dataset, f"{part}_s", None)
            found.lacking |= dict.fromkeys(keys, error)
            continue
        every = total(seconds, schedule)
        found |= {keys[0]: mean([every / schedule] * count), keys[1]: mean([every] * count)}
    return found


def net_config(source: Backing, index: int, dataset: str) -> dict[str, Any]:
    """What a network is built from, as the records of the space hold it."""
    source.sets(dataset)
    arch, classes = source.space.string(index), DATASETS[dataset][0]
    if source.space.ordinal:  # widths
        return {"name": "infer.shape.tiny", "channels": arch, "genotype": SSS_CELL, "num_classes": classes}
    return {"name": "infer.tiny", "C": 16, "N": 5, "arch_str": arch, "num_classes": classes}


def no_weights() -> NotInTableError:
    """The error for trained weights."""
    return NotInTableError("no table has trained weights; NATS-Bench's full archives have, and nats_bench reads them")


def _part(dataset: str, name: str) -> str:
    sets = {"train": "train"} | SETS[dataset]
    name = SHORT.get(name, name)
    if name not in sets:
        raise KeyError(f"{dataset} has no set {name!r}, but {', '.join(sets)}")
    return sets[name]


def _checked_seed(seed: Any, seeds: list[Seed]) -> Seed:
    found = seed if isinstance(seed, (int, str)) else seed.__index__() if hasattr(seed, "__index__") else None
    if found is None or found not in seeds:
        raise UsageError(f"no trial of seed {seed!r}; there are {', '.join(map(str, seeds))}")
    return found
