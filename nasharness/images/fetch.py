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
from nasharness.storage import atomically, file_sha256, writing
from nasharness.storage.download import Bringer, Progress


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
    SHA-256, checked in place of the recorded one. ``force``: fetch again what is there already. The rest: as in
    ``download``; a stopped download is resumed by the next call.

    Raises UsageError for a name that cannot be fetched, DataError for an archive that cannot be had or is not the
    published one; nothing is kept of it then.
    """
    if name == "digits":
        raise UsageError("the digits ship with scikit-learn and are not fetched; use --images digits")
    if name == "ImageNet16-120":
        raise UsageError(f"ImageNet16-120 cannot be fetched: {imagenet16.HOW_TO_GET}")
    if name not in layouts:
        raise unknown("set of images", name, layouts, "nasharness data fetch --help")
    layout = layouts[name]
    for file in sha256 or {}:
        if file != layout.archive:
            raise unknown("file", file, [layout.archive])
    wanted = (sha256 or {}).get(layout.archive)
    target = image_dir() / layout.archive
    if target.is_file() and not force and not _wrong(target, layout, wanted):
        return target
    bringer = Bringer(mirror, None, timeout, attempts, pause, progress)
    path = bringer.bring({layout.archive: (layout.urls, None)}, layout.fix)[layout.archive]
    wrong = _wrong(path, layout, wanted)
    if wrong:
        bringer.discard([path])
        raise DataError(f"{layout.archive}: {wrong}; what was fetched is removed, fetch it again")
    with writing(target, "", DataError):
        atomically(target, lambda temporary: shutil.copyfile(path, temporary))
    bringer.discard([path])
    return target


def _wrong(path: Path, layout: Layout, sha256: str | None) -> str:
    """What is wrong with an archive, empty where it is the one that is wanted."""
    digest = (sha256 or layout.sha256).lower()
    kind, expected = ("SHA-256", digest) if digest else ("MD5", layout.md5)
    found = file_sha256(path) if digest else md5_of_file(path)
    return "" if found == expected else f"{kind} is {found}, expected {expected}"
