"""``nasharness validate``: several questions, each with options of its own."""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import click

from nasharness.cli.completion import Names
from nasharness.cli.options import ModalCommand, given, option, refuse
from nasharness.cli.terminal import quiet_option
from nasharness.errors import UsageError

ALGO, PAPER, TABLE, SCORES, SUPERNET, HARDWARE = "algo", "paper", "table", "scores", "supernet", "hardware"
#: what is asked, named as the option that asks it -> the function that answers, with its module
MODES = {
    ALGO: ("validate_algorithms", "compare_algorithms"),
    PAPER: ("validate_checks", "check_paper"),
    SCORES: ("validate_checks", "rank_scores"),
    SUPERNET: ("validate_supernet", "assess_supernet"),
    HARDWARE: ("validate_hardware", "check_devices"),
    TABLE: ("validate_checks", "check_one_table"),
}

of_algo, of_paper = partial(option, modes=ALGO), partial(option, modes=PAPER)
of_scores, of_supernet = partial(option, modes=SCORES), partial(option, modes=SUPERNET)


class Validate(ModalCommand):
    """One question at a time."""

    headings: ClassVar[dict[str, str]] = {
        ALGO: "Is a change better",
        PAPER: "Are algorithms as published",
        SCORES: "How well a proxy ranks",
        SUPERNET: "How well shared weights rank",
    }


@click.command("validate", cls=Validate)
@of_algo("--algo", type=Names("algos"), metavar="NEW", help="Algorithm to validate: NAME or NAME(KEY=VALUE, ...).")
@of_algo("--against", type=Names("algos"), metavar="OLD|FILE", help="Algorithm or recorded baseline to compare with.")
@click.option("--space", type=Names("spaces"), metavar="NAME", help="Search space (default tss).")
@click.option(
    "--dataset",
    "datasets",
    type=Names("datasets"),
    metavar="NAME,...|all",
    help="Data sets (default the space's first).",
)
@of_algo("--evaluations", metavar="N,...", help="Budgets in evaluations (default 200).")
@of_algo("--seconds", type=float, metavar="T", help="Budget in simulated seconds instead.")
@of_algo("--budget", metavar="nats|nb201", help="Budget of a paper instead.")
@click.option("--signal", metavar="MEASURE", help="What the searches see: val@12 ... (default: as the table says).")
@click.option(
    "--final",
    metavar="MEASURE",
    help="What results, or a proxy's ranking, are scored by: test@200 ... (default: as the table says).",
)
@of_algo("--repeats", metavar="charged|free", help="Cost of repeats (default charged, or the baseline's).")
@click.option(
    "--runs",
    type=click.IntRange(1),
    metavar="N",
    help="Runs at most (default 500; 50 a realisation; or the baseline's).",
)
@click.option("--seed", type=click.IntRange(0), metavar="S", help="First seed (default 0, or the baseline's).")
@of_algo("--against-seed", type=click.IntRange(0), metavar="S",
              help="OLD's first seed (default: the same, so runs are pairs).")  # fmt: skip
@of_algo("--objective", "objectives", type=Names("objectives"), multiple=True, metavar="NAME",
         help="What is wanted besides: error, params, macs, a device's latency ...; repeatable.")  # fmt: skip
@of_algo("--limit", "limits", multiple=True, metavar="'NAME <= X'",
         help="What an answer must keep, as in 'params <= 1.2'; repeatable.")  # fmt: skip
@of_algo("--start", metavar="START",
         help="The first architectures of both: own (the default), dense, random[:N], space-filling[:N], "
              "scores:FILE[@COLUMN][:N], FILE.")  # fmt: skip
@of_algo("--realisations", metavar="all|N|M,...",
         help="Realisations of the signal's noise: all trials, N draws, or named ones (default: one).")  # fmt: skip
@of_algo("--stage", "stages", multiple=True, metavar="MEASURE",
         help="A cheaper measurement that may be asked first: cifar10/val@200 ...; repeatable, in order.")  # fmt: skip
@of_algo("--environments", metavar="MEASURE,...",
         help="Measurements that every evaluation shows, in place of signal and objectives.")  # fmt: skip
@of_algo("--target", metavar="MEASURE", help="The environment that results are scored by.")
@of_algo("--score", default="recommended", show_default=True, metavar="recommended|final|hypervolume",
         help="The algorithm's own answer, the incumbent, or the front of several objectives.")  # fmt: skip
@of_algo("--alpha", default=0.02, show_default=True, help="Chance of any false better or worse.")
@of_algo("--require", metavar="better", help="Exit with 1 unless NEW is better.")
@of_algo("--record", type=click.Path(path_type=Path), metavar="FILE", help="Write NEW's scores as a baseline.")
@of_paper("--paper", metavar="nats-bench", help="Hold the registered algorithms against the published tables.")
@click.option("--table", is_flag=False, flag_value="", metavar="[NAME]",
              help="Without --algo, --paper, --scores, --supernet: check this table. With them: use it.")  # fmt: skip
@of_scores("--scores", type=click.Path(path_type=Path), metavar="FILE", help="Rank quality of the proxy in FILE.")
@of_scores("--column", "columns", multiple=True, metavar="NAME", help="Score column of FILE; may be repeated.")
@of_scores("--k", "ks", metavar="K,...", help="ks of precision@k and regret@k (default 1,10,100).")
@of_scores("--lower-is-better", is_flag=True, help="Smaller scores are better (default: larger ones).")
@of_supernet("--supernet", type=click.Path(path_type=Path), metavar="PATH",
              help="Rank quality of the shared weights in a checkpoint or a run's folder.")  # fmt: skip
@of_supernet("--sample", type=click.IntRange(3), metavar="N", help="Architectures ranked (default 500).")
@of_supernet("--all", "all_", is_flag=True, help="Rank every architecture.")
@of_supernet("--on", "part", default="test", show_default=True, metavar="test|validation",
              help="The images, neither of which trained weights.")  # fmt: skip
@of_supernet("--score-images", type=click.IntRange(1), metavar="N",
              help="Images that score an architecture (default 1,000).")  # fmt: skip
@of_supernet("--batch", type=click.IntRange(2), metavar="N", help="Images in a batch (default 500).")
@of_supernet("--images", metavar="NAME|PATH", help="Other images than those of the run.")
@of_supernet(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the images' files (default: where they were in the run).",
)
@of_supernet("--split-file", type=click.Path(path_type=Path), metavar="FILE", help="Their published split.")
@of_supernet("--device", metavar="NAME", help="cpu, cuda, cuda:1, mps (default: a GPU if there is one).")
@of_supernet(
    "--curve/--no-curve", default=True, help="Kendall's tau by epoch too, where weights were kept (default: yes)."
)
@option("--figure", type=click.Path(path_type=Path), metavar="FILE", modes=(SUPERNET, HARDWARE),
        help="Of --supernet and --hardware: draw it, FILE.png, FILE.pdf, FILE.csv.")  # fmt: skip
@of_supernet("--save-scores", type=click.Path(path_type=Path), metavar="FILE.csv",
              help="Write what --scores reads.")  # fmt: skip
@click.option("--hardware", is_flag=True, default=None,
              help="What HW-NAS-Bench says of devices, from the data at hand.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@quiet_option
def command(**options: Any) -> int:
    """Find out whether a change is better, whether algorithms and tables are as published, how well a proxy ranks.

    \b
    nasharness validate --algo NEW --against OLD --space tss --dataset cifar10,cifar100 --evaluations 50,100
    nasharness validate --algo NEW --against OLD --objective params --score hypervolume
    nasharness validate --algo NEW --record baseline.json     later: --against baseline.json
    nasharness validate --paper nats-bench
    nasharness validate --table light
    nasharness validate --scores proxy.csv
    nasharness validate --supernet results/rsps --space tss --figure results/rsps/ranking
    nasharness validate --hardware

    Exit code: 0; 1 when NEW is worse anywhere, or with --require better when it is not better, or when a check fails.
    """  # noqa: D301 - click reads the escape
    asked = [mode for mode in MODES if mode != TABLE and options[mode] is not None]
    if len(asked) > 1:
        raise UsageError(f"{' and '.join('--' + mode for mode in asked)} ask for different things; give one of them")
    if not asked and options[TABLE] is None:
        raise UsageError(
            "nothing to validate; give --algo NEW --against OLD, --paper nats-bench, --table [NAME], --scores FILE, "
            "--supernet PATH or --hardware"
        )
    mode = asked[0] if asked else TABLE
    for other in MODES:
        if other != mode:
            refuse(given(click.get_current_context(), other), f"not for --{mode}, but for --{other}")
    if options["figure"] is not None and mode not in (SUPERNET, HARDWARE):
        raise UsageError(f"--figure: not for --{mode}, but for --supernet and --hardware")
    module, function = MODES[mode]
    answer: int = getattr(importlib.import_module(f"nasharness.cli.{module}"), function)(options)
    return answer
