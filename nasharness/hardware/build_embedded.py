"""Builds the embedded hardware tables. Run by a maintainer, its result is committed; from the same source come the same
bytes.

``python -m nasharness.hardware.build_embedded HELP [OPERATORS]``

HELP: a folder with the layout of the repository HayeonLee/HELP at commit 45f70eb, whose files must have the SHA-256
recorded in help.py; or one file with the same values as device columns (see ``read_devices``). What is committed was
made from such a file of columns, in which HELP's essential_ph_1, samsung_s7 and titan_rtx_256 were not: they come with
``nasharness data fetch hardware``. OPERATORS: HW-NAS-Bench's file, or its operators of FBNet as JSON.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from nasharness import spaces
from nasharness.hardware import help as helps
from nasharness.hardware import imported
from nasharness.hardware.catalogue import table_path
from nasharness.tables.table import Table

#: the devices whose columns ship
DEVICES = tuple(device for device in helps.FILES if device not in ("essential_ph_1", "samsung_s7", "titan_rtx_256"))


def build(source: Path, destination: Path | None = None) -> Table:
    """Write HELP's columns of tss, float32 milliseconds, to ``destination`` (default: inside the package)."""
    tss = spaces.get("tss")
    way = "HELP's files"
    if source.is_dir():
        files = {device: source / helps.path_of(device) for device in DEVICES}
        made = helps.columns(files)
    else:
        read = imported.read_devices([source], tss)
        keys = [("cifar10", helps.quantity_of(device)) for device in DEVICES]
        made = imported.Columns({key: read.values[key] for key in keys})
        way = "device columns, float32, with the values of HELP's files"
    card: dict[str, Any] = helps.CARD | {"files": {helps.path_of(device): helps.FILES[device] for device in DEVICES}}
    card |= {"made_from": way}
    return imported.write(tss, "embedded", made, card, force=True, destination=destination, dtype="float32")


def build_operators(source: Path, destination: Path | None = None) -> Table:
    """Write HW-NAS-Bench's operators of FBNet, float64, to ``destination`` (default: inside the package)."""
    read = imported.operators_of_json(source) if source.suffix == ".json" else imported.read_hw_nas_bench(source)
    card: dict[str, Any] = imported.HW_NAS_BENCH | {
        "source": "HW-NAS-Bench v1.0",
        "files": {},
        "made_from": "HW-NAS-Bench-v1_0.pickle" if source.suffix != ".json" else "its operators of FBNet as JSON",
    }
    return imported.write(
        spaces.get("fbnet"), "embedded", read["fbnet"], card, force=True,
        destination=destination or table_path("fbnet", "embedded"),
    )  # fmt: skip


if __name__ == "__main__":
    build(Path(sys.argv[1]))
    if len(sys.argv) > 2:
        build_operators(Path(sys.argv[2]))
