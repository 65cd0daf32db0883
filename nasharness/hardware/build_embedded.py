"""Builds the embedded hardware tables. Run by a maintainer, its result is committed; from the same source come the same
bytes.

``python -m nasharness.hardware.build_embedded HELP|PIXEL1``

HELP: a folder with the layout of the repository HayeonLee/HELP at commit 45f70eb, whose files must have the SHA-256
recorded in help.py; or one file with the same values as device columns (see ``read_devices``). What is committed was
made from such a file of columns, in which HELP's essential_ph_1, samsung_s7 and titan_rtx_256 were not: they come with
``nasharness data fetch hardware``. The costs of FBNet's operators do not ship: ``nasharness data import`` brings them.

PIXEL1: the file ``pixel1_runtime_model.json`` of Single-Path NAS (see pixel1.py), for the space ``mobile``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from nasharness import spaces
from nasharness.hardware import help as helps
from nasharness.hardware import imported, pixel1
from nasharness.storage.files import file_sha256
from nasharness.tables.table import Table

#: the devices whose columns ship
DEVICES = tuple(device for device in helps.FILES if device not in ("essential_ph_1", "samsung_s7", "titan_rtx_256"))


def build(source: Path, destination: Path | None = None) -> Table:
    """Write HELP's columns of tss, or Pixel 1's prices of mobile, to ``destination`` (default: inside the package)."""
    if source.name == pixel1.FILE:
        made = pixel1.columns(json.loads(source.read_text(encoding="utf-8")), str(source))
        known = pixel1.CARD | {"files": {f"nas-search/{source.name}": file_sha256(source)}}
        return imported.write(spaces.get("mobile"), "embedded", made, known, force=True, destination=destination)
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
