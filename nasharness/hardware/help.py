"""HELP's published latencies (Lee et al., NeurIPS 2021, arXiv 2106.08630): its files, their reader, and their download.

A file of ``data/nasbench201/latency`` is a torch pickle in zip format of a list of 15,625 numbers, milliseconds in
NATS-Bench's order. It is read without torch, by the unpickler that admits nothing but containers and numbers. Its
raspi4 and pixel3 are HW-NAS-Bench's on CIFAR-10, and so are eyeriss and fpga, which are left out: they have a closed
form (see forms.py).
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness import spaces
from nasharness.errors import DataError
from nasharness.hardware.imported import Columns, write
from nasharness.hardware.quantity import canonical
from nasharness.storage import file_sha256
from nasharness.storage.contained import contained
from nasharness.storage.download import RAW, Bringer, Progress
from nasharness.storage.sealed import read_bytes
from nasharness.tables.table import Table
from nasharness.tables.unpickle import LIMIT, loads

REPOSITORY, COMMIT = "HayeonLee/HELP", "45f70eb"
FOLDER = "data/nasbench201/latency"
CARD = {
    "version": COMMIT,
    "source": f"HELP {COMMIT}",
    "licence": "MIT, Hayeon Lee (HELP)",
    "citation": "H. Lee, S. Lee, S. Chong, S. J. Hwang: HELP: Hardware-Adaptive Efficient Latency Prediction for NAS "
    "via Meta-Learning. NeurIPS 2021, arXiv:2106.08630",
}
#: device, with its batch where that is not 1 or several were measured -> SHA-256 of its file
FILES = {
    "1080ti_1": "4028f52b2c2441da126932e3827ae11a7f76d39818c4374c1b9ab9df236e23f4",
    "1080ti_256": "435af0ccfab01f5dc55dc9f2e8b90ca37b396b2656e327bba5ee0b6eb9c24464",
    "1080ti_32": "affce4fcdcf6f28622365995ef2ec018bb07d448add59f80633c0978c393cdea",
    "2080ti_1": "38cf0e8f698abf8696c69b41a358fe9ddedf5d54cb1ae6f85b04dd8a8f89a1b3",
    "2080ti_256": "daee655c44c46955d8318ddf0fa39254e70bab1ae723a6abc53d7b7e4e1561ae",
    "2080ti_32": "ebc603ad325850663fc56c8e0fde52fadea28e585a8405864baa20f986eaf29d",
    "essential_ph_1": "a97165c8669a216b9ca046041c83a07352bd07f2a42e2d8fea8b51e7ddbcabf0",
    "gold_6226": "6a00f63d14f67f8007ec04519f638a90aa6ed5357cf5c0e60c391df37f186c99",
    "gold_6240": "ac6dd41f183de69bba21dec3954ac73333b7dec871e0defbcce0572d82536890",
    "pixel2": "051845ddefc2bc138f21e2217f6c7827fe280c78375cbfb4b5bd252a888cb950",
    "pixel3": "cf1387da12e06b1d4541ce85f3ca4869d551084e09daf4acf024b6e21a80d465",
    "raspi4": "2fae425c50bcaef7aacc5391244cd0af98bfc7fba689a8741e461cb18192f57c",
    "samsung_a50": "0872cb4ec8ecc7ea1b3bd8c98dd705f2d0f6e4940f3af833b313e484de39b155",
    "samsung_s7": "dbae32364b882022adb044b2aa1af77b66f43a180930d9be4d4c13532429f0ea",
    "silver_4114": "0cce9dc9ba62ad81c21275298a88cb0e4534db6474a878f089df0abb13293421",
    "silver_4210r": "f976049bda39abde94b8f8cac90140cb78a5069fc145c462d6d6bc2f8450727a",
    "titan_rtx_1": "a854dac331e2a37d7dcd6ee1f63d1bc6d73ead3aeb0a86f803f45ea1b294859e",
    "titan_rtx_256": "cff1fba40b1743d3716cfb74c86ac2463d0682c146f356fa9095ac0d02dfb2a5",
    "titan_rtx_32": "1258bee5501fe191530b9898a4f55a122ab30beec9c6ea74598c47a0173babed",
    "titanx_1": "3461cc686263bd0ce4d4cd915bfc2fe067deb139cc68da387741bd6443434cb0",
    "titanx_256": "04ddb80719515687bd3d722235cd5da821b50bd453a9e580b1e9d321dfb92941",
    "titanx_32": "9c4ca69131e34451fb1e104caa47efbe12ffec3cc47bf051613674d7af044ff2",
    "titanxp_1": "935aa0041c6592bed90f2f94ff3b4d40e892c066467864b704e6583682a57b20",
    "titanxp_256": "9f03206bc62b0dcfc882820de07f55dc1fb7f43f57dfc977e4f0f4b019cb5041",
    "titanxp_32": "4b6db63c7a9fb55177aa2649d70031dd86d2ed1609467ef5803dc1089a73cb1b",
}


def path_of(device: str) -> str:
    """Where in the repository a device's file lies."""
    return f"{FOLDER}/{device}.pt"


def quantity_of(device: str) -> str:
    """``1080ti_32`` holds ``1080ti_32_latency``, ``1080ti_1`` the latency at batch 1, ``1080ti_latency``."""
    return canonical(f"{device}_latency")


def read_list(data: bytes, what: str) -> list[float]:
    """The list of numbers in a file of ``torch.save`` in zip format. Raises DataError for anything else."""
    found: list[float] = contained(f"{__name__}:list_here", what, len(data), data, what)
    return found


def list_here(data: bytes, what: str) -> list[float]:
    """``read_list``, in the process that reads."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            named = next(info for info in archive.infolist() if info.filename.endswith("data.pkl"))
            if named.file_size > LIMIT or named.compress_type != zipfile.ZIP_STORED:
                raise DataError(
                    f"{what}: no zip file of torch.save: its pickle is compressed, or larger than {LIMIT:,} bytes"
                )
            inside = archive.read(named)
    except (zipfile.BadZipFile, zlib.error, StopIteration, OSError, EOFError, RuntimeError) as error:
        raise DataError(f"{what}: no zip file of torch.save ({error}); fetch it again") from None
    values: Any = loads(inside, what=what)
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        raise DataError(f"{what}: expected a list of numbers")
    return [float(value) for value in values]


def read(path: Path, sha256: str | None = None) -> NDArray[np.float64]:
    """One file as a column: milliseconds, float64 ``[15625]``. Raises DataError where it is not the published one."""
    data = read_bytes(path)
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256:
        raise DataError(f"{path}: SHA-256 is {found}, expected {sha256}")
    values = np.array(read_list(data, str(path)))
    size = spaces.get("tss").size
    if len(values) != size or not ((values > 0) & (values < np.inf)).all():
        raise DataError(f"{path}: expected {size:,} milliseconds, all above 0")
    return values


def columns(files: Mapping[str, Path], sha256: Mapping[str, str] = FILES) -> Columns:
    """The files of devices as columns of a hardware table."""
    return Columns({("cifar10", quantity_of(device)): read(path, sha256.get(device)) for device, path in files.items()})


def fetch(
    *,
    mirror: str | Path | None = None,
    sha256: Mapping[str, str] | None = None,
    force: bool = False,
    progress: Progress | None = None,
    timeout: float = 60.0,
    attempts: int = 6,
    pause: float = 1.0,
    files: Mapping[str, str] = FILES,
) -> Table:
    """Download HELP's files of tss, check them, and return the hardware table ``help`` made of them.

    ``mirror``: a checkout of the repository, a folder with its files, or the address of one. ``sha256``: file name ->
    SHA-256, instead of the recorded one. Other options as in `Bringer`; a stopped download goes on.
    Raises DataError for a file that cannot be had or is not the published one, naming it; no table is written then.
    """
    if mirror is not None and (Path(mirror).expanduser() / FOLDER).is_dir():
        mirror = Path(mirror).expanduser() / FOLDER
    bringer = Bringer(mirror, sha256, timeout, attempts, pause, progress)
    root = f"{RAW}/{REPOSITORY}/{COMMIT}"
    wanted = {f"{device}.pt": ([f"{root}/{path_of(device)}"], digest) for device, digest in files.items()}
    paths = bringer.bring(wanted, "nasharness data fetch hardware")
    made = columns({device: paths[f"{device}.pt"] for device in files}, {})
    card = CARD | {"files": {path_of(device): file_sha256(paths[f"{device}.pt"]) for device in files}}
    table = write(spaces.get("tss"), "help", made, card, force=force, dtype="float32")
    bringer.discard(paths.values())
    return table
