"""Channel-Bench-Macro, ResNet form: 16,384 networks on CIFAR-10, test accuracy of three trainings each.

Repository xiusu/Channel-Bench-Macro, commit 4ff596e, ``Results_ResNet.json`` (SHA-256 below), no licence file, so
nothing of it is shipped: an entry an architecture with ``acc`` (three numbers, percent), ``params`` and ``flops``. Also
read: a Parquet or CSV file with the columns ``code, test_acc_run0, test_acc_run1, test_acc_run2``, and ``params``,
``flops_m`` if there are. Parameters and FLOPs must equal the closed forms of the space. What a search sees: see
``nbmacro``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nasharness.tables.importers.nbmacro import ONE_TRIAL, import_trials
from nasharness.tables.importers.published import Published
from nasharness.tables.table import Table


def _read(files: Sequence[Path], name: str, force: bool, record: Published) -> Table:
    return import_trials(
        files, name, force, record, key="acc", trials=ONE_TRIAL, arch="code", table="test_acc_run"
    )  # fmt: skip


RECORD = Published(
    name="channel",
    space="channel-resnet",
    table="channel",
    columns=(
        frozenset({"code", "test_acc_run0", "test_acc_run1"}),
        frozenset({"acc", "mean", "std", "params", "flops"}),
    ),
    reader=_read,
    repository="xiusu/Channel-Bench-Macro",
    commit="4ff596e814cc88cc9add77ff83fc1a2f05ee1fef",
    licence="none stated",
    citation=(
        "X. Su, S. You, F. Wang, C. Qian, C. Zhang, C. Xu: BCNet: Searching for Network Width with Bilaterally Coupled "
        "Network, CVPR 2021, arXiv:2105.10533"
    ),
    files={"Results_ResNet.json": "bf13bcaea3f2076f2c1bfbf5c2fee044aafe0385fae6a0d64c433b1d7f5a7520"},
)
