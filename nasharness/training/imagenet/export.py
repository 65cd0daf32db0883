"""Taking a trained network out of its run: as an exported program (``.pt2``) or ONNX, checked against the module."""

from __future__ import annotations

import importlib
import importlib.util
import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nasharness.errors import DataError, UsageError, unknown
from nasharness.nets import imagenet
from nasharness.runs.checkpoint import Keeper, fitting, load
from nasharness.storage.sealed import read_sealed
from nasharness.training.exported import format_of, require_onnx, write, write_weights
from nasharness.training.imagenet.loop import KIND
from nasharness.training.imagenet.statistics import settled

#: where the description lies in an exported file
ENTRY = "nasharness.json"


@dataclass(frozen=True)
class Description:
    """What a trained network needs to be used: outputs by name, pixels a side, crop of evaluation."""

    network: str
    class_names: tuple[str, ...]
    size: int
    eval_crop: float
    eval_square: bool
    eval_resizer: str

    @classmethod
    def read(cls, record: Mapping[str, Any], where: object) -> Description:
        """Check a record. Raises DataError."""
        try:
            names = tuple(str(name) for name in record["class_names"])
            return cls(
                str(record["network"]), names, int(record["size"]), float(record["eval_crop"]),
                bool(record["eval_square"]), str(record["eval_resizer"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{where}: no description of a network by nasharness export in it") from error


class Pixels(nn.Module):
    """A network on float32 [n, 3, size, size] in [0, 1], RGB; gives logits [n, classes]. It normalises by itself."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalise and classify."""
        logits: Tensor = self.network((pixels - self.mean) / self.std)
        return logits


def load_run(folder: Path, weights: str | None = None) -> tuple[Pixels, Description]:
    """Return the network of a run, ready to be evaluated on a CPU.

    ``weights``: ``last`` (averaged where there is an average; so does None), ``best`` (of all epochs by top-1, raw or
    averaged), ``raw`` (last).

    Raises:
        DataError: the folder holds no run, or no checkpoint yet, or a damaged one.
        UsageError: ``weights`` is none of these.
    """
    if weights not in (None, "last", "best", "raw"):
        raise unknown("weights", weights, ("last", "best", "raw"))
    run = _run_record(folder)
    recipe = run["recipe"]
    described = Description.read({**run, **recipe, "network": _title(run["network"])}, folder / "run.json")
    network = imagenet.build(run["network"], run["classes"], size=run["size"])
    keeper = Keeper(folder / "checkpoints")
    with fitting(keeper.folder):
        if weights == "best" and keeper.best.exists():
            network.load_state_dict(load(keeper.best, kind=KIND)["network"])
        else:
            _load_last(network, keeper, folder, averaged=weights != "raw")
    return Pixels(network, tuple(recipe["mean"]), tuple(recipe["std"])).eval(), described


def _load_last(network: nn.Module, keeper: Keeper, folder: Path, *, averaged: bool) -> None:
    found = keeper.last(kind=KIND)
    if found is None:
        raise DataError(
            f"{folder} has no checkpoint yet; train with nasharness retrain --out {shlex.quote(str(folder))}"
        )
    state = found[1]["trainer"]
    network.load_state_dict(state["network"])
    ema = state["ema"]
    if averaged and ema is not None:
        network.load_state_dict(ema["average"], strict=False)
        with settled(network, lambda momentum, _: ema["began"].get(momentum, 0.0)):
            values = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    else:
        with settled(network):
            values = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.load_state_dict(values)


def export(folder: Path, out: Path, *, format: str | None = None, weights: str | None = None) -> dict[str, Any]:  # noqa: A002
    """Write the network of a run to ``out`` and return {format, difference, bytes}.

    The file takes any number of images. It is loaded again and compared with the module on a batch. ``safetensors``:
    of the network alone, which wants its images normalised; its weights are compared.

    Raises:
        UsageError: unknown format, or a package for it is not installed.
        DataError: as :func:`load_run`; or the file's answers differ from the module's; or it cannot be written.
    """
    kind = format_of(out, format)
    module, described = load_run(folder, weights)
    record = json.dumps({**described.__dict__, "class_names": list(described.class_names)})
    if kind == "safetensors":
        difference = write_weights(module.network, out, entry=ENTRY, record=record)
        return {"format": kind, "difference": difference, "bytes": out.stat().st_size}
    generator = torch.Generator().manual_seed(0)
    batch = torch.rand(3, 3, described.size, described.size, generator=generator)
    program = torch.export.export(module, (batch,), dynamic_shapes={"pixels": {0: torch.export.Dim("images", min=1)}})
    write(program, out, kind, entry=ENTRY, record=record, inputs=["pixels"], outputs=["logits"])
    expected = as_function(module)(batch.numpy())
    run, _ = load_file(out, trust=True)  # written a moment ago
    difference = float(np.abs(run(batch.numpy()) - expected).max() / max(1.0, float(np.abs(expected).max())))
    if not difference < 1e-3:
        raise DataError(
            f"{out} does not compute what the network does: it differs by {difference:.2g}; please report it"
        )
    return {"format": kind, "difference": difference, "bytes": out.stat().st_size}


Run = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]


def load_file(path: Path, *, trust: bool = False) -> tuple[Run, Description]:
    """Return the function of an exported file, pixels float32 [n, 3, size, size] -> logits, and its description.

    Raises:
        UsageError: a ``.pt2`` without ``trust``: loading one can run code that is in it; onnx is not installed.
        DataError: absent or damaged, or not from :func:`export`.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    if path.suffix == ".onnx":
        return _load_onnx(path)
    if path.suffix != ".pt2":
        raise UsageError(f"{path}: expected a run's folder, a .onnx or a .pt2 file")
    if not trust:
        raise UsageError(f"{path}: loading a .pt2 file can run code that is in it; add --trust if it is your own")
    extra = {ENTRY: ""}
    try:
        program = torch.export.load(str(path), extra_files=extra)
        described = Description.read(json.loads(extra[ENTRY] or "{}"), path)
    except DataError:
        raise
    except Exception as error:  # a damaged archive can break the reader anywhere
        raise DataError(f"{path} is damaged or no exported program ({str(error).splitlines()[0][:120]})") from error
    return as_function(program.module()), described


def as_function(module: nn.Module) -> Run:
    """Return a module as a function of arrays."""

    def run(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        with torch.no_grad():
            logits: npt.NDArray[np.float32] = module(torch.from_numpy(pixels)).numpy()
        return logits

    return run


def _load_onnx(path: Path) -> tuple[Run, Description]:
    require_onnx()
    import onnx

    try:
        model = onnx.load(str(path), load_external_data=False)
        texts = {entry.key: entry.value for entry in model.metadata_props}
        described = Description.read(json.loads(texts.get(ENTRY, "{}")), path)
        if importlib.util.find_spec("onnxruntime") is not None:
            onnxruntime = importlib.import_module("onnxruntime")

            session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        else:
            from onnx.reference import ReferenceEvaluator  # slow, exact, and there wherever onnx is

            session = ReferenceEvaluator(model)
    except DataError:
        raise
    except Exception as error:  # protobuf, onnx and onnxruntime each have errors of their own
        raise DataError(f"{path} is damaged or no ONNX model ({str(error).splitlines()[0][:120]})") from error
    name = model.graph.input[0].name

    def run(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        logits: npt.NDArray[np.float32] = session.run(None, {name: pixels})[0]
        return logits

    return run, described


_Three = Annotated[list[float], msgspec.Meta(min_length=3, max_length=3)]
_Count = Annotated[int, msgspec.Meta(ge=1, le=100_000)]


class _Recipe(msgspec.Struct):
    mean: _Three
    std: _Three
    eval_crop: float
    eval_square: bool
    eval_resizer: str


class _Space(msgspec.Struct):
    space: str


class _RunFile(msgspec.Struct):
    """What ``run.json`` must hold for its network to be built."""

    task: Literal["imagenet"]
    network: str | _Space
    classes: _Count
    class_names: list[str]
    size: _Count
    recipe: _Recipe


def _run_record(folder: Path) -> dict[str, Any]:
    path = folder / "run.json"
    absent = DataError(f"{folder} holds no run (no {path.name}); nasharness retrain --out DIR makes one")
    again = "the command that trained writes it again"
    run = read_sealed(path, _RunFile, again, sealed=False, missing=absent)
    if len(run["class_names"]) != run["classes"]:
        raise DataError(f"{path} is damaged: {len(run['class_names'])} names of {run['classes']} classes; {again}")
    return run


def _title(network: str | Mapping[str, Any]) -> str:
    from nasharness.training.options import title

    return title(network)
