"""Images as encoded bytes in parquet: columns ``jpeg`` (bytes) and ``label`` (whole numbers from 0).

A set is some files whose names hold 'train' and some whose names hold 'test'; or one file, or files without such names,
which are split by class, a fifth for testing. JPEG loses detail: accuracies are not comparable with published ones.
"""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from nasharness.errors import DataError, UsageError
from nasharness.images.base import LARGEST_SIDE, ImageSet, Labels, Pixels, build, require
from nasharness.images.stratified import stratified
from nasharness.storage import regular
from nasharness.storage.contained import contained

#: bytes of the pixels of the largest file; CIFAR-10 has 184 MB
MOST = 1 << 29
TEST_FRACTION = 0.2
SEED = 0
LOSSY = "JPEG, which loses detail: not comparable with published accuracies"


def image_files(folder: Path) -> list[Path]:
    """The parquet files of ``folder`` that have the two columns, by name."""
    found = []
    for path in filter(Path.is_file, sorted(folder.glob("*.parquet"))):
        try:
            columns = set(parquet.read_schema(path).names)
        except (pa.ArrowException, OSError):
            continue  # not an image file as far as anyone can tell; a named one is opened and then complains
        if {"jpeg", "label"} <= columns:
            found.append(path)
    return found


def read(
    name: str,
    paths: list[Path],
    *,
    classes: int | None = None,
    class_names: tuple[str, ...] | None = None,
) -> ImageSet:
    """Read a set from parquet files. ``name``: what to call it; ``classes``: None for what the labels say.

    Raises DataError for a file or an image that cannot be read, naming the row; UsageError where the files are of
    several sets, or Pillow is absent.
    """
    _one_set(paths)
    test_files = [path for path in paths if "test" in path.stem.lower()]
    train_files = [path for path in paths if "train" in path.stem.lower() and path not in test_files]
    if train_files and test_files:
        train, test = _read_all(train_files), _read_all(test_files)
        used = [*train_files, *test_files]
        note = f"{len(train[0]):,} + {len(test[0]):,} images"
    else:
        used = paths
        x, y = _read_all(used)
        kept, held = stratified(y, TEST_FRACTION, np.random.default_rng(SEED))
        train, test = (x[kept], y[kept]), (x[held], y[held])
        note = f"{len(kept):,} images, {len(held):,} held back for testing, by class (seed {SEED})"
    source = f"{', '.join(path.name for path in used)} in {used[0].parent} ({note}; {LOSSY})"
    return build(name, train, test, source=source, classes=classes, class_names=class_names)


def _one_set(paths: list[Path]) -> None:
    """Refuse files of several sets: those whose names differ before 'train' and 'test'."""
    stems = {re.split(r"[_.-]?(?:train|test)", path.stem.lower())[0] for path in paths}
    named = [path for path in paths if re.search("train|test", path.stem.lower())]
    if named and len(stems) > 1:
        raise UsageError(
            f"{paths[0].parent} holds images of several sets ({', '.join(sorted(stems))}); name one file, or put each "
            "set in a folder of its own"
        )


def _read_all(paths: list[Path]) -> tuple[Pixels, Labels]:
    parts = [_read(path) for path in paths]
    for path, (x, _) in zip(paths, parts, strict=True):
        if x.shape[2] != parts[0][0].shape[2]:
            raise DataError(f"{path}: images have side {x.shape[2]}, those of {paths[0].name} {parts[0][0].shape[2]}")
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def _read(path: Path) -> tuple[Pixels, Labels]:
    require("PIL.Image", "Pillow", "reading JPEG images")
    try:
        with regular(path) as file:
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    pixels, labels = contained(f"{__name__}:read_here", str(path), size, str(path), fork=False)
    return pixels, labels


def read_here(name: str) -> tuple[Pixels, Labels]:
    """Pixels and labels of a file, in the process that reads. Raises DataError."""
    path = Path(name)
    try:
        table = parquet.read_table(path, columns=["jpeg", "label"])
    except (pa.ArrowException, OSError, KeyError) as error:
        reason = " ".join(str(error).split())[:160]
        raise DataError(f"{path}: cannot be read as parquet with the columns 'jpeg' and 'label' ({reason})") from None
    missing = {"jpeg", "label"} - set(table.column_names)
    if missing:
        raise DataError(f"{path}: no column {sorted(missing)[0]!r}; expected 'jpeg' (bytes) and 'label' (0, 1, ...)")
    if not pa.types.is_integer(table.schema.field("label").type) or table["label"].null_count:
        raise DataError(
            f"{path}: column 'label' is {table.schema.field('label').type}, expected whole numbers, no nulls"
        )
    kind = table.schema.field("jpeg").type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise DataError(f"{path}: column 'jpeg' is {kind}, expected bytes")
    if table.num_rows == 0:
        raise DataError(f"{path}: no rows")
    y = table["label"].to_numpy().astype(np.int64)
    return _decode(table["jpeg"].to_pylist(), path), y


def _decode(images: list[bytes | None], path: Path) -> Pixels:
    """Decode to uint8 ``[n, 3, side, side]``."""
    module: Any = require("PIL.Image", "Pillow", "reading JPEG images")
    out: Pixels | None = None
    side = 0
    for row, data in enumerate(images):
        if data is None:
            raise DataError(f"{path}: row {row:,} has no image (null)")
        try:
            with module.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
                width, height = image.size
                if out is None:
                    side = width
                    if width != height or width > LARGEST_SIDE:
                        raise DataError(
                            f"{path}: row {row:,} is {width} x {height} pixels; expected square images of at most "
                            f"{LARGEST_SIDE}"
                        )
                    if len(images) * side * side * 3 > MOST:
                        raise DataError(f"{path}: {len(images):,} images of {side} x {side}; at most {MOST:,} bytes")
                    out = np.empty((len(images), side, side, 3), dtype=np.uint8)
                elif (width, height) != (side, side):
                    raise DataError(
                        f"{path}: row {row:,} is {width} x {height} pixels, expected {side} x {side} as in row 0"
                    )
                out[row] = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
        except DataError:
            raise
        except Exception as error:  # whatever a decoder raises for bytes that are no image
            reason = "no JPEG or PNG image" if type(error).__name__ == "UnidentifiedImageError" else str(error)
            raise DataError(f"{path}: row {row:,} cannot be decoded ({' '.join(reason.split())[:120]})") from None
    if out is None:
        raise DataError(f"{path}: no rows")
    return np.ascontiguousarray(out.transpose(0, 3, 1, 2))
