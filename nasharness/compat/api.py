"""The API object of both packages, on a table."""

from __future__ import annotations

import operator
import random
import sys
from collections import Counter
from typing import Any, ClassVar

from nasharness.compat.results import (
    Answers,
    ArchResults,
    _checked_seed,
    costs,
    metrics,
    net_config,
    no_weights,
    trials_of,
)
from nasharness.compat.source import Seed, announced, total
from nasharness.errors import UsageError, unknown

#: prefix of the keys of ``get_more_info`` -> metric prefix of our columns, in the order of the answer
PARTS = {"train": "train", "valid": "val", "test": "test", "valtest": "valtest"}
#: data set that a search names -> the one that it trains on
SEARCHED = {"cifar10": "cifar10-valid", "cifar100": "cifar100", "ImageNet16-120": "ImageNet16-120"}


class Api:
    """What ``nats_bench.create`` returns. Methods are those of ``nats_bench`` 1.8; see `nasharness.compat`."""

    #: the comment that NATS-Bench gives with CIFAR-10's two training sets
    comments: ClassVar[dict[str, str]] = {
        "cifar10-valid": "train: half of CIFAR-10's training images; valid: the other half; test: its test images",
        "cifar10": "train: all of CIFAR-10's training images; test: its test images",
    }

    def __init__(self, space: str, fast_mode: bool = False, verbose: bool = True) -> None:
        self._source = announced(space)
        self.verbose, self.fast_mode = verbose, fast_mode
        self.filename = self.archive_dir = None
        self.meta_archs = list(self._source.space.strings())
        self.archstr2index = {arch: index for index, arch in enumerate(self.meta_archs)}
        self.evaluated_indexes = list(range(len(self.meta_archs)))
        self._simulated: dict[tuple[int, Any, Any, Any], tuple[tuple[float, ...], bool, float | None, float]] = {}
        self.reset_time()

    # ---- the space

    def __len__(self) -> int:
        return len(self.meta_archs)

    def __getitem__(self, index: int) -> str:
        return self.meta_archs[index]

    def __repr__(self) -> str:
        count = f"{len(self)}/{len(self)} architectures"
        table = self._source.table
        return f"{type(self).__name__}({count}, fast_mode={self.fast_mode}, file={table.space}/{table.name})"

    def arch(self, index: int) -> str:
        """The published string of an index."""
        return self.meta_archs[self._index(index)]

    def random(self) -> int:
        """An index drawn uniformly by Python's global generator."""
        return random.randint(0, len(self.meta_archs) - 1)

    def query_index_by_arch(self, arch: Any) -> int:
        """Index of a published string, of an object with ``tostr()``, or of an index; -1 for anything unknown.

        Raises UsageError, a ValueError, for an index outside the space.
        """
        if isinstance(arch, str):
            return self.archstr2index.get(arch, -1)
        if hasattr(arch, "__index__"):
            index = operator.index(arch)
            if 0 <= index < len(self.meta_archs):
                return index
            raise UsageError(f"architecture {arch} is outside {type(self).__name__}: 0 to {len(self) - 1}")
        return self.archstr2index.get(arch.tostr(), -1) if hasattr(arch, "tostr") else -1

    def _index(self, arch: Any) -> int:
        index = self.query_index_by_arch(arch)
        if index < 0:
            raise UsageError(f"no architecture of space {self._source.space.name}: {str(arch)[:120]!r}")
        return index

    @property
    def search_space_name(self) -> str:
        return {"tss": "topology", "sss": "size"}[self._source.space.name]

    @property
    def is_topology(self) -> bool:
        return not self.is_size

    @property
    def is_size(self) -> bool:
        return self._source.space.ordinal

    @property
    def avaliable_hps(self) -> list[str]:
        """Lengths of training, under the name (and spelling) that scripts know."""
        return list(self._source.schedules)

    @property
    def full_train_epochs(self) -> int:
        return max(self._source.schedules.values())

    full_epochs_in_paper = full_train_epochs

    # ---- the clock

    @property
    def used_time(self) -> float:
        """Simulated seconds that `simulate_train_eval` has charged."""
        return self._used_time

    def reset_time(self) -> None:
        self._used_time: float = 0

    # ---- results

    def simulate_train_eval(
        self, arch: Any, dataset: str, iepoch: int | None = None, hp: Any = "12", account_time: bool = True
    ) -> tuple[float, float | None, float, float]:
        """Train on ``cifar10``, ``cifar100`` or ``ImageNet16-120``: validation accuracy of a trial drawn at random,
        latency, seconds of training and one validation pass, and seconds charged so far.
        """
        key = self.query_index_by_arch(arch), dataset, iepoch, hp
        known = self._simulated.get(key)
        if known is None:
            known = self._simulated[key] = self._simulate(*key)
        values, twice, latency, cost = known
        accuracy = random.choice(values)
        if twice:  # nats_bench asks again, and draws again, for the seconds of a validation pass
            random.choice(values)
        if account_time:
            self._used_time += cost
        return accuracy, latency, cost, self._used_time

    def _simulate(
        self, index: int, dataset: Any, iepoch: Any, hp: Any
    ) -> tuple[tuple[float, ...], bool, float | None, float]:
        """Accuracy of every trial, whether they are of validation and test images together, latency, seconds."""
        if dataset not in SEARCHED:
            raise unknown("dataset", dataset, SEARCHED)
        source, trained, index = self._source, SEARCHED[dataset], self._index(index)
        schedule = source.schedule(hp)
        epoch = source.epoch(iepoch, schedule)
        seeds = trials_of(source, index, trained, schedule)
        valid = source.published(trained, "val", schedule, epoch)
        part = "val" if valid else "valtest"
        values = [
            metrics(source, index, trained, part, schedule, epoch, seed, strict=False)["accuracy"] for seed in seeds
        ]
        cost = metrics(source, index, trained, "train", schedule, epoch, seeds[0], strict=False)["all_time"]
        one_pass = source.seconds(index, trained, "val_s")
        if one_pass is not None:
            epochs = epoch if valid else schedule
            cost += total(one_pass, epochs) / epochs
        return tuple(values), not valid, source.latency(index, dataset, schedule), cost

    def get_more_info(
        self, index: Any, dataset: str, iepoch: int | None = None, hp: Any = "12", is_random: Any = True
    ) -> Answers:
        """``train-``, ``valid-``, ``test-`` and ``valtest-`` ``loss``, ``accuracy``, ``per-time`` and ``all-time``.

        ``iepoch``: from 0, None for the last. ``is_random``: True draws one trial for all of the answer, False
        averages over trials, an integer names the seed. A key that the table lacks raises when it is asked for.
        """
        source, index = self._source, self._index(index)
        schedule = source.schedule(hp)
        epoch = source.epoch(iepoch, schedule)
        seeds = trials_of(source, index, dataset, schedule)
        seed: Seed | None = None
        if is_random is True:
            seed = random.choice(seeds)
        elif is_random is not False:
            seed = _checked_seed(is_random, list(seeds))
        found = Answers()
        for prefix, part in PARTS.items():
            if not source.published(dataset, part, schedule, epoch):
                continue
            known = metrics(source, index, dataset, part, schedule, epoch, seed, strict=is_random is not True)
            for key in ("loss", "accuracy"):
                _move(known, key, found, f"{prefix}-{key}")
            _move(known, "all_time", found, f"{prefix}-per-time")
            _move(known, "all_time", found, f"{prefix}-all-time")
            if f"{prefix}-per-time" in found:
                found[f"{prefix}-per-time"] /= epoch
            if prefix == "train" and dataset in self.comments:
                found["comment"] = self.comments[dataset]
        return found

    def query_meta_info_by_index(self, arch_index: Any, hp: Any = "12") -> ArchResults:
        """All trials of one architecture in training runs of one length."""
        return ArchResults(self._source, self._index(arch_index), self._source.schedule(hp))

    def query_by_index(self, arch_index: Any, dataname: str | None = None, hp: Any = "12") -> Any:
        """`ArchResults`, or with ``dataname`` the trials on that data set by seed."""
        results = self.query_meta_info_by_index(arch_index, hp)
        return results if dataname is None else results.query(dataname)

    def get_net_config(self, index: Any, dataset: str) -> dict[str, Any]:
        """What the network of an index is built from."""
        return net_config(self._source, self._index(index), dataset)

    def get_cost_info(self, index: Any, dataset: str, hp: Any = "12") -> Answers:
        """``flops``, ``params`` (millions), ``latency`` (s), and seconds such as ``T-train@total``."""
        return costs(self._source, self._index(index), dataset, self._source.schedule(hp))

    def get_latency(self, index: Any, dataset: str, hp: Any = "12") -> float | None:
        """Seconds per batch of 256 images; None where no table here has it."""
        self._source.sets(dataset)
        return self._source.latency(self._index(index), dataset, self._source.schedule(hp))

    def find_best(
        self,
        dataset: str,
        metric_on_set: str,
        flop_max: float | None = None,
        param_max: float | None = None,
        hp: Any = "12",
        enforce_all: bool | None = None,
    ) -> tuple[int, float | None]:
        """Index and accuracy (mean over trials) of the best architecture within the limits, in millions.

        Architectures that the table has not measured are left out; (-1, None) where none is left.
        """
        dataset, setname = _remapped(dataset, metric_on_set)
        best: tuple[int, float | None] = -1, None
        space, schedule = self._source.space, self._source.schedule(hp)
        for index in self.evaluated_indexes:
            if flop_max is not None and space.flops(index, dataset) > flop_max:
                continue
            if param_max is not None and space.params(index, dataset) > param_max:
                continue
            if not self._source.trials(index, dataset, schedule):
                continue
            accuracy = self.query_meta_info_by_index(index, hp).get_metrics(dataset, setname)["accuracy"]
            if best[1] is None or accuracy > best[1]:
                best = index, accuracy
        return best

    # ---- for people

    def query_info_str_by_arch(self, arch: Any, hp: Any = "12") -> str:
        """What the table knows of an architecture, as text."""
        index, schedule = self._index(arch), self._source.schedule(hp)
        results = ArchResults(self._source, index, schedule)
        lines = [results.arch_str, f"datasets : {results.get_dataset_names()}, extra-info : arch-index={index}"]
        for dataset in results.get_dataset_names():
            cost = results.get_compute_costs(dataset)
            latency = "None" if cost["latency"] is None else f"{1000 * cost['latency']:.2f}"
            name = f"{dataset:14s}"
            lines.append(f"{name} FLOP={cost['flops']:6.2f} M, Params={cost['params']:.3f} MB, latency={latency} ms.")
            known = []
            for word, part in list(PARTS.items())[:3]:
                values = [
                    self._source.value(index, dataset, f"{part}_{metric}", schedule, schedule, None)
                    for metric in ("loss", "acc")
                ]
                labels = [
                    text.format(value)
                    for text, value in zip(("loss = {:.3f}", "top1 = {:.2f}%"), values, strict=True)
                    if value is not None
                ]
                known += [f"{word} : [{' & '.join(labels)}]"] if labels else []
            lines.append(f"{name} {', '.join(known)}")
        return "\n".join(lines)

    def query_by_arch(self, arch: Any, hp: Any = "12") -> str:
        """See `query_info_str_by_arch`."""
        return self.query_info_str_by_arch(arch, hp)

    def show(self, index: int = -1) -> None:
        """Write what is known of an architecture to standard output; of a negative index, what the API is."""
        texts = [repr(self)] if index < 0 else [self.query_info_str_by_arch(index, hp) for hp in self.avaliable_hps]
        sys.stdout.write("\n".join(texts) + "\n")

    def statistics(self, dataset: str, hp: Any) -> dict[int, int]:
        """Number of trials -> architectures that have so many."""
        schedule = self._source.schedule(hp)
        self._source.sets(dataset)
        return dict(Counter(len(self._source.trials(i, dataset, schedule)) for i in self.evaluated_indexes))

    @staticmethod
    def str2lists(arch_str: str) -> list[tuple[tuple[str, int], ...]]:
        """Cell string -> for each node, its (operation, source node) pairs."""
        nodes = [[slot.split("~") for slot in node.split("|") if slot] for node in arch_str.split("+")]
        return [tuple((op, int(source)) for op, source in node) for node in nodes]

    # ---- what only archives have

    def get_net_param(self, index: Any, dataset: str, seed: Any, hp: Any = "12") -> Any:
        raise no_weights()

    def clear_params(self, index: Any, hp: Any = None) -> None:
        """Nothing to clear: there are no weights."""

    def reload(self, archive_root: Any = None, index: Any = None) -> None:
        """Nothing to load: the table has every architecture already."""


def _move(known: Answers, key: str, found: Answers, name: str) -> None:
    if key in known:
        found[name] = known[key]
    else:
        found.lacking[name] = known.lacking[key]


def _remapped(dataset: str, setname: str) -> tuple[str, str]:
    """The data set and evaluation set that ``find_best`` means by ``valid`` and ``test``."""
    if setname == "valid":
        return SEARCHED.get(dataset, dataset), "x-valid"
    if setname == "test" and dataset in SEARCHED:
        return dataset, "ori-test" if dataset == "cifar10" else "x-test"
    return dataset, setname
