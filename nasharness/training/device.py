"""Which device computes, in which precision, and what to say when its memory is too small."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import torch

from nasharness.errors import DataError, UsageError, unknown

#: ``auto`` is bf16 on a GPU (its range is float32's: no loss scaling, nothing to tune) and fp32 elsewhere
PRECISIONS = ("auto", "fp32", "bf16")
#: of what can scale its loss, too: fp16, which is what cards before Ampere are fast in
SCALED = (*PRECISIONS, "fp16")
#: how libraries on a GPU say that there is no memory left for them
_NO_MEMORY = ("CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED", "MPS backend out of memory")


def choose(name: str | None = None) -> torch.device:
    """Return the device of that name: ``auto`` (as None: a GPU where there is one), ``cpu``, ``cuda[:n]``, ``mps``.

    Raises:
        UsageError: the name is unknown, or this machine has no such device.
    """
    wanted = (name or "auto").lower()
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto":
        if gpus:
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if wanted == "cpu":
        return torch.device("cpu")
    if wanted == "mps":
        if not torch.backends.mps.is_available():
            raise UsageError("--device mps: this machine has no Metal GPU; use --device cpu")
        return torch.device("mps")
    match = re.fullmatch(r"cuda(?::(\d+))?", wanted)
    if match is None:
        raise unknown("device", name, ("auto", "cpu", "cuda", "cuda:0", "mps"))
    if not gpus:
        reason = "this build of torch has no CUDA" if torch.version.cuda is None else "torch finds no NVIDIA GPU"
        raise UsageError(f"--device {wanted}: {reason}; use --device cpu")
    number = int(match[1]) if match[1] else torch.cuda.current_device()
    if number >= gpus:
        raise UsageError(f"--device {wanted}: this machine has {gpus} GPU(s), cuda:0 to cuda:{gpus - 1}")
    return torch.device("cuda", number)


def dtype_of(device: torch.device, precision: str = "auto", *, scaled: bool = False) -> torch.dtype:
    """Return the dtype that matrix products and convolutions are computed in.

    ``scaled``: whether the caller scales its loss, which small gradients need in fp16; then ``auto`` is fp16 on cards
    that have no bf16 of their own.

    Raises:
        UsageError: the precision is unknown, or needs a scaled loss.
    """
    known = SCALED if scaled else PRECISIONS
    if precision not in known:
        raise unknown("precision", precision, known)
    if precision == "auto":
        old = scaled and device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0)
        precision = "fp32" if device.type != "cuda" else "fp16" if old else "bf16"
    return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision]


def autocast(
    device: torch.device, precision: str = "auto", *, scaled: bool = False
) -> contextlib.AbstractContextManager[object]:
    """Return a context in which eligible operations run in ``precision``, as `dtype_of` says.

    Weights, gradients and optimiser state stay float32.

    Raises:
        UsageError: as `dtype_of`.
    """
    dtype = dtype_of(device, precision, scaled=scaled)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not torch.float32)


@contextlib.contextmanager
def guarded(what_to_lower: str) -> Iterator[None]:
    """Turn running out of memory inside the block into one line that says ``what_to_lower`` (``"--batch"``).

    Raises:
        DataError: the device has too little memory.
        UsageError: torch.compile cannot work on this machine (no C++ compiler, say).
    """
    try:
        yield
    except RuntimeError as error:
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise UsageError(
                f"torch.compile fails here ({str(error).splitlines()[0]:.160}); leave --compile out"
            ) from error
        if "DefaultCPUAllocator" in str(error):  # torch has no class of its own for it
            raise DataError(f"this machine has too little memory; lower {what_to_lower}") from error
        if not isinstance(error, torch.OutOfMemoryError) and not any(sign in str(error) for sign in _NO_MEMORY):
            raise
        have = ""
        if torch.cuda.is_available():
            free, total = torch.cuda.mem_get_info()
            have = f" ({total / 2**30:.1f} GiB in all, {free / 2**30:.1f} GiB free now)"
        raise DataError(f"the GPU has too little memory{have}; lower {what_to_lower}") from error


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given: what a clock must do before it is read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def memory(device: torch.device) -> int:
    """Return the most bytes that tensors on the device have taken so far; on a CPU, the process's peak memory."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if device.type == "mps":
        return int(torch.mps.driver_allocated_memory())
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes on Linux
