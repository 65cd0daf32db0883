"""What a trained network sees in image files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nasharness.errors import DataError
from nasharness.storage import reason
from nasharness.tasks import Answer
from nasharness.training.imagenet.decode import BadImage, central, decode
from nasharness.training.imagenet.export import as_function, load_file, load_run


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of an image, best first: (name, probability). ``error``: why there are none."""

    path: Path
    classes: tuple[tuple[str, float], ...] = ()
    error: str = ""


def predict(
    model: Path, images: Sequence[Path], *, top: int = 5, weights: str | None = None, trust: bool = False
) -> Iterator[Prediction]:
    """Yield a prediction for every image; one that cannot be read has ``error`` and the others go on.

    Args:
        model: folder of a run, or a file that ``nasharness export`` wrote.
        images: files, cropped as in the run's evaluation.
        top: how many classes.
        weights: of a run, see :func:`nasharness.training.imagenet.export.load_run`.
        trust: load a ``.pt2`` file, which can run code.

    Raises:
        DataError, UsageError: as for loading the model.
    """
    if model.is_dir():
        module, described = load_run(model, weights)
        run = as_function(module)
    else:
        run, described = load_file(model, trust=trust)
    crop = central(described.eval_crop, square=described.eval_square)
    for path in images:
        try:
            pixels = decode(path.read_bytes(), crop, described.size, described.eval_resizer)
        except BadImage as error:
            yield Prediction(path, error=str(error))
            continue
        except OSError as error:
            yield Prediction(path, error=reason(error))
            continue
        logits = run(pixels.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255))[0].astype(np.float64)
        if len(logits) != len(described.class_names):
            raise DataError(f"{model} gives {len(logits)} classes, but names {len(described.class_names)}")
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        best = np.argsort(-shares, kind="stable")[:top]
        yield Prediction(path, tuple((described.class_names[index], float(shares[index])) for index in best))


def answers(
    model: Path, files: Sequence[Path], *, top: int, weights: str | None, trust: bool, **_: Any
) -> Iterator[Answer]:
    """`predict` as a task offers it."""
    for seen in predict(model, files, top=top, weights=weights, trust=trust):
        classes = [{"class": name, "probability": share} for name, share in seen.classes]
        line = f"{seen.path}: " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in seen.classes)
        yield Answer(line, {"image": str(seen.path), "classes": classes}, seen.error and f"{seen.path}: {seen.error}")
