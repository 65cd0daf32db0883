"""What every reader returns, and the checks that every set of images passes."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import DataError, UsageError
from nasharness.extras import pip_install

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]

#: Mean and standard deviation of the pixels, as NATS-Bench normalises them (AutoDL-Projects, ``get_datasets``), on the
#: scale 0..255.
PUBLISHED_STATISTICS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "cifar10": ((125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),
    "cifar100": ((129.3, 124.1, 112.4), (68.2, 65.4, 70.4)),
    "ImageNet16-120": ((122.68, 116.66, 104.01), (63.22, 61.26, 65.09)),
}
#: no set that is read here has more classes, or larger images
MOST_CLASSES = 10_000
LARGEST_SIDE = 1_024


@dataclass(frozen=True)
class ImageSet:
    """Images and labels, for training and for testing.

    ``train_x``, ``test_x``: uint8 ``[n, 3, side, side]``, RGB. ``train_y``, ``test_y``: int64 ``[n]`` in
    0..classes-1. ``mean``, ``std``: of the three channels, of pixels scaled to [0, 1]. ``source``: the files that were
    read, for people. ``checksum``: SHA-256 of pixels and labels. ``published``: whether these are the images that
    published accuracies were measured on. ``mirrored``: whether a picture and its mirror image are of the same class.
    """

    name: str
    train_x: Pixels
    train_y: Labels
    test_x: Pixels
    test_y: Labels
    classes: int
    class_names: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    source: str
    checksum: str
    published: bool = False
    mirrored: bool = True

    @property
    def side(self) -> int:
        """Height and width of every image, in pixels."""
        return int(self.train_x.shape[-1])


def build(
    name: str,
    train: tuple[Pixels, Labels],
    test: tuple[Pixels, Labels],
    *,
    source: str,
    classes: int | None = None,
    class_names: Sequence[str] | None = None,
    published: bool = False,
    mirrored: bool = True,
) -> ImageSet:
    """Check pixels and labels against each other and put a set together.

    ``classes``: None for one more than the largest label. Mean and standard deviation are the published ones for the
    published names, else computed from the training images. Raises DataError for what is no set of images.
    """
    for part, (x, y) in (("training", train), ("test", test)):
        if len(x) == 0:
            raise DataError(f"{name}: no {part} images in {source}")
        if x.dtype != np.uint8 or x.ndim != 4 or x.shape[1] != 3 or x.shape[2] != x.shape[3]:
            raise DataError(
                f"{name}: the {part} images are {x.dtype} {list(x.shape)}, expected uint8 [n, 3, side, side]"
            )
        if len(y) != len(x):
            raise DataError(f"{name}: {len(x):,} {part} images but {len(y):,} labels in {source}")
    if train[0].shape[2] != test[0].shape[2]:
        raise DataError(
            f"{name}: training images have side {train[0].shape[2]}, test images {test[0].shape[2]} ({source})"
        )
    count = classes if classes is not None else int(max(train[1].max(), test[1].max())) + 1
    most = min(count, MOST_CLASSES)
    for part, (_, y) in (("training", train), ("test", test)):
        wrong = np.flatnonzero((y < 0) | (y >= most))
        if len(wrong):
            raise DataError(
                f"{name}: {part} image {wrong[0]:,} has label {y[wrong[0]]}, expected 0..{most - 1} ({source})"
            )
    if count < 2:
        raise DataError(f"{name}: every image in {source} has label 0; expected two classes or more")
    labels = tuple(class_names) if class_names is not None else tuple(str(k) for k in range(count))
    mean, std = _statistics(name, train[0])
    return ImageSet(
        name=name,
        train_x=np.ascontiguousarray(train[0]),
        train_y=train[1].astype(np.int64),
        test_x=np.ascontiguousarray(test[0]),
        test_y=test[1].astype(np.int64),
        classes=count,
        class_names=labels,
        mean=mean,
        std=std,
        source=source,
        checksum=_checksum(train, test),
        published=published,
        mirrored=mirrored,
    )


def require(module: str, package: str, what: str) -> Any:
    """Import an optional module. Raises UsageError that names the extra to install."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UsageError(f"{what} needs {package}; install it with: {pip_install('train')}") from None


def _statistics(name: str, x: Pixels) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    if name in PUBLISHED_STATISTICS:
        published = PUBLISHED_STATISTICS[name]
        return _triple([value / 255 for value in published[0]]), _triple([value / 255 for value in published[1]])
    # Histograms: exact, and no float copy of the whole set.
    values = np.arange(256) / 255
    means: list[float] = []
    deviations: list[float] = []
    for channel in range(3):
        share = np.bincount(x[:, channel].reshape(-1), minlength=256) / x[:, channel].size
        mean = float(share @ values)
        means.append(mean)
        deviations.append(
            max(float(share @ (values - mean) ** 2) ** 0.5, 1e-3)
        )  # one grey all over is no division by 0
    return _triple(means), _triple(deviations)


def _triple(values: Sequence[float]) -> tuple[float, float, float]:
    return (values[0], values[1], values[2])


def _checksum(*parts: tuple[Pixels, Labels]) -> str:
    digest = hashlib.sha256()
    for x, y in parts:
        digest.update(repr(x.shape).encode())
        digest.update(np.ascontiguousarray(x).data)
        digest.update(np.ascontiguousarray(y.astype("<i8")).data)
    return digest.hexdigest()
