"""CIFAR-10 and CIFAR-100 in their published form, python version (Krizhevsky, 2009), packed or unpacked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nasharness.errors import DataError
from nasharness.images.archive import md5, md5_of_file, read_members
from nasharness.images.base import ImageSet, Labels, Pixels, build
from nasharness.images.pickles import LIMIT, images_of, read_batch, strings_of

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class Layout:
    """What a published archive holds. ``md5``: of the archive; ``members``: file -> its MD5, training files first.

    ``sha256``: of the archive, as Keras and others record it; empty where nobody has.
    """

    name: str
    archive: str
    folder: str
    md5: str
    urls: tuple[str, ...]
    train: dict[str, str]
    test: dict[str, str]
    meta: tuple[str, str]
    labels: str
    classes: int
    counts: tuple[int, int]
    sha256: str = ""

    @property
    def fix(self) -> str:
        """The command that brings the archive."""
        return f"nasharness data fetch {self.name}"


#: second addresses: where the page has moved to
CIFAR = {
    "cifar10": Layout(
        name="cifar10",
        archive="cifar-10-python.tar.gz",
        folder="cifar-10-batches-py",
        md5="c58f30108f718f92721af3b95e74349a",
        urls=(
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            "https://cave.cs.toronto.edu/kriz/cifar-10-python.tar.gz",
        ),
        train={
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        },
        test={"test_batch": "40351d587109b95175f43aff81a1287e"},
        meta=("batches.meta", "label_names"),
        labels="labels",
        classes=10,
        counts=(50_000, 10_000),
        sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    ),
    "cifar100": Layout(
        name="cifar100",
        archive="cifar-100-python.tar.gz",
        folder="cifar-100-python",
        md5="eb9058c3a382ffc7106e4002c42a8d85",
        urls=(
            "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
            "https://cave.cs.toronto.edu/kriz/cifar-100-python.tar.gz",
        ),
        train={"train": "16019d7e3df5f24257cddd939b257f8d"},
        test={"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
        meta=("meta", "fine_label_names"),
        labels="fine_labels",
        classes=100,
        counts=(50_000, 10_000),
        sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    ),
}


def read_archive(layout: Layout, path: Path) -> ImageSet:
    """Read the packed archive. Raises DataError for one that is damaged, hostile or of another layout."""
    wanted = (*layout.train, *layout.test)
    files = read_members(path, [f"{layout.folder}/{name}" for name in (*wanted, layout.meta[0])], fix=layout.fix)
    published = md5_of_file(path) == layout.md5
    note = "the published archive" if published else f"not the published archive: its MD5 is not {layout.md5}"
    return _assemble(
        layout,
        {name: files[f"{layout.folder}/{name}"] for name in (*wanted, layout.meta[0])},
        path,
        f"{path} ({note})",
        published,
    )


def read_folder(layout: Layout, folder: Path) -> ImageSet:
    """Read the unpacked files of ``folder``. Raises DataError for a file that is absent, damaged or hostile."""
    files = {}
    for name in (*layout.train, *layout.test, layout.meta[0]):
        path = folder / name
        try:
            if path.stat().st_size > LIMIT:
                raise DataError(f"{path}: larger than {LIMIT:,} bytes, which no batch of {layout.name} is")
            files[name] = path.read_bytes()
        except OSError as error:
            if name == layout.meta[0]:  # the names of the classes alone
                continue
            raise DataError(
                f"cannot read {path}: {error.strerror or error}; expected {', '.join((*layout.train, *layout.test))} "
                f"in {folder}; get them with: {layout.fix}"
            ) from None
    wrong = [name for name, digest in (layout.train | layout.test).items() if md5(files[name]) != digest]
    note = "the published files" if not wrong else f"not the published files: MD5 of {', '.join(wrong)} differs"
    return _assemble(layout, files, folder, f"{folder} ({note})", not wrong)


def _assemble(layout: Layout, files: dict[str, bytes], place: Path, source: str, published: bool) -> ImageSet:
    def batches(names: dict[str, str]) -> tuple[Pixels, Labels]:
        parts = []
        for name in names:
            what = f"{place}: {name}"
            try:
                parts.append(images_of(read_batch(files.pop(name), what=what), 32, layout.labels, what=what))
            except DataError as error:
                if "refused" in str(error):
                    raise
                raise DataError(f"{error}; get it with: {layout.fix}") from None
            if len(parts[-1][0]) != len(parts[0][0]):
                raise DataError(
                    f"{what}: {len(parts[-1][0]):,} images, but {next(iter(names))} has {len(parts[0][0]):,}; expected "
                    f"batches of equal size; get them with: {layout.fix}"
                )
        return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])

    names: tuple[str, ...] | None = CIFAR10_CLASSES if layout.name == "cifar10" else None
    if layout.meta[0] in files:
        what = f"{place}: {layout.meta[0]}"
        names = strings_of(read_batch(files.pop(layout.meta[0]), what=what), layout.meta[1]) or names
    train, test = batches(layout.train), batches(layout.test)
    counts = (len(train[0]), len(test[0]))
    if counts != layout.counts:
        source += f"; {counts[0]:,} + {counts[1]:,} images, published are {layout.counts[0]:,} + {layout.counts[1]:,}"
    if names is not None and len(names) != layout.classes:
        raise DataError(f"{place}: {layout.meta[0]} names {len(names)} classes, expected {layout.classes}")
    return build(
        layout.name, train, test, source=source, classes=layout.classes, class_names=names, published=published
    )
