"""Images as encoded bytes in parquet: columns ``jpeg`` (bytes) and ``label`` (whole numbers from 0).

A set is some files whose names hold 'train' and some whose names hold 'test'; or one file, or files without such names,
which are split by class, a fifth for testing. JPEG loses detail: accuracies are not comparable with published ones.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
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
#: pixels a side of images that are cut and scaled as they are read
LARGEST_UNCUT = 8 * LARGEST_SIDE
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
    table = rows_of(path, [])
    return decode(table["jpeg"].to_pylist(), path), table["label"].to_numpy().astype(np.int64)


def rows_of(path: Path, others: list[str]) -> pa.Table:
    """The rows of a file: encoded images, whole numbers as labels, and the columns ``others``. Raises DataError."""
    try:
        table = parquet.read_table(path, columns=["jpeg", "label", *others])
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
    return table


def decode(
    images: Sequence[bytes | None],
    path: Path,
    names: Sequence[str] | None = None,
    crop: int | None = None,
    fix: str = "",
) -> Pixels:
    """Decode to uint8 ``[n, 3, side, side]``.

    ``names``: what the images are called, where that is not by their rows in ``path``. ``crop``: pixels a side to which
    images of any size are cut and scaled; None where all are squares of one size. ``fix``: what to do about others, for
    the message. Raises DataError that names an image.
    """
    module: Any = require("PIL.Image", "Pillow", "reading JPEG images")
    fit = require("PIL.ImageOps", "Pillow", "reading JPEG images").fit
    out: Pixels | None = None
    side = 0
    for row, data in enumerate(images):
        where = f"{path}: row {row:,}" if names is None else f"{path / names[row]}:"
        if data is None:
            raise DataError(f"{where} has no image (null)")
        try:
            with module.open(io.BytesIO(data), formats=("JPEG", "PNG")) as opened:
                width, height = opened.size
                if crop is not None:
                    if max(width, height) > LARGEST_UNCUT:
                        raise DataError(f"{where} is {width} x {height} pixels; at most {LARGEST_UNCUT} a side")
                    width = height = crop
                if out is None:
                    side = width
                    if width != height or width > LARGEST_SIDE:
                        raise DataError(
                            f"{where} is {width} x {height} pixels; expected square images of at most {LARGEST_SIDE}"
                            f"{fix}"
                        )
                    if len(images) * side * side * 3 > MOST:
                        raise DataError(f"{path}: {len(images):,} images of {side} x {side}; at most {MOST:,} bytes")
                    out = np.empty((len(images), side, side, 3), dtype=np.uint8)
                elif (width, height) != (side, side):
                    first = "row 0" if names is None else names[0]
                    raise DataError(
                        f"{where} is {width} x {height} pixels, expected {side} x {side} as in {first}{fix}"
                    )
                image = opened if opened.mode == "RGB" else opened.convert("RGB")
                out[row] = np.asarray(image if crop is None else fit(image, (crop, crop), module.Resampling.BICUBIC))
        except DataError:
            raise
        except Exception as error:  # whatever a decoder raises for bytes that are no image
            reason = "no JPEG or PNG image" if type(error).__name__ == "UnidentifiedImageError" else str(error)
            raise DataError(f"{where} cannot be decoded ({' '.join(reason.split())[:120]})") from None
    if out is None:
        raise DataError(f"{path}: no rows")
    return np.ascontiguousarray(out.transpose(0, 3, 1, 2))
