"""Where a journal's numbers are shown, too: TensorBoard, Weights & Biases, MLflow. None of them is the record."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from nasharness.errors import UsageError, unknown
from nasharness.extras import pip_install


class Board(Protocol):
    """A view of a run's numbers."""

    def write(self, numbers: Mapping[str, float], step: int) -> None:
        """Show numbers by name, as of ``step``."""

    def close(self) -> None:
        """Nothing more comes."""


class _TensorBoard:
    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # what a killed run wrote after this step is hidden by purge_step
        self.writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=step)

    def write(self, numbers: Mapping[str, float], step: int) -> None:
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class _Wandb:
    """The project is WANDB_PROJECT's, the mode WANDB_MODE's (``offline`` sends nothing), as wandb has it."""

    def __init__(self, folder: Path, step: int) -> None:
        wandb = importlib.import_module("wandb")
        project = os.environ.get("WANDB_PROJECT", "nasharness")
        number = _kept(folder / "wandb.id", lambda: uuid.uuid4().hex[:12])
        self.run: Any = wandb.init(
            project=project, name=folder.resolve().name, id=number, resume="allow", dir=str(folder),
            config=_plan(folder),
        )  # fmt: skip

    def write(self, numbers: Mapping[str, float], step: int) -> None:
        self.run.log(dict(numbers), step=step)

    def close(self) -> None:
        self.run.finish()


class _Mlflow:
    """The server or the store is MLFLOW_TRACKING_URI's; without it, a SQLite file in the run's folder."""

    def __init__(self, folder: Path, step: int) -> None:
        mlflow, entities = importlib.import_module("mlflow"), importlib.import_module("mlflow.entities")
        store = f"sqlite:///{folder.resolve() / 'mlflow.db'}"
        self.metric: Any = entities.Metric
        self.client: Any = mlflow.MlflowClient(tracking_uri=os.environ.get("MLFLOW_TRACKING_URI", store))
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "nasharness")
        there = self.client.get_experiment_by_name(name)
        experiment = self.client.create_experiment(name) if there is None else there.experiment_id
        title = folder.resolve().name
        self.run: str = _kept(
            folder / "mlflow.id", lambda: self.client.create_run(experiment, run_name=title).info.run_id
        )
        for key, value in _plan(folder).items():
            if not isinstance(value, dict | list):
                self.client.set_tag(self.run, key, str(value)[:500])

    def write(self, numbers: Mapping[str, float], step: int) -> None:
        now = time.time_ns() // 1_000_000
        metrics = [self.metric(name, float(value), now, step) for name, value in numbers.items()]
        self.client.log_batch(self.run, metrics=metrics)

    def close(self) -> None:
        self.client.set_terminated(self.run)


#: name -> the module that it needs, and what makes it
BOARDS: dict[str, tuple[str, Callable[[Path, int], Board]]] = {
    "tensorboard": ("tensorboard", _TensorBoard),
    "wandb": ("wandb", _Wandb),
    "mlflow": ("mlflow", _Mlflow),
}


def require(names: Iterable[str]) -> None:
    """Raise UsageError where one is unknown, or its package is not installed."""
    for name in names:
        if name not in BOARDS:
            raise unknown("tracker", name, BOARDS)
        if importlib.util.find_spec(BOARDS[name][0]) is None:
            raise UsageError(f"--track {name} needs the package {BOARDS[name][0]}: {pip_install(name)}")


class Boards:
    """Some of them for the run in ``folder``, made when the first numbers come.

    One that fails, as a server that does not answer, is done without from then on, with a warning: a training does not
    end because nobody can watch.
    """

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        self.folder, self.waiting = folder, list(names)
        self.open: dict[str, Board] = {}
        require(self.waiting)

    def write(self, row: Mapping[str, Any], key: str) -> None:
        """Show the numbers of a row; ``key``: which of them is the step."""
        step = int(row.get(key) or 0)
        numbers = {
            name: value
            for name, value in row.items()
            if isinstance(value, int | float) and not isinstance(value, bool) and name != key
        }
        for name in self.waiting:
            self._try(name, partial(self._make, name, step))
        self.waiting = []
        for name, board in list(self.open.items()):
            self._try(name, partial(board.write, numbers, step))

    def close(self) -> None:
        """Nothing more comes."""
        for name, board in list(self.open.items()):
            self._try(name, board.close)
        self.open = {}

    def _make(self, name: str, step: int) -> None:
        self.open[name] = BOARDS[name][1](self.folder, step)

    def _try(self, name: str, what: Callable[[], object]) -> None:
        try:
            what()
        except Exception as error:  # of other people's code and servers, any
            self.open.pop(name, None)
            why = " ".join(str(error).split())[:200]
            warnings.warn(f"{name} fails ({type(error).__name__}: {why}); the run goes on without it", stacklevel=2)


def _kept(file: Path, make: Callable[[], str]) -> str:
    """What names the run there, so that a resumed one goes on in it."""
    if not file.is_file():
        file.write_text(make() + "\n", encoding="utf-8")
    return file.read_text(encoding="utf-8").strip()


def _plan(folder: Path) -> dict[str, Any]:
    file = folder / "run.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
