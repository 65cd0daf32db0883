"""What is known of a device: one quantity (latency, energy) of every architecture of a space, and how it is named."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from nasharness.errors import UsageError, nearest

MEASURED, MODELLED, CLOSED_FORM = "measured", "modelled", "closed form"
#: what a quantity is -> its unit; more is better of an intensity, less of the others
UNITS = {"latency": "ms", "energy": "mJ", "arithmetic_intensity": ""}
#: stands for "does not run there" in a column: never a latency
REFUSED = -1.0

#: space -> published device that does not ship -> the command that brings it
HOW_TO_GET = {
    "tss": {
        **dict.fromkeys(("edgegpu", "edgetpu"), "nasharness data import HW-NAS-Bench-v1_0.pickle"),
        **dict.fromkeys(("essential_ph_1", "samsung_s7", "titan_rtx_256"), "nasharness data fetch hardware"),
    },
    "fbnet": dict.fromkeys(
        ("edgegpu", "eyeriss", "fpga", "pixel3", "raspi4"), "nasharness data import HW-NAS-Bench-v1_0.pickle"
    ),
}

_COLUMN = re.compile(r"(?P<device>[A-Za-z0-9][\w.-]*?)_(?:(?P<latency>lat_ms|latency_ms)|(?P<energy>energy_mj))")
#: a column that must be a latency or an energy, in whatever unit
_LIKE_ONE = re.compile(r".*_(lat|latency|energy)(_[a-z]+)?", re.IGNORECASE)
#: a batch is a power of two: the 4114 of silver_4114 is a model's number
_BATCH = re.compile(r"(?P<device>.+)_(?P<batch>1|2|4|8|16|32|64|128|256|512|1024)")


@dataclass(frozen=True)
class Quantity:
    """A quantity of a device, such as ``raspi4_latency``; the batch is in the name where it is not 1.

    ``unit``: ms, mJ (of one batch). ``kind``: measured, modelled or closed form. ``table``: the hardware table that
    answers, ``closed form`` where none does. ``known``: how many architectures have a value, those that do not run
    there left out; None where all of a space too large to count have one. ``refused``: how many do not run there.
    ``checksum``: of the column.
    """

    name: str
    space: str
    dataset: str
    unit: str
    batch: int
    kind: str
    table: str
    source: str
    licence: str
    known: int | None = None
    size: int | None = None
    refused: int = 0
    checksum: str = ""

    @property
    def minimise(self) -> bool:
        """Whether less is better."""
        return self.unit != UNITS["arithmetic_intensity"]

    @property
    def partial(self) -> bool:
        """Whether some architecture has no value: unknown, or does not run there."""
        return self.known != self.size

    def __str__(self) -> str:
        read = f"{self.kind}, batch {self.batch}, {self.dataset}, {self.source}"
        if self.partial and self.known is not None:
            read += f"; {self.known:,} of {self.size:,} known"
            read += f", {self.refused:,} do not run there" if self.refused else ""
        return read + (f" [{self.checksum[:12]}]" if self.checksum else "")


def unit_of(name: str) -> str:
    """The unit of a quantity by its name."""
    return next(unit for ending, unit in UNITS.items() if name.endswith(ending))


def canonical(name: str) -> str:
    """``1080ti_1_latency`` is ``1080ti_latency``: a batch of 1 is not written."""
    return re.sub(r"_1_(?=(?:latency|energy)$)", "_", name)


def batch_of(name: str) -> int:
    """The batch that a quantity's name says, 1 where it says none."""
    match = _BATCH.fullmatch(name.rpartition("_")[0])
    return 1 if match is None else int(match["batch"])


def of_column(column: str, file: str = "") -> str | None:
    """The quantity that a column ``NAME_lat_ms``, ``NAME_BATCH_lat_ms`` or ``NAME_energy_mj`` holds; None for another.

    Raises UsageError for a latency or an energy in another unit, or in none.
    """
    match = _COLUMN.fullmatch(column)
    if match is not None:
        return canonical(f"{match['device']}_{'latency' if match['latency'] else 'energy'}")
    if _LIKE_ONE.fullmatch(column):
        where = f"{file}: " if file else ""
        raise UsageError(
            f"{where}column {column!r}: a latency is read in ms from NAME_lat_ms or NAME_BATCH_lat_ms, an energy in mJ "
            "from NAME_energy_mj; convert it and rename the column"
        )
    return None


def looks_like_one(name: str) -> bool:
    """Whether a name asks for a quantity of a device."""
    return name.endswith(tuple(f"_{ending}" for ending in UNITS))


def unknown_quantity(name: str, known: Any, space: str, dataset: str) -> UsageError:
    """What to say to the name of a quantity that nothing here knows on ``dataset``."""
    here = [one for one in known if one.name == canonical(name)]
    if here:
        elsewhere = ", ".join(dict.fromkeys(one.dataset for one in here))
        return UsageError(
            f"objective {name!r} is not known on {dataset} of space {space}, only on {elsewhere} "
            "(nasharness list devices)"
        )
    names = [one.name for one in known if one.dataset == dataset]
    close = ", ".join(nearest(name, names)) or "none is known"
    ways = HOW_TO_GET.get(space, {})
    command = next((f"; get it with: {how}" for device, how in ways.items() if name.startswith(device)), "")
    return UsageError(
        f"unknown objective {name!r} on {dataset} (nearest: {close}; all: nasharness list devices){command}"
    )
