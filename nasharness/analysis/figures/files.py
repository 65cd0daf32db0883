"""Files of figures: their formats, and writing them, each whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasharness.analysis.figures.style import save, setting
from nasharness.errors import UsageError, unknown
from nasharness.storage import as_cell, atomically, writing

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FORMATS = ("png", "pdf", "svg")


def check_formats(formats: Sequence[str]) -> None:
    """Raise UsageError for a format that figures are not written in."""
    for name in formats:
        if name not in FORMATS:
            raise unknown("format of figures", name, FORMATS, "nasharness figures --help")


def kind_of(path: Path) -> str:
    """The format that a file's ending asks for. Raises UsageError for another one."""
    kind = path.suffix[1:].lower()
    if kind not in FORMATS:
        raise UsageError(f"{path}: expected a name that ends in {', '.join('.' + name for name in FORMATS)}")
    return kind


def as_csv(data: pd.DataFrame) -> bytes:
    """The numbers that a figure draws."""
    safe = data.rename(columns=as_cell)
    texts = [place for place, kind in enumerate(safe.dtypes) if kind.kind not in "biufc"]
    for place in texts:
        safe.isetitem(place, safe.iloc[:, place].astype(object).map(as_cell))
    text: Any = safe.to_csv(index=False, lineterminator="\n")
    return bytes(text.encode())


def write_figure(
    folder: Path, name: str, figure: Figure, numbers: bytes, formats: Sequence[str], option: str = "--out"
) -> list[Path]:
    """Write NAME.csv with ``numbers``, and NAME.png (300 dpi), .pdf, .svg as asked; return them.

    Where captions are not drawn (`style.Setting`), NAME.txt has the caption.

    Raises UsageError, which names ``option``, where ``folder`` cannot be written.
    """
    files = {"csv": numbers} | {kind: save(figure, kind) for kind in formats}
    if not setting().captions:
        files["txt"] = f"{figure.get_label()}\n".encode()
    return write_all(folder, {f"{name}.{kind}": content for kind, content in files.items()}, option)


def write_all(folder: Path, files: Mapping[str, bytes], option: str = "--out") -> list[Path]:
    """Write ``files``, contents by name, into ``folder``, which is made. Raises UsageError where it cannot."""
    with writing(f"figures to {folder}", f"choose another {option}"):
        for name, content in files.items():
            atomically(folder / name, content)
    return [folder / name for name in files]


def write_picture(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write one picture to ``path``. Raises UsageError where it cannot."""
    target = Path(path)
    with writing(target, "choose another file"):
        atomically(target, content)
    return target
