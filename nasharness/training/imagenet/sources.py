"""Where labelled images lie: a folder for each class, or tar shards; any one can be read at any time.

``DIR/train/CLASS/*.jpg`` and ``DIR/val/CLASS/*.jpg`` (ImageFolder), or ``DIR/train/*.tar`` and ``DIR/val/*.tar`` with
pairs ``NAME.jpg`` + ``NAME.cls`` (a number as text) or ``NAME.json`` (``{"label": 3}``), as WebDataset writes them;
class names then come from ``DIR/classes.txt``, one a line, if it exists. Shards are indexed once and then read at an
offset, so that images can be drawn in any order and a run can go on in the middle of an epoch. For shards ``DIR`` may
be a URL that fsspec knows.
"""

from __future__ import annotations

import abc
import hashlib
import json
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nasharness.errors import DataError
from nasharness.training.imagenet.remote import RemotePath, is_url, reachable

SUFFIXES = (".jpg", ".jpeg", ".png")
#: No photograph is larger; a member of an archive that says so is not read.
LARGEST = 256 * 2**20
#: A label decides how large the network is: a larger one is a mistake, and would take all memory.
MOST_CLASSES = 1_000_000
_LAYOUT = "expected {root}/{split}/CLASS/*.jpg, or {root}/{split}/*.tar with NAME.jpg and NAME.cls"


#: a folder or a file, here or at a URL
Place = Path | RemotePath


class ImageSource(abc.ABC):
    """Images of one split. ``labels``: int64 [n]; ``classes``: their names, in order; ``checksum`` of the listing."""

    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    checksum: str

    def __len__(self) -> int:
        return len(self.labels)

    @abc.abstractmethod
    def name(self, index: int) -> str:
        """Return what to call an image in a message."""

    @abc.abstractmethod
    def read(self, index: int) -> bytes:
        """Return the file's bytes. Raises OSError."""


def open_split(place: Path | str, split: str, classes: tuple[str, ...] | None = None) -> ImageSource:
    """Find the images of ``"train"`` or ``"val"``.

    ``place``: a folder, or a URL. ``classes``: those of the training split, which this one must have too.

    Raises:
        DataError: nothing is there, a class is missing or empty, a shard is damaged.
        UsageError: the URL needs a package that is not installed, or is none.
    """
    root = reachable(str(place)) if is_url(place) else Path(place)
    folder = root / split
    layout = _LAYOUT.format(root=root, split=split)
    if not root.is_dir():
        raise DataError(f"--data {root}: there is no such folder; {layout}")
    if not folder.is_dir():
        raise DataError(f"--data {root}: there is no folder {split} in it; {layout}")
    try:
        shards: list[Place] = sorted([*folder.glob("*.tar")], key=str)
        if not shards and isinstance(folder, RemotePath):
            raise DataError(f"--data {root}: no *.tar in {split}; at a URL, images come in tar shards")
        source: ImageSource = Shards(root, shards, classes) if shards else Folders(Path(str(folder)), layout)
    except OSError as error:
        raise DataError(f"cannot read {error.filename or folder}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{root / 'classes.txt'} is not text in UTF-8 ({error})") from error
    if classes is not None and source.classes != classes:
        missing = [name for name in classes if name not in source.classes]
        extra = [name for name in source.classes if name not in classes]
        raise DataError(
            f"{folder} has {len(source.classes)} classes and the training images {len(classes)}"
            + (f"; missing: {_some(missing)}" if missing else "")
            + (f"; not trained on: {_some(extra)}" if extra else "")
        )
    return source


class Folders(ImageSource):
    """``folder/CLASS/*.jpg``; classes and files in the order of their names."""

    def __init__(self, folder: Path, layout: str) -> None:
        self.folder = folder
        self.classes = tuple(
            sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
        )
        if not self.classes:
            raise DataError(f"{folder} has no class folders; {layout}")
        names: list[bytes] = []
        labels: list[int] = []
        for label, name in enumerate(self.classes):
            files = sorted(
                os.fsencode(entry.name)
                for entry in os.scandir(folder / name)
                if entry.name.lower().endswith(SUFFIXES) and not entry.name.startswith(".")
            )
            if not files:
                raise DataError(f"class folder {folder / name} has no image ({', '.join(SUFFIXES)})")
            names += files
            labels += [label] * len(files)
        self._names = np.array(names)  # bytes of equal length: a tenth of a list's memory, and not copied by workers
        self.labels = np.array(labels, dtype=np.int64)
        self.checksum = _checksum(self.classes, self._names, self.labels)

    def name(self, index: int) -> str:
        return str(self._path(index))

    def read(self, index: int) -> bytes:
        return self._path(index).read_bytes()

    def _path(self, index: int) -> Path:
        name: str = os.fsdecode(bytes(self._names[index]))
        return self.folder / self.classes[int(self.labels[index])] / name


class Shards(ImageSource):
    """Images in uncompressed tar files, in the order of the files and of their members."""

    def __init__(self, root: Place, paths: Sequence[Place], classes: tuple[str, ...] | None) -> None:
        self.paths = paths
        self._open: dict[tuple[int, int], int] = {}
        names: list[bytes] = []
        places: list[tuple[int, int, int]] = []
        labels: list[int] = []
        for number, path in enumerate(paths):
            for name, offset, size, label in _index(path):
                names.append(os.fsencode(name))
                places.append((number, offset, size))
                labels.append(label)
        if not names:
            raise DataError(f"the {len(paths)} tar files in {paths[0].parent} have no image with a label")
        self._names, self._places = np.array(names), np.array(places, dtype=np.int64)
        self.labels = np.array(labels, dtype=np.int64)
        self.classes = _class_names(root, int(self.labels.max()) + 1, classes)
        self.checksum = _checksum(self.classes, self._names, self.labels)

    def name(self, index: int) -> str:
        return f"{self.paths[self._places[index, 0]]}:{os.fsdecode(bytes(self._names[index]))}"

    def read(self, index: int) -> bytes:
        number, offset, size = (int(value) for value in self._places[index])
        path = self.paths[number]
        if isinstance(path, RemotePath):
            data = path.range(offset, size)
        else:
            data = self._local(number, path, offset, size)
        if len(data) < size:
            raise OSError(f"{path} ends within a member")
        return data

    def _local(self, number: int, path: Path, offset: int, size: int) -> bytes:
        key = os.getpid(), number
        if key not in self._open:
            self._open[key] = os.open(path, os.O_RDONLY)
        return os.pread(self._open[key], size, offset)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": {}}  # open files are a process's own


def _index(path: Place) -> list[tuple[str, int, int, int]]:
    """Return (name, offset, size, label) of every image of a shard."""
    images: dict[str, tuple[str, int, int]] = {}
    labels: dict[str, int] = {}
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                key, suffix = _split(member.name)
                if not member.isreg() or member.issparse() or not key:
                    continue
                if member.size < 0:  # a damaged header; the next member would be sought before this one
                    raise DataError(f"{path}: {member.name} claims {member.size:,} bytes")
                if suffix in SUFFIXES:
                    if member.size > LARGEST:
                        raise DataError(f"{path}: {member.name} is {member.size:,} bytes, more than any photograph")
                    images[key] = member.name, member.offset_data, member.size
                elif suffix in (".cls", ".json"):
                    content = archive.extractfile(member)
                    labels.setdefault(key, _label(path, member.name, content.read(65536) if content else b""))
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{path} is not a whole, uncompressed tar file ({error})") from error
    missing = [key for key in images if key not in labels]
    if missing:
        raise DataError(f"{path}: no label for {_some(missing)}; expected {missing[0]}.cls or {missing[0]}.json")
    return [(name, offset, size, labels[key]) for key, (name, offset, size) in images.items()]


def _split(name: str) -> tuple[str, str]:
    """Split ``a/b.c.jpg`` into ``a/b`` and ``.jpg``, as WebDataset groups members by the name up to the first dot."""
    folder, _, base = name.rpartition("/")
    stem, dot, _ = base.partition(".")
    return (f"{folder}/{stem}" if folder else stem), (dot + base.rpartition(".")[2].lower() if dot else "")


def _label(path: Place, member: str, data: bytes) -> int:
    try:
        value = json.loads(data)
        if isinstance(value, dict):
            value = value["label"] if "label" in value else value["cls"]
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MOST_CLASSES:
            raise ValueError
    except (ValueError, KeyError, RecursionError) as error:
        raise DataError(
            f'{path}: {member} holds no label; expected a number from 0 to {MOST_CLASSES - 1}, or {{"label": 3}}'
        ) from error
    return value


def _class_names(root: Place, count: int, classes: tuple[str, ...] | None) -> tuple[str, ...]:
    path = root / "classes.txt"
    if path.is_file():
        named = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
        if len(named) < count:
            raise DataError(f"{path} names {len(named)} classes, but there is a label {count - 1}")
        return named
    if classes is not None and count <= len(classes):
        return classes  # the last classes may well be absent from a few validation images
    return tuple(str(number) for number in range(count))


def _checksum(classes: tuple[str, ...], names: npt.NDArray[np.bytes_], labels: npt.NDArray[np.int64]) -> str:
    digest = hashlib.sha256(os.fsencode("\n".join(classes)))
    digest.update(names.tobytes())
    digest.update(labels.tobytes())
    return digest.hexdigest()


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
