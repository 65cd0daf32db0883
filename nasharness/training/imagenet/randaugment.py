"""RandAugment: a few of fourteen operations an image, drawn uniformly, all at one magnitude.

Cubuk, Zoph, Shlens, Le: RandAugment, arXiv 1909.13719, with the ranges of AutoAugment (Cubuk et al., arXiv 1805.09501,
table 6). Ours: magnitude 0 moves and changes nothing and more of it always changes more, also of posterising and
solarising; directions are drawn.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image

#: magnitude at which an operation is at the end of AutoAugment's range
FULL = 10.0
#: what shows where an image was moved away
GREY = (128, 128, 128)
NAMES = (
    "identity", "auto-contrast", "equalise", "rotate", "solarise", "posterise", "colour", "contrast", "brightness",
    "sharpness", "shear-x", "shear-y", "translate-x", "translate-y",
)  # fmt: skip

Operation = tuple[str, float]


def drawn(layers: int, magnitude: float, rng: np.random.Generator) -> tuple[Operation, ...]:
    """Draw the operations of an image: (name, strength) each; 1 is the end of the range, below 0 another direction."""
    picks, signs = rng.integers(len(NAMES), size=layers), rng.integers(2, size=layers)
    return tuple((NAMES[pick], float(magnitude / FULL * (1 - 2 * s))) for pick, s in zip(picks, signs, strict=True))


def apply(pixels: npt.NDArray[np.uint8], operations: Sequence[Operation]) -> npt.NDArray[np.uint8]:
    """Return uint8 ``[h, w, 3]`` after the operations, in their order."""
    from PIL import Image

    image = Image.fromarray(pixels)
    for name, strength in operations:
        image = _made()[name](image, strength)
    return np.asarray(image)


@functools.cache
def _made() -> dict[str, Callable[[Image, float], Image]]:
    from PIL import ImageEnhance, ImageOps
    from PIL.Image import Transform

    def moved(image: Image, *matrix: float) -> Image:
        return image.transform(image.size, Transform.AFFINE, matrix, fillcolor=GREY)

    def enhanced(kind: Callable[[Image], ImageEnhance._Enhance]) -> Callable[[Image, float], Image]:
        return lambda image, v: kind(image).enhance(max(0.0, 1 + 0.9 * v))

    far = 150 / 331  # pixels of AutoAugment's images
    made: tuple[Callable[[Image, float], Image], ...] = (
        lambda image, _: image,
        lambda image, _: ImageOps.autocontrast(image),
        lambda image, _: ImageOps.equalize(image),
        lambda image, v: image.rotate(30 * v, fillcolor=GREY),
        lambda image, v: ImageOps.solarize(image, 256 - round(256 * min(1.0, abs(v)))),
        lambda image, v: ImageOps.posterize(image, max(1, 8 - round(4 * abs(v)))),
        *(enhanced(kind) for kind in (ImageEnhance.Color, ImageEnhance.Contrast, ImageEnhance.Brightness)),
        enhanced(ImageEnhance.Sharpness),
        lambda image, v: moved(image, 1, 0.3 * v, 0, 0, 1, 0),
        lambda image, v: moved(image, 1, 0, 0, 0.3 * v, 1, 0),
        lambda image, v: moved(image, 1, 0, round(far * v * image.width), 0, 1, 0),
        lambda image, v: moved(image, 1, 0, 0, 0, 1, round(far * v * image.height)),
    )
    return dict(zip(NAMES, made, strict=True))
