"""Checkpoints: written whole or not at all, verified when they are read, the last few and the best kept."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from nasharness.errors import DataError, NasharnessError, UsageError
from nasharness.runs import codec
from nasharness.runs.job import Job
from nasharness.storage import atomically, reason, sweep


class _Record(msgspec.Struct, forbid_unknown_fields=True):
    kind: str
    identity: dict[str, Any]
    threads: int
    state: dict[str, Any]


def save(path: Path | str, state: Mapping[str, Any], *, kind: str, identity: Mapping[str, Any]) -> Path:
    """Write ``state`` to ``path``: to a temporary name, flushed to the disk, then renamed.

    A reader sees the old file or the new one, whole; a full disk or a killed process leaves the old one.

    Args:
        path: the file; its folder is made.
        state: tensors, numbers, strings, None, and dicts, lists and tuples of these.
        kind: what the file is for (``"retrain"``); :func:`load` refuses another kind.
        identity: what must be equal for the state to be of use (network, data, ...): values that JSON holds.

    Raises:
        DataError: the file cannot be written; what was there before is untouched.
        UsageError: the state holds something else.
    """
    path = Path(path)
    threads = torch.get_num_threads()
    record = {"kind": kind, "identity": _plain(identity), "threads": threads, "state": dict(state)}
    try:
        atomically(path, lambda temporary: codec.write(temporary, record))
    except OSError as error:
        kept = "; the one written before it is whole" if path.exists() else ""
        raise DataError(f"cannot write checkpoint {path}: {reason(error)}{kept}; free some space and resume") from error
    return path


def load(
    path: Path | str,
    *,
    kind: str,
    identity: Mapping[str, Any] | None = None,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Read the state that :func:`save` wrote, after comparing its content with the SHA-256 it was written with.

    Args:
        path: the checkpoint.
        kind: what it must be.
        identity: what it must have been written with; None accepts any. Whoever gives one goes on with the run, and
            is warned where another number of threads may change bits on a CPU.
        device: where the tensors go.

    Raises:
        DataError: the file is absent, cannot be read, is damaged, or holds something else.
        UsageError: it was written with another identity; the message names what differs.
    """
    record = _read(Path(path), kind)
    if identity is not None:
        different = _differences(record.identity, _plain(identity))
        if different:
            raise UsageError(
                f"{path} belongs to another run; different: {', '.join(different)}; "
                "give the settings it was started with, or another --out"
            )
    if torch.device(device).type == "cpu":
        threads = torch.get_num_threads()
        if identity is not None and record.threads != threads:
            warnings.warn(
                f"{path} was written with {record.threads} threads and is resumed with {threads}: a CPU splits its "
                "sums by thread, so the bits of what follows may differ from those of a run that was never "
                f"interrupted (OMP_NUM_THREADS={record.threads} keeps them)",
                stacklevel=2,
            )
        return record.state
    moved: dict[str, Any] = _to(record.state, device)
    return moved


def identity_of(path: Path | str, *, kind: str) -> dict[str, Any]:
    """Return the identity a checkpoint was written with.

    Raises:
        DataError: as :func:`load`.
    """
    return _read(Path(path), kind).identity


@contextlib.contextmanager
def fitting(path: Path | str) -> Iterator[None]:
    """Raise DataError for whatever a state that is not of this network and recipe makes raise inside the block."""
    try:
        yield
    except (NasharnessError, torch.OutOfMemoryError):
        raise
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError,
            msgspec.MsgspecError) as error:  # fmt: skip
        why = " ".join(str(error).split())[:160]
        raise DataError(
            f"{path} is not the checkpoint of this network and recipe that this version reads ({type(error).__name__}: "
            f"{why}); start anew in another --out"
        ) from error


def same_form(found: Any, expected: Any, where: str = "state") -> None:
    """Raise ValueError where ``found`` is not of the form of ``expected``, a state of the same kind at its beginning.

    Tensors must agree in shape and dtype, dicts in their keys, all else in type. What is empty or None in ``expected``
    may hold anything.
    """
    if expected is None or (not isinstance(expected, Tensor) and expected in ({}, [], ())):
        return
    if isinstance(expected, Tensor):
        same = isinstance(found, Tensor) and found.shape == expected.shape and found.dtype == expected.dtype
    elif isinstance(expected, Mapping):
        same = isinstance(found, Mapping) and found.keys() == expected.keys()
    elif isinstance(expected, list | tuple):
        same = isinstance(found, list | tuple)
    elif isinstance(expected, float):
        same = type(found) in (int, float)
    else:
        same = type(found) is type(expected)
    if not same:
        raise ValueError(f"{where} is {_form(found)}, expected {_form(expected)}")
    if isinstance(expected, Mapping):
        for key, item in expected.items():
            same_form(found[key], item, f"{where}.{key}")


def load_optimiser(optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Take up an optimiser's state. Raises ValueError where settings or the moments of a weight are not its own."""
    own = [{key: value for key, value in group.items() if key != "params"} for group in optimiser.param_groups]
    optimiser.load_state_dict(dict(state))
    for group, expected in zip(optimiser.param_groups, own, strict=True):
        different = [
            key for key, value in expected.items() if key != "lr" and _listed(group.get(key)) != _listed(value)
        ]
        if different or type(group["lr"]) is not float:
            raise ValueError(f"the optimiser's {(different or ['lr'])[0]} is another")
    for weight, moments in optimiser.state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape not in (weight.shape, torch.Size([])):
                raise ValueError(f"the optimiser's {name} has shape {list(value.shape)}, expected {list(weight.shape)}")


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _form(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{value.dtype} {list(value.shape)}"
    return f"a dict of {', '.join(map(str, value))[:80]}" if isinstance(value, Mapping) else f"{value!r:.40}"


def _to(value: Any, device: torch.device | str) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _to(item, device) for key, item in value.items()}
    return type(value)(_to(item, device) for item in value) if isinstance(value, list | tuple) else value


class Keeper:
    """The checkpoints of one run in ``folder``: the last ``keep`` as ``step-N.pt``, and the best as ``best.pt``.

    ``name``: the one file that is kept, and written over, instead. ``device``: where what is read goes.
    """

    def __init__(
        self, folder: Path | str, keep: int = 3, *, name: str | None = None, device: torch.device | str = "cpu"
    ) -> None:
        if keep < 1:
            raise UsageError(f"--keep {keep}: at least 1 checkpoint must be kept")
        self.folder, self.keep, self.name, self.device = Path(folder), keep, name, device

    def save(self, step: int, state: Mapping[str, Any], *, kind: str, identity: Mapping[str, Any]) -> Path:
        """Write ``step-N.pt`` and then, only then, delete what is older than the last ``keep``.

        Raises:
            DataError: the file cannot be written; nothing was deleted.
        """
        path = save(self.folder / (self.name or f"step-{step:09d}.pt"), state, kind=kind, identity=identity)
        for old in self.steps()[: -self.keep]:
            old.unlink(missing_ok=True)
        return path

    @property
    def best(self) -> Path:
        """Where the best checkpoint lies, once there is one."""
        return self.folder / "best.pt"

    def steps(self) -> list[Path]:
        """Return the numbered checkpoints, oldest first."""
        return sorted(self.folder.glob(self.name or "step-*.pt"))

    def last(self, *, kind: str, identity: Mapping[str, Any] | None = None) -> tuple[Path, dict[str, Any]] | None:
        """Return path and state of the newest checkpoint that is whole; None where there is none at all.

        Raises:
            DataError: there are checkpoints and every one is damaged.
            UsageError: the newest whole one belongs to another run.
        """
        damage: DataError | None = None
        for path in reversed(self.steps()):
            try:
                return path, load(path, kind=kind, identity=identity, device=self.device)
            except DataError as error:
                damage = damage or error
        if damage is not None:
            raise damage
        return None

    def take_up(self, job: Job) -> Path | None:
        """Let ``job`` go on from the newest checkpoint that is whole, and return it; None where there is none.

        Raises:
            DataError, UsageError: as :meth:`last`; DataError for one whose state is not the job's.
        """
        found = self.last(kind=job.kind, identity=job.identity)
        if found is None:
            return None
        with fitting(found[0]):
            job.load_state(found[1])
        return found[0]

    def sweep(self) -> None:
        """Delete temporary files that a killed process left; only the one process that writes here may call it."""
        sweep(self.folder)


def _read(path: Path, kind: str) -> _Record:
    if not path.is_file():
        raise DataError(f"there is no checkpoint {path}")
    try:
        record = msgspec.convert(codec.read(path), _Record)
    except OSError as error:
        raise DataError(f"cannot read checkpoint {path}: {reason(error)}") from error
    except msgspec.MsgspecError as error:
        raise DataError(f"{path} is not a checkpoint of nasharness ({error})") from None
    if record.kind != kind:
        raise DataError(f"{path} is a checkpoint of kind {record.kind!r}, not {kind!r}")
    return record


def _plain(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the identity as it comes back from JSON, so that a tuple equals the list it is stored as."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(identity)))
    return plain


def _differences(saved: Mapping[str, Any], given: Mapping[str, Any], within: str = "") -> list[str]:
    """Say of every setting that differs what it was and what it is; one in a dict as ``recipe.lr``."""
    found: list[str] = []
    for name in sorted(saved.keys() | given.keys()):
        before, now = saved.get(name), given.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            found += _differences(before, now, f"{within}{name}.")
        elif before != now:
            found.append(f"{within}{name} (checkpoint: {_short(before)}, now: {_short(now)})")
    return found


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
