"""``nasharness retrain``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from nasharness.cli.options import assignments as read_assignments
from nasharness.cli.terminal import Progress, need_torch, quiet_option, use_processors
from nasharness.errors import UsageError


class Place(click.Path):
    """A path, or a URL as it is."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Leave the two slashes of a URL alone."""
        return value if "://" in str(value) else super().convert(value, param, ctx)


@click.command("retrain")
@click.option("--winner", type=click.Path(path_type=Path), metavar="FILE", help="winner.json of nasharness run --out.")
@click.option("--candidate", metavar="LABEL|N", help="Which of the candidates in it (default: the first).")
@click.option(
    "--network",
    metavar="NAME",
    help="A known network in its place: shrinkcnn-a, spnasnet-100, shrinkrnn, awd-lstm, ...",
)
@click.option("--task", required=True, metavar="imagenet|ptb", help="Images of any classes, or any text.")
@click.option("--data", required=True, type=Place(path_type=Path), metavar="DIR|URL",
              help="Images: DIR/train/CLASS/*.jpg and DIR/val/CLASS/*.jpg, or tar shards there or at a URL. Text: "
                   "DIR/ptb.{train,valid,test}.txt or such a triple.")  # fmt: skip
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR",
              help="Folder for checkpoints, log.csv, retrained.json.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with the run in --out, if there is one; else begin.")
@click.option("--recipe", metavar="NAME",
              help="Images: shrinkcnn (default), darts, nats or single-path. "
                   "Text: shrinkrnn (default), awd-lstm (default of LSTMs) or small.")  # fmt: skip
@click.option("--epochs", type=int, metavar="N", help="Default: the recipe's; shorter warm-ups in proportion.")
@click.option("--batch", type=int, metavar="N", help="Of a step, over all processes. Default: the recipe's.")
@click.option("--lr", type=float,
              help="Images: for the recipe's own batch, scales with --batch. Text: as it is.")  # fmt: skip
@click.option(
    "--seed", type=int, default=0, show_default=True, metavar="N", help="Seed of weights, order and augmentation."
)
@click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:N]|mps", help="auto: a GPU if there is one."
)
@click.option("--precision", default="auto", show_default=True, metavar="auto|fp32|bf16|fp16|fp64",
              help="auto: bf16 on a GPU (images: fp16 with a scaled loss before Ampere; text: bf16 also on a CPU that "
                   "computes in it), fp32 elsewhere; fp64: images, for checks.")  # fmt: skip
@click.option("--compile", is_flag=True, help="torch.compile: minutes at the start, faster steps.")
@click.option(
    "--stop-after",
    type=int,
    metavar="N",
    help="End when N epochs in a row were no better on the validation part than the best before them.",
)
@click.option("--checkpoint-minutes", type=float, default=30.0, show_default=True, metavar="M",
              help="Longest time without a checkpoint; every epoch ends with one.")  # fmt: skip
@click.option(
    "--keep", type=int, default=3, show_default=True, metavar="N", help="Last checkpoints kept, beside the best."
)
@click.option("--track", multiple=True, metavar="NAME",
              help="Show the log on tensorboard, wandb or mlflow, too; may be given again.")  # fmt: skip
@click.option("--timeout", type=float, default=600.0, show_default=True, metavar="S",
              help="Under torchrun: seconds until another process counts as lost.")  # fmt: skip
@click.option("--size", type=int, default=224, show_default=True, metavar="N", help="Images: pixels a side.")
@click.option("--classes", type=int, metavar="N",
              help="Images: outputs; default: the data's; one more: class 0 is background.")  # fmt: skip
@click.option("--accumulate", type=int, metavar="N",
              help="Images: a device computes its share in N parts. Default: as --batch-norm needs.")  # fmt: skip
@click.option("--ema", type=float, metavar="D", help="Images: decay of the weights' moving average; 0: none.")
@click.option("--mixup", type=float, metavar="A", help="Images: Beta(A, A); 0: none.")
@click.option("--cutmix", type=float, metavar="A", help="Images: Beta(A, A) of CutMix; 0: none.")
@click.option("--rand-augment", metavar="N,M", help="Images: N operations of RandAugment of magnitude M; 0: none.")
@click.option("--erase", type=float, metavar="P", help="Images: probability of random erasing.")
@click.option("--batch-norm", default="local", show_default=True, metavar="local|sync",
              help="Images: statistics of the 128 of a published device (nats: 256), or of all.")  # fmt: skip
@click.option("--workers", type=int, default=4, show_default=True, metavar="N",
              help="Images: decoding processes beside each training process; 0: none.")  # fmt: skip
@click.option("--bad-images", default="skip", show_default=True, metavar="skip|fail",
              help="Images that cannot be read: count them, or stop.")  # fmt: skip
@click.option("--bad-limit", type=int, default=50, show_default=True, metavar="N", help="Skip at most so many.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A setting of the task's recipe.")
@click.option("--json", "as_json", is_flag=True, help="Print the record, retrained.json, alone.")
@quiet_option
def command(
    winner: Path | None,
    candidate: str | None,
    network: str | None,
    task: str,
    assignments: tuple[str, ...],
    as_json: bool,
    **given: Any,
) -> None:
    """Train a search's winner in full, on images or on text.

    Under torchrun (torchrun --nproc-per-node 8 -m nasharness retrain ...) processes share each batch. SIGTERM ends a
    run with a checkpoint and exit code 75: start the same command with --resume again.
    """
    if (winner is None) == (network is None):
        raise UsageError("give one of --winner winner.json and --network NAME")
    from nasharness import tasks
    from nasharness.search.winner import read_winner
    from nasharness.training.options import Options
    from nasharness.training.retrained import line

    chosen_task = tasks.get(task)
    context = click.get_current_context()
    chosen_task.check_options(
        name for name in given if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    )
    need_torch()
    train = chosen_task.function("train")
    if candidate is not None and winner is None:
        raise UsageError(f"--candidate {candidate}: of a --winner; a known network has none")
    chosen: str | Mapping[str, Any] = read_winner(winner, candidate) if winner is not None else str(network)
    options = Options(task=task, network=chosen, extra=read_assignments(assignments), **given)
    use_processors()
    with Progress(chosen_task.unit) as progress:
        record = train(options, progress)
    if not _first_process():
        return
    if as_json:
        click.echo(json.dumps(record, allow_nan=False))
        return
    click.echo(line(record))
    click.echo(f"written    {options.out / 'retrained.json'}; nasharness export {options.out} -o FILE takes it out")


def _first_process() -> bool:
    import os

    return os.environ.get("RANK", "0") == "0"
