"""ImageNet16-120: the first 120 classes of ImageNet at 16 x 16 pixels (Chrabaszcz et al., 2017).

The published batches hold all 1,000 classes, labelled 1..1000; 151,700 training and 6,000 validation images remain
(docs/reproduction/nats-bench.md#splits-and-recipe).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nasharness.errors import DataError
from nasharness.images.archive import md5
from nasharness.images.base import ImageSet, Labels, Pixels, build
from nasharness.images.pickles import LIMIT, images_of, read_batch

CLASSES = 120
COUNTS = (151_700, 6_000)
#: file -> MD5, as AutoDL-Projects checks them
TRAIN = {
    "train_data_batch_1": "27846dcaa50de8e21a7d1a35f30f0e91",
    "train_data_batch_2": "c7254a054e0e795c69120a5727050e3f",
    "train_data_batch_3": "4333d3df2e5ffb114b05d2ffc19b1e87",
    "train_data_batch_4": "1620cdf193304f4a92677b695d70d10f",
    "train_data_batch_5": "348b3c2fdbb3940c4e9e834affd3b18d",
    "train_data_batch_6": "6e765307c242a1b3d7d5ef9139b48945",
    "train_data_batch_7": "564926d8cbf8fc4818ba23d2faac7564",
    "train_data_batch_8": "f4755871f718ccb653440b9dd0ebac66",
    "train_data_batch_9": "bb6dd660c38c58552125b1a92f86b5d4",
    "train_data_batch_10": "8f03f34ac4b42271a294f91bf480f29b",
}
TEST = {"val_data": "3410e3017fdaefba8d5073aaa65e4bd6"}
HOW_TO_GET = (
    "it needs an account: download 'Train(16x16)' and 'Val(16x16)' from https://image-net.org/download-images, unpack "
    "them into one folder and pass it with --data"
)


def read(folder: Path) -> ImageSet:
    """Read the eleven batches of ``folder``. Raises DataError for one that is absent, damaged or hostile."""
    wrong: list[str] = []

    def batches(names: dict[str, str]) -> tuple[Pixels, Labels]:
        parts = []
        for name, digest in names.items():
            path = folder / name
            try:
                if path.stat().st_size > LIMIT:
                    raise DataError(f"{path}: larger than {LIMIT:,} bytes, which no batch of ImageNet16 is")
                data = path.read_bytes()
            except OSError as error:
                raise DataError(
                    f"cannot read {path}: {error.strerror or error}; expected train_data_batch_1..10 and val_data; "
                    f"{HOW_TO_GET}"
                ) from None
            if md5(data) != digest:
                wrong.append(name)
            x, y = images_of(read_batch(data, what=str(path)), 16, "labels", what=str(path))
            if len(y) and (y.min() < 1 or y.max() > 1000):
                raise DataError(f"{path}: labels from {y.min()} to {y.max()}, expected 1..1000")
            keep = y <= CLASSES
            parts.append((x[keep], y[keep] - 1))
        return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])

    train, test = batches(TRAIN), batches(TEST)
    note = "the published files" if not wrong else f"not the published files: MD5 of {', '.join(wrong)} differs"
    source = f"{folder} ({note})"
    counts = (len(train[0]), len(test[0]))
    if counts != COUNTS:
        source += f"; {counts[0]:,} + {counts[1]:,} images, published are {COUNTS[0]:,} + {COUNTS[1]:,}"
    return build("ImageNet16-120", train, test, source=source, classes=CLASSES, published=not wrong)
