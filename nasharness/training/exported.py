"""Files that hold a trained network without its Python: exported programs (``.pt2``), ONNX, and weights alone.

Each has a record inside.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import nn

from nasharness.errors import DataError, UsageError, unknown
from nasharness.extras import pip_install
from nasharness.storage import atomically, writing

FORMATS = {"pt2": ".pt2", "onnx": ".onnx", "safetensors": ".safetensors"}


def format_of(out: Path, asked: str | None) -> str:
    """Return the format that was asked for, else the one that the name ``out`` ends in, else ``pt2``.

    Raises:
        UsageError: it is unknown, or a package for it is not installed.
    """
    kind = asked or {suffix: name for name, suffix in FORMATS.items()}.get(out.suffix, "pt2")
    if kind not in FORMATS:
        raise unknown("format", kind, FORMATS)
    if kind == "onnx":
        require_onnx()
    if kind == "safetensors" and importlib.util.find_spec("safetensors") is None:
        raise UsageError(f"--format safetensors needs the package safetensors: {pip_install('export')}")
    return kind


def require_onnx() -> None:
    """Raise UsageError with the command that installs what ONNX needs, where it is missing."""
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"ONNX needs {' and '.join(missing)}: {pip_install('export')} (or --format pt2)")


def write(
    program: torch.export.ExportedProgram,
    out: Path,
    kind: str,
    *,
    entry: str,
    record: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> None:
    """Write a program whole or not at all; ``record`` lies in it under the name ``entry``.

    ``inputs``, ``outputs``: their names in ONNX. Raises DataError where the file cannot be written.
    """

    def whole(path: Path) -> None:
        if kind == "onnx":
            path.write_bytes(_onnx(program, entry, record, inputs, outputs))
        else:
            with path.open("wb") as file:
                torch.export.save(program, file, extra_files={entry: record})

    with writing(out, "", DataError):
        atomically(out, whole)


def write_weights(network: nn.Module, out: Path, *, entry: str, record: str) -> float:
    """Write weights and statistics by name as safetensors, ``record`` under the name ``entry``.

    Returns the largest difference of what the file holds, 0. Raises DataError where it cannot be written.
    """
    from safetensors.torch import load_file, save_file

    values = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    with writing(out, "", DataError):
        atomically(out, lambda path: save_file(values, path, metadata={entry: record}))
    held = load_file(out)
    return max(float((held[name].double() - value.double()).abs().max()) for name, value in values.items())


def _onnx(
    program: torch.export.ExportedProgram, entry: str, record: str, inputs: Sequence[str], outputs: Sequence[str]
) -> bytes:
    import onnx

    with _quiet():
        made = torch.onnx.export(program, dynamo=True, verbose=False, input_names=inputs, output_names=outputs)
    if made is None:
        raise DataError("torch.onnx gave no model")
    model = made.model_proto
    described = model.metadata_props.add()
    described.key, described.value = entry, record
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's exporter from telling of packages that it does without, and of its own old ways."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
