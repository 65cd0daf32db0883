"""What is known of one architecture on every device, and how far measurements of the same network differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness.hardware import catalogue
from nasharness.hardware.quantity import MEASURED, REFUSED, Quantity
from nasharness.spaces.base import Space

#: isomorphic cells were grouped by the rule of the NAS-Bench-201 paper where this noise was first reported
RULE = "published"


def card(space: Space, arch: Any) -> list[dict[str, Any]]:
    """Every known quantity of an architecture as plain values, one each.

    Keys: ``name, dataset, value`` (None where it does not run there), ``unit, batch, kind, source, licence, table``,
    and ``noise``: of a measured quantity, how the cells that are the same network differ: ``members`` of the class with
    a value, ``lowest``, ``highest``, ``spread_percent``, their standard deviation in percent of their mean, and
    ``alike_percent``, that of the members with as many of each operation. The first is more than noise, since
    operations without effect are executed as well; the second is noise. None for a class of one.
    """
    rows = []
    family, alike = _families(space, arch)
    for quantity in catalogue.quantities(space):
        if quantity.size is None:
            value, noise = float(catalogue.reader(quantity)(np.asarray(arch))), None
        else:
            column = catalogue.column(quantity)
            value = float(column[arch])
            noise = _noise(column[family], column[alike]) if quantity.kind == MEASURED else None
        if not np.isnan(value):
            rows.append(_row(quantity, value, noise))
    return rows


def _row(quantity: Quantity, value: float, noise: dict[str, Any] | None) -> dict[str, Any]:
    about = {key: getattr(quantity, key) for key in ("unit", "batch", "kind", "source", "licence", "table")}
    shown = None if value == REFUSED else value
    return {"name": quantity.name, "dataset": quantity.dataset, "value": shown, **about, "noise": noise}


def _families(space: Space, arch: Any) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of the architectures that are the same network, and of those with the same operations besides."""
    if "index" not in space.offers:
        return np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp)
    lowest = space.canonical(np.arange(space.size, dtype=np.int32), RULE)
    family = np.flatnonzero(lowest == lowest[arch])
    operations = np.sort(space.choices(family.astype(np.int32)), axis=1)
    same = (operations == np.sort(space.choices(np.asarray(arch)))).all(axis=1)
    return family, family[same]


def _spread(values: NDArray[np.float64]) -> float | None:
    """Standard deviation in percent of the mean; None of fewer than two, or of zeros."""
    return float(100 * values.std(ddof=1) / values.mean()) if len(values) > 1 and values.mean() else None


def _noise(values: NDArray[np.float64], alike: NDArray[np.float64]) -> dict[str, Any] | None:
    found, close = (each[~np.isnan(each) & (each != REFUSED)] for each in (values, alike))
    spread = _spread(found)
    if spread is None:
        return None
    return {
        "members": len(found),
        "lowest": float(found.min()),
        "highest": float(found.max()),
        "spread_percent": spread,
        "alike_percent": _spread(close),
    }


def lines(rows: list[dict[str, Any]]) -> list[str]:
    """The card as text for a person, a line each."""
    names = max((len(row["name"]) for row in rows), default=0)
    found: list[str] = []
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        found += ["", f"devices, {dataset}"]
        for row in (row for row in rows if row["dataset"] == dataset):
            value = "does not run" if row["value"] is None else f"{row['value']:.4f} {row['unit']}".rstrip()
            about = f"batch {row['batch']}, {row['kind']}, {row['source']}"
            if row["noise"]:
                noise = row["noise"]
                spread = f"{noise['lowest']:.4g} to {noise['highest']:.4g}, {noise['spread_percent']:.1f} %"
                about += f"; same network: {spread}"
            found.append(f"  {row['name']:<{names}}  {value:<14}  {about}")
    noises = [row["noise"] for row in rows if row["noise"]]
    if noises:
        members = max(noise["members"] for noise in noises)
        found.append("")
        found.append(f"  {members} cells are this same network (isomorphic, {RULE} rule); measured they differ by")
        found.append(f"  {_range(noises, 'spread_percent')} %: noise, and operations without effect that are executed")
        if any(noise["alike_percent"] is not None for noise in noises):
            alike = _range(noises, "alike_percent")
            found.append(f"  all the same. Those with the same operations differ by {alike} %, which is noise alone")
    return found


def _range(noises: list[dict[str, Any]], key: str) -> str:
    values = [noise[key] for noise in noises if noise[key] is not None]
    return f"{min(values):.1f} to {max(values):.1f}"
