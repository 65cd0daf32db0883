"""Checkpoints: written whole or not at all, read as data and never as code, the last few and the best kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from nasharness.errors import DataError, UsageError
from nasharness.storage import atomically, reason, sweep

FORMAT = 1


def save(path: Path | str, state: Mapping[str, Any], *, kind: str, identity: Mapping[str, Any]) -> Path:
    """Write ``state`` to ``path``: to a temporary name, flushed to the disk, then renamed.

    A reader sees the old file or the new one, whole; a full disk or a killed process leaves the old one.

    Args:
        path: the file; its folder is made.
        state: tensors, numbers, strings, None, and dicts, lists and tuples of these (what ``weights_only`` loads).
        kind: what the file is for (``"retrain"``); :func:`load` refuses another kind.
        identity: what must be equal for the state to be of use (network, data, ...): values that JSON holds.

    Raises:
        DataError: the file cannot be written; what was there before is untouched.
    """
    path = Path(path)
    record = {"format": FORMAT, "kind": kind, "identity": json.dumps(_plain(identity)), "state": dict(state)}

    def whole(temporary: Path) -> None:
        with temporary.open("wb") as file:
            torch.save(record, file)

    try:
        atomically(path, whole)
    except (OSError, RuntimeError) as error:  # torch reports a short write as RuntimeError
        kept = "; the one written before it is whole" if path.exists() else ""
        raise DataError(
            f"cannot write checkpoint {path}: {_reason(error)}{kept}; free some space and resume"
        ) from error
    return path


def load(
    path: Path | str,
    *,
    kind: str,
    identity: Mapping[str, Any] | None = None,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Read the state that :func:`save` wrote. Only tensors and plain values are admitted; nothing of the file is run.

    Args:
        path: the checkpoint.
        kind: what it must be.
        identity: what it must have been written with; None accepts any.
        device: where the tensors go.

    Raises:
        DataError: the file is absent, cannot be read, is damaged, or holds something else.
        UsageError: it was written with another identity; the message names what differs.
    """
    record = _read(Path(path), device)
    if record["kind"] != kind:
        raise DataError(f"{path} is a checkpoint of kind {record['kind']!r}, not {kind!r}")
    if identity is not None:
        different = _differences(json.loads(record["identity"]), _plain(identity))
        if different:
            raise UsageError(
                f"{path} belongs to another run; different: {', '.join(different)}; "
                "give the settings it was started with, or another --out"
            )
    state: dict[str, Any] = record["state"]
    return state


def identity_of(path: Path | str, *, kind: str) -> dict[str, Any]:
    """Return the identity a checkpoint was written with.

    Raises:
        DataError: as :func:`load`.
    """
    record = _read(Path(path), "cpu")
    if record["kind"] != kind:
        raise DataError(f"{path} is a checkpoint of kind {record['kind']!r}, not {kind!r}")
    identity: dict[str, Any] = json.loads(record["identity"])
    return identity


class Keeper:
    """The checkpoints of one run in ``folder``: the last ``keep`` as ``step-N.pt``, and the best as ``best.pt``."""

    def __init__(self, folder: Path | str, keep: int = 3) -> None:
        if keep < 1:
            raise UsageError(f"--keep {keep}: at least 1 checkpoint must be kept")
        self.folder, self.keep = Path(folder), keep

    def save(self, step: int, state: Mapping[str, Any], *, kind: str, identity: Mapping[str, Any]) -> Path:
        """Write ``step-N.pt`` and then, only then, delete what is older than the last ``keep``.

        Raises:
            DataError: the file cannot be written; nothing was deleted.
        """
        path = save(self.folder / f"step-{step:09d}.pt", state, kind=kind, identity=identity)
        for old in self.steps()[: -self.keep]:
            old.unlink(missing_ok=True)
        return path

    @property
    def best(self) -> Path:
        """Where the best checkpoint lies, once there is one."""
        return self.folder / "best.pt"

    def steps(self) -> list[Path]:
        """Return the numbered checkpoints, oldest first."""
        return sorted(self.folder.glob("step-*.pt"))

    def last(self, *, kind: str, identity: Mapping[str, Any] | None = None) -> tuple[Path, dict[str, Any]] | None:
        """Return path and state of the newest checkpoint that is whole; None where there is none at all.

        Raises:
            DataError: there are checkpoints and every one is damaged.
            UsageError: the newest whole one belongs to another run.
        """
        damage: DataError | None = None
        for path in reversed(self.steps()):
            try:
                return path, load(path, kind=kind, identity=identity)
            except DataError as error:
                damage = damage or error
        if damage is not None:
            raise damage
        return None

    def sweep(self) -> None:
        """Delete temporary files that a killed process left; only the one process that writes here may call it."""
        sweep(self.folder)


def _read(path: Path, device: torch.device | str) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"there is no checkpoint {path}")
    try:
        record = torch.load(path, map_location=device, weights_only=True)
    except OSError as error:
        raise DataError(f"cannot read checkpoint {path}: {reason(error)}") from error
    except Exception as error:  # a damaged file can break the parser anywhere; none of it reaches the user
        raise DataError(f"checkpoint {path} is damaged, or holds more than tensors and plain values") from error
    if not isinstance(record, dict) or not {"format", "kind", "identity", "state"} <= record.keys():
        raise DataError(f"{path} is not a checkpoint of nasharness")
    if record["format"] != FORMAT:
        raise DataError(f"{path} has checkpoint format {record['format']!r}; this version reads {FORMAT}")
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


def _reason(error: Exception) -> str:
    cause = error if isinstance(error, OSError) else error.__context__
    return reason(cause) if isinstance(cause, OSError) else str(error).splitlines()[0]
