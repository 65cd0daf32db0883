"""The columns that a small public file may have, and what each of them measures.

Names follow ``{cifar10|cifar100|in16}_{val|test|train|xtest|valtest}_{12|200}[_s{seed}]``; in16 is ImageNet16-120.
``cifar10_val`` is of networks trained on half of the training set (data set ``cifar10-valid``), as are the
``cifar10_half_*`` columns; ``cifar10_test`` and ``cifar10_train`` are of networks trained on all of it (``cifar10``).
``{data set}_epoch_s`` are seconds of one training epoch on the full data. Without a seed, a value is a mean over seeds,
or of one run where ``ONE_RUN`` says so.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from nasharness.errors import DataError, nearest

DATASETS = {"cifar10": "cifar10", "cifar100": "cifar100", "in16": "ImageNet16-120"}
SPLITS = {"val": "val_acc", "test": "test_acc", "xtest": "test_acc", "valtest": "valtest_acc", "train": "train_acc"}
SECONDS = tuple(f"{short}_epoch_s" for short in DATASETS)
#: columns without a seed that are no mean: the published training accuracy is of one run, its seed not stated. On the
#: official records of indices 0, 11 and 284 it is that of seed 777, 888 and 777
ONE_RUN = {"cifar10_train_200": "trial0"}

_MEASURED = re.compile(
    r"(?P<data>cifar10_half|cifar100|cifar10|in16)_(?P<split>xtest|valtest|val|test|train)_(?P<epochs>12|200)"
    r"(_s(?P<seed>\d{1,4}))?"
)
#: columns that are no measurement of this table: zero-cost scores, hardware, robustness, and what spaces compute
_IGNORED = re.compile(
    r"iso_index|params_m|flops_m|uniquestring|edgetpu_supported|esp_.*|analog_.*_acc|ninapro_acc|.*_(lat_ms|energy_mj)"
    r"|((cifar10|cifar100|in16)_)?(naswot|nwot|nwot_v1|log10_synflow|logsynflow|synflow|nregions|zen|grasp|fisher"
    r"|grad_norm|l2_norm|plain|epe_nas|jacov|snip|flops|params)(_time_s)?",
    re.IGNORECASE,
)
#: names shown beside an unknown one
EXAMPLES = (
    "index",
    "arch",
    *(
        f"{short}_{split}_{epochs}{seed}"
        for short in (*DATASETS, "cifar10_half")
        for split in SPLITS
        for epochs in (12, 200)
        for seed in ("", "_s777", "_s888", "_s999")
        if not (short == "cifar10_half" and split != "test")
        and not (short == "cifar10" and split in ("xtest", "valtest"))
    ),
    *SECONDS,
)


class Measured(NamedTuple):
    """What a column measures."""

    dataset: str
    metric: str
    schedule: int
    seed: str


def parse(name: str) -> Measured | None:
    """Return what column ``name`` measures, None if the name follows no accepted pattern."""
    match = _MEASURED.fullmatch(name)
    if match is None:
        return None
    data, split, epochs = match["data"], match["split"], int(match["epochs"])
    if data.startswith("cifar10") and data != "cifar100":
        if split in ("xtest", "valtest") or (data == "cifar10_half" and split == "val"):
            return None
        dataset = "cifar10-valid" if data == "cifar10_half" or split == "val" else "cifar10"
    else:
        dataset = DATASETS[data]
    return Measured(dataset, SPLITS[split], epochs, match["seed"] or ONE_RUN.get(name, "mean"))


def kind(name: str, what: str) -> str:
    """Say what to do with column ``name`` of file ``what``: ``key``, ``measured``, ``seconds`` or ``ignored``.

    Raises DataError naming the nearest accepted columns for any other name.
    """
    if name in ("index", "arch"):
        return "key"
    if name in SECONDS:
        return "seconds"
    if parse(name) is not None:
        return "measured"
    if _IGNORED.fullmatch(name):
        return "ignored"
    raise DataError(
        f"{what}: unknown column {name!r}; nearest accepted: {', '.join(nearest(name, EXAMPLES))} "
        "(pattern: {cifar10|cifar100|in16}_{val|test|train}_{12|200}[_sSEED])"
    )
