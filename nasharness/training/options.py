"""What a user asks of a full training run: the options of ``nasharness retrain``, for every task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nasharness.errors import UsageError


@dataclass(frozen=True)
class Options:
    """One training run as asked for. None means: as the recipe says.

    Attributes:
        task: ``imagenet`` or ``ptb``.
        network: a network's name, or a candidate of a ``winner.json``, as ``search.winner.read_winner`` returns it.
        data: folder of the data; of tar shards also a URL.
        out: folder of the run: checkpoints, log, record.
        recipe: name of a published recipe; None: the task's own.
        epochs, batch, lr: of the run; ``batch`` counts images (streams of text) a step over all processes.
        seed: of weights, order and augmentation.
        device, precision, compile: see :mod:`nasharness.training.device`.
        resume: go on from the last checkpoint in ``out``, if there is one.
        stop_after: end the run when so many epochs in a row were no better than the best before them.
        checkpoint_minutes: longest time without a checkpoint; ``keep``: how many of the last are kept.
        track: boards that show the log, too: ``tensorboard``, ``wandb``, ``mlflow``.
        timeout: seconds to wait for another process before it counts as lost.

    Images only:
        size: pixels a side.
        classes: outputs of the network; None: as many as the data have; one more: class 0 is background.
        accumulate: parts that a process's share of a step's batch is computed in.
        ema, mixup, cutmix, erase, rand_augment: replace the recipe's values.
        batch_norm: ``local`` or ``sync``, see :func:`nasharness.training.distributed.wrap`.
        workers: processes that decode.
        bad_images, bad_limit: see :class:`nasharness.training.imagenet.loader.BadImages`.

    ``extra``: settings of a single task (``KEY=VALUE``), checked by the task.
    """

    task: str
    network: str | Mapping[str, Any]
    data: Path | str
    out: Path
    recipe: str | None = None
    epochs: int | None = None
    batch: int | None = None
    lr: float | None = None
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    compile: bool = False
    resume: bool = False
    stop_after: int | None = None
    checkpoint_minutes: float = 30.0
    keep: int = 3
    track: tuple[str, ...] = ()
    timeout: float = 600.0
    size: int = 224
    classes: int | None = None
    accumulate: int | None = None
    ema: float | None = None
    mixup: float | None = None
    cutmix: float | None = None
    erase: float | None = None
    rand_augment: str | None = None
    batch_norm: str = "local"
    workers: int = 4
    bad_images: str = "skip"
    bad_limit: int = 50
    extra: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse numbers that no task can use."""
        for flag, value, least in (
            ("--epochs", self.epochs, 1),
            ("--batch", self.batch, 1),
            ("--stop-after", self.stop_after, 1),
            ("--accumulate", self.accumulate, 1),
            ("--workers", self.workers, 0),
            ("--size", self.size, 8),
            ("--classes", self.classes, 2),
            ("--keep", self.keep, 1),
            ("--seed", self.seed, 0),
        ):
            if value is not None and value < least:
                raise UsageError(f"{flag} {value}: expected at least {least}")
        if self.seed >= 2**63:
            raise UsageError(f"--seed {self.seed}: expected less than 2^63")
        if not self.checkpoint_minutes > 0:
            raise UsageError(f"--checkpoint-minutes {self.checkpoint_minutes}: expected a number above 0")
        if not 0 < self.timeout <= 1e6:
            raise UsageError(f"--timeout {self.timeout}: expected a number of seconds above 0, up to 1,000,000")

    @property
    def title(self) -> str:
        """What the network is called in a sentence."""
        return title(self.network)


def title(network: str | Mapping[str, Any]) -> str:
    """Return a short name of a network or of a winner."""
    if isinstance(network, str):
        return network
    winner = network.get("winner")
    name = winner.get("arch") if isinstance(winner, Mapping) else None
    return f"{network.get('space', '?')} {name}" if name else str(network.get("space", "?"))
