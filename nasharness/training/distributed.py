"""Many processes, one a GPU, started by ``torchrun``: who am I, sum over all, and what to say when one is lost."""

from __future__ import annotations

import contextlib
import os
import signal
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn

from nasharness.errors import DataError, UsageError

#: What the collectives' libraries say when a peer has gone, in lower case.
_LOST = ("connection", "closed by peer", "broken pipe", "timed out", "timeout", "remote process", "socket", "nccl")


@dataclass(frozen=True)
class World:
    """The processes of a run. ``control``: a group on the CPU, so that agreeing on a step never waits for the GPU."""

    rank: int
    size: int
    device: torch.device
    control: distributed.ProcessGroup | None = None

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of a small CPU tensor over all processes."""
        if self.size > 1:
            values = values.clone()
            distributed.all_reduce(values, group=self.control)
        return values

    def largest(self, value: int) -> int:
        """Return the largest of a number over all processes."""
        if self.size == 1:
            return value
        held = torch.tensor([value], dtype=torch.int64)
        distributed.all_reduce(held, distributed.ReduceOp.MAX, group=self.control)
        return int(held.item())

    def gather(self, value: Any) -> list[Any]:
        """Return every process's plain value, in the order of their ranks."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value, group=self.control)
        return values

    def share(self, buffers: Iterable[Tensor]) -> None:
        """Give every process the mean of all processes' tensors: batch norm's statistics."""
        if self.size > 1:
            for buffer in buffers:
                distributed.all_reduce(buffer)
                buffer.div_(self.size) if buffer.is_floating_point() else buffer.floor_divide_(self.size)


@contextlib.contextmanager
def join(device: str | None = None, *, timeout_seconds: float = 600) -> Iterator[World]:
    """Enter the group that ``torchrun``'s environment describes; alone where there is none.

    nccl between GPUs, gloo between CPUs. ``device``: as for :func:`nasharness.training.device.choose`; ``auto`` or
    ``cuda`` gives each process the GPU of its local rank.

    Raises:
        UsageError: the environment is incomplete, or there are more processes than GPUs on this machine.
        DataError: the others do not come within ``timeout_seconds``.
    """
    from nasharness.training.device import choose

    size = _number("WORLD_SIZE", 1)
    if size == 1:
        yield World(0, 1, choose(device))
        return
    rank, local = _number("RANK"), _number("LOCAL_RANK")
    if device in (None, "auto", "cuda") and torch.cuda.is_available():
        gpus = torch.cuda.device_count()
        if local >= gpus:
            raise UsageError(
                f"local rank {local}, but this machine has {gpus} GPU(s): torchrun --nproc-per-node {gpus}"
            )
        chosen = torch.device("cuda", local)
        torch.cuda.set_device(chosen)
    elif (device or "").lower().startswith("cuda:") and _number("LOCAL_WORLD_SIZE", 1) > 1:
        raise UsageError(f"--device {device} under torchrun: the processes would share it; give --device cuda")
    else:
        chosen = choose(device)
    limit = timedelta(seconds=timeout_seconds)
    try:
        distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=limit)
        control = distributed.new_group(backend="gloo", timeout=limit)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"process {rank} of {size}: the processes did not find each other ({reason})") from error
    try:
        yield World(rank, size, chosen, control)
    finally:
        with contextlib.suppress(RuntimeError):
            distributed.destroy_process_group()


@contextlib.contextmanager
def peers(world: World) -> Iterator[None]:
    """Turn what the collectives raise when another process has gone into one line; SIGTERM is ignored from then on.

    Raises:
        DataError: a peer was lost.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if world.size == 1 or not any(sign in text.lower() for sign in _LOST):
            raise
        # torchrun, too, sees that a process has gone, and tells the others to end: not before this one has said why
        with contextlib.suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise DataError(
            f"process {world.rank} of {world.size} stops: another process of the run was lost or does not answer "
            f"({text.splitlines()[0][:160]}); start all of them again with --resume"
        ) from error


def wrap(network: nn.Module, world: World, *, batch_norm: str) -> nn.Module:
    """Return the network as the processes train it together: gradients are averaged during the backward pass.

    ``batch_norm``: ``"local"``: statistics over what a process computes at once (as published); ``"sync"``: over what
    all do. Weights are made equal to the first process's.

    Raises:
        UsageError: ``batch_norm`` is neither.
    """
    if batch_norm not in ("sync", "local"):
        raise UsageError(f"--batch-norm {batch_norm}: expected local or sync")
    if world.size == 1:
        return network
    from nasharness.training.sync_batch_norm import convert

    if batch_norm == "sync":
        network = convert(network, world.device)
    devices = [world.device] if world.device.type == "cuda" else None
    # running statistics are shared before they are used (World.share), not at every step
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the argument's new name is not known to older versions
        return nn.parallel.DistributedDataParallel(network, device_ids=devices, broadcast_buffers=False)


def _number(name: str, default: int | None = None) -> int:
    text = os.environ.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.isdecimal():
        raise UsageError(
            f"{name} = {text!r} in the environment: expected what torchrun sets (torchrun -m nasharness ...)"
        )
    return int(text)
