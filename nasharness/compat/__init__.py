"""Old scripts on our tables: stand-ins for the packages ``nats_bench`` and ``nas_201_api``.

``nasharness exec SCRIPT ARGS...`` runs a script as Python would, except that ``import nats_bench`` and
``import nas_201_api`` give the modules of this package. Nothing is installed or patched; a copy of either package
beside the script does not win over the stand-in, and no archive is unpickled. In a program of one's own::

    from nasharness.compat import nats_bench

    api = nats_bench.create(None, "tss", fast_mode=True, verbose=False)
    accuracy, latency, cost, clock = api.simulate_train_eval(9930, "cifar100", hp="12")

**Which table answers.** The best one here (official, light, embedded), or ``--table NAME``. The path that a script
gives is not looked at. The table is named once on standard error, with a reminder: unlike in
`nasharness.search.Problem`, nothing keeps the script from searching on test columns.

**What is the same** as in ``nats_bench`` 1.8, on the official table: every loss, accuracy, time and cost, by key, seed
and epoch; the defaults, even where they surprise (``hp`` is 12; an unknown string has index -1; on tss, CIFAR-100 and
ImageNet16-120 fall back to validation *and* test images in the middle of a 200-epoch run); and the draws: one
``random.choice`` of Python's global generator a call with ``is_random=True``, so a seeded script replays bit for bit.

**What differs.** Parameters and multiply-accumulates are computed: some published records carry wrong ones (NATS-Bench
issue 36). Integers of numpy are accepted as indices. ``verbose`` prints nothing. There are no trained weights.
``nas_201_api``: ``query_by_index`` means the 200-epoch run unless told otherwise, as in its versions 1.x, for which the
scripts that read single trials were written; its other defaults are those of version 2.

**What a table lacks** raises `NotInTableError`, which names the table that has it and the command that brings it. A
table of means has one trial a network, called ``"mean"``, and a column of means answers for every trial drawn. The
embedded table does not charge validation. Latencies that a tss table lacks are the embedded table's.

Processes that a script starts afresh (``multiprocessing`` by *spawn*) do not inherit the stand-ins; forked ones do.
"""

from __future__ import annotations

import importlib
import sys

from nasharness.compat.source import NotInTableError, choose

__all__ = ["NotInTableError", "install"]

#: name that scripts import -> module of this package
MODULES = {
    "nats_bench": "nats_bench",
    "nats_bench.api_utils": "api_utils",
    "nats_bench.api_topology": "nats_bench",
    "nats_bench.api_size": "nats_bench",
    "nas_201_api": "nas_201_api",
    "nas_201_api.api_201": "nas_201_api",
    "nas_201_api.api_utils": "api_utils",
}


def install(table: str | None = None) -> None:
    """Put the stand-ins into ``sys.modules``, answering from ``table``, by default the best one here.

    Raises UsageError or DataError where no space of NATS-Bench has a table of this name here.
    """
    choose(table)
    for name, module in MODULES.items():
        sys.modules[name] = importlib.import_module(f"nasharness.compat.{module}")
