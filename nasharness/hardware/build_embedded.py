"""Builds the embedded hardware table. Run by a maintainer, its result is committed; from the same source come the same
bytes.

``python -m nasharness.hardware.build_embedded HELP``

HELP: a folder with the layout of the repository HayeonLee/HELP at commit 45f70eb, whose files must have the SHA-256
recorded in help.py; or one file with the same values as device columns (see ``read_devices``). What is committed was
made from such a file of columns, in which HELP's essential_ph_1, samsung_s7 and titan_rtx_256 were not: they come with
``nasharness data fetch hardware``. The costs of FBNet's operators do not ship: ``nasharness data import`` brings them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from nasharness import spaces
from nasharness.hardware import help as helps
from nasharness.hardware import imported
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


if __name__ == "__main__":
    build(Path(sys.argv[1]))
