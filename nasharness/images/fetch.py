"""Downloads the published archives of CIFAR-10 and CIFAR-100, checks them, and keeps them where ``load`` looks."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from nasharness.errors import DataError, UsageError, unknown
from nasharness.images import imagenet16
from nasharness.images.archive import md5_of_file
from nasharness.images.catalogue import image_dir
from nasharness.images.cifar import CIFAR, Layout
from nasharness.storage import file_sha256
from nasharness.storage.download import NotThere, Progress, discard, download
from nasharness.storage.places import data_dir


def fetch_images(
    name: str,
    *,
    mirror: str | Path | None = None,
    sha256: Mapping[str, str] | None = None,
    force: bool = False,
    progress: Progress | None = None,
    timeout: float = 60.0,
    attempts: int = 6,
    pause: float = 1.0,
    layouts: Mapping[str, Layout] = CIFAR,
) -> Path:
    """Bring the archive of ``cifar10`` or ``cifar100`` and return where it lies.

    ``mirror``: a folder, or the address of one, that holds a file of the published name. ``sha256``: file name ->
    SHA-256, checked in place of the published MD5. ``force``: fetch again what is there already. The rest: as in
    ``download``; a stopped download is resumed by the next call.

    Raises UsageError for a name that cannot be fetched, DataError for an archive that cannot be had or is not the
    published one; nothing is kept of it then.
    """
    if name == "digits":
        raise UsageError("the digits ship with scikit-learn and are not fetched; use --images digits")
    if name == "ImageNet16-120":
        raise UsageError(f"ImageNet16-120 cannot be fetched: {imagenet16.HOW_TO_GET}")
    if name not in layouts:
        raise unknown(
            "set of images",
            name,
            layouts,
            "nasharness data fetch cifar10|cifar100, or a table, as nasharness data fetch --help says",
        )
    layout = layouts[name]
    for file in sha256 or {}:
        if file != layout.archive:
            raise unknown("file", file, [layout.archive])
    wanted = (sha256 or {}).get(layout.archive)
    target = image_dir() / layout.archive
    if target.is_file() and not force and not _wrong(target, layout, wanted):
        return target
    staged = data_dir() / "downloads" / layout.archive
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if mirror is None or str(mirror).lower().startswith(("http://", "https://")):
            _download(layout, staged, mirror, progress, timeout, attempts, pause)
        else:
            _copy(Path(mirror).expanduser() / layout.archive, staged)
        wrong = _wrong(staged, layout, wanted)
        if wrong:
            discard(staged)
            raise DataError(f"{layout.archive}: {wrong}; what was fetched is removed, fetch it again")
        staged.replace(target)
    except OSError as error:
        raise DataError(f"cannot write {target}: {error.strerror or error}") from None
    return target


def _copy(source: Path, staged: Path) -> None:
    if not source.is_file():
        raise UsageError(f"no {source.name} in {source.parent}; --mirror takes a folder, or the address of one")
    staged.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, staged)


def _download(
    layout: Layout,
    staged: Path,
    mirror: str | Path | None,
    progress: Progress | None,
    timeout: float,
    attempts: int,
    pause: float,
) -> None:
    urls = layout.urls if mirror is None else (f"{str(mirror).rstrip('/')}/{layout.archive}",)
    missing = ""
    for url in urls:
        try:
            download(url, staged, timeout=timeout, attempts=attempts, pause=pause, progress=progress)
            return
        except NotThere as error:
            missing = str(error)
    raise DataError(f"{missing}; get {layout.archive} elsewhere and run: {layout.fix} --mirror DIR")


def _wrong(path: Path, layout: Layout, sha256: str | None) -> str:
    """What is wrong with an archive, empty where it is the one that is wanted."""
    kind, expected = ("SHA-256", sha256.lower()) if sha256 else ("MD5", layout.md5)
    found = file_sha256(path) if sha256 else md5_of_file(path)
    return "" if found == expected else f"{kind} is {found}, expected {expected}"
