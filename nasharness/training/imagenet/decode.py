"""From a file's bytes to a crop of the network's size; what happens in the workers, on CPUs."""

from __future__ import annotations

import functools
import importlib
import io
import math
import struct
import warnings
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Box = tuple[float, float, float, float]
#: More pixels than any camera's: a header that claims more is an attack or damage.
MOST_PIXELS = 200_000_000
#: What is read, whatever a file is called: Pillow's other formats are rarer, and one of them starts a program.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")


#: Pillow's readers raise any of these on damage, SyntaxError included
_DAMAGE = (
    OSError, SyntaxError, ValueError, TypeError, ArithmeticError, EOFError, LookupError, AttributeError, struct.error,
    zlib.error,
)  # fmt: skip


class BadImage(Exception):  # noqa: N818 - a fact about a file, handled by whoever reads many
    """The bytes are no whole image."""


def decode(data: bytes, crop: Callable[[int, int], Box], size: int, resizer: str) -> npt.NDArray[np.uint8]:
    """Return the crop, resized to uint8 [size, size, 3].

    JPEG is decoded at the smallest scale (1, 1/2, 1/4, 1/8) at which the crop still has ``size`` pixels a side: most of
    the work of a large photograph is never done. ``simplejpeg`` decodes when it is installed, Pillow otherwise.

    Args:
        data: the file.
        crop: (width, height) -> (left, top, right, bottom), in pixels of the whole image.
        size: of the result, in pixels.
        resizer: ``bilinear``, ``nearest``, ``bicubic`` or ``area``.

    Raises:
        BadImage: the bytes cannot be read, end too early, or claim an absurd size.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged EXIF, large images: judged here
            image: Any = Image.open(io.BytesIO(data), formats=FORMATS)
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise BadImage(f"claims {width} x {height} pixels")
            box = crop(width, height)
            wanted = math.ceil(width * size / (box[2] - box[0])), math.ceil(height * size / (box[3] - box[1]))
            fast = _fast(data, wanted) if image.format == "JPEG" else None
            if fast is not None:
                image = Image.fromarray(fast)
            else:
                image.draft("RGB", wanted)
                image = image.convert("RGB")
            x, y = image.width / width, image.height / height
            scaled = box[0] * x, box[1] * y, min(box[2] * x, image.width), min(box[3] * y, image.height)
            methods = Image.Resampling
            method = {
                "bilinear": methods.BILINEAR, "nearest": methods.NEAREST,
                "bicubic": methods.BICUBIC, "area": methods.BOX,
            }[resizer]  # fmt: skip
            return np.asarray(image.resize((size, size), method, box=scaled))
    except BadImage:
        raise
    except UnidentifiedImageError as error:
        raise BadImage(f"is no {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image") from error
    except _DAMAGE as error:
        raise BadImage(str(error) or type(error).__name__) from error
    except Image.DecompressionBombError as error:
        raise BadImage("claims more pixels than any camera has") from error


def decoder() -> str:
    """Name the JPEG decoder in use."""
    return "Pillow" if _simplejpeg() is None else "simplejpeg"


@functools.cache
def _simplejpeg() -> Any:
    try:
        return importlib.import_module("simplejpeg")
    except ImportError:
        return None


def _fast(data: bytes, wanted: tuple[int, int]) -> npt.NDArray[np.uint8] | None:
    """Decode with simplejpeg; None where it is absent or refuses, so that Pillow has the last word."""
    library = _simplejpeg()
    if library is None:
        return None
    try:
        pixels: npt.NDArray[np.uint8] = library.decode_jpeg(
            data, colorspace="RGB", min_width=wanted[0], min_height=wanted[1], min_factor=1
        )
    except (ValueError, RuntimeError):
        return None
    return pixels


def central(share: float, *, square: bool) -> Callable[[int, int], Box]:
    """Return the crop of evaluation: ``share`` of both sides, or a square of ``share`` of the shorter one."""

    def crop(width: int, height: int) -> Box:
        w, h = (min(width, height) * share,) * 2 if square else (width * share, height * share)
        return (width - w) / 2, (height - h) / 2, (width + w) / 2, (height + h) / 2

    return crop
