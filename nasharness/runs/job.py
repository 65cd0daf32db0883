"""What a long job offers to the driver, and how it says where it stands."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from nasharness.training.distributed import World


class Progress(Protocol):
    """Whoever wants to know how far long work is: the one form of progress that everything here reports."""

    def __call__(self, done: int, total: int, label: str = "", detail: str = "", line: str = "") -> None:
        """Show that ``done`` of ``total`` units are done (0: unknown).

        ``label``: the part of the work; ``detail``: what else to show, which changes; ``line``: what stays to be read.
        """


@dataclass(frozen=True)
class Mark:
    """Where a job stands between two of its steps.

    ``done``, ``total``, ``label``, ``detail``, ``line``: as in Progress. ``where``: for ``stopped WHERE``. ``row``: a
    row of the journal. ``step``: the number of the checkpoint that may be written now, None where the state is not
    whole; ``due``: it is to be written, and not only when it is time. ``aside``: the job is at something that begins
    anew, an evaluation, and its state is whole once its generator is closed; of several processes one alone may do so.
    ``result``: what the step came to, for whoever drives the job.
    """

    done: int = 0
    total: int = 0
    label: str = ""
    detail: str = ""
    line: str = ""
    where: str = ""
    row: Mapping[str, Any] | None = None
    step: int | None = None
    due: bool = False
    aside: bool = False
    result: Any = None


class Job(Protocol):
    """Something that takes long. It trains, and knows nothing of folders, files, signals or clocks.

    ``kind``, ``identity``: of its checkpoints; what must be equal for a state to be of use.
    """

    @property
    def kind(self) -> str:
        """What its checkpoints are of."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the outcome: values that JSON holds."""

    @property
    def world(self) -> World:
        """The processes that do it together; all of them are driven alike."""

    @property
    def logged(self) -> int:
        """Key of the last row of the journal that its state has behind it."""

    def state(self) -> dict[str, Any]:
        """All that the rest of the job depends on; all processes ask together. Raises Diverged for what is lost."""

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state()``. Raises ValueError and its like for a state that does not fit."""

    def steps(self) -> Generator[Mark, None, None]:
        """Do what is left; yield wherever it can be stopped, and wherever there is something to tell."""
