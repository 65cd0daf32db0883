"""Draw one figure of the committed reference studies into ``paper_figs/figures``: PNG, PDF, and the numbers as CSV."""

import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image

from nasharness.analysis import figures
from nasharness.studies import load

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
#: Figures of several objectives and of devices, from a study that searched by them.
OF_FRONTS = ("device-agreement", "device-best", "fronts", "hypervolume", "under-limits")


def make(name: str, study: str = "", called: str = "") -> None:
    """Draw the figure ``name`` of a study, ``called`` otherwise; the PNG gets a palette, which keeps a clone small."""
    study = study or ("tss-fronts" if name in OF_FRONTS else "tss-embedded")
    with tempfile.TemporaryDirectory() as folder:
        for path in figures.draw(load(RESULTS / study), folder, only=[name]).written:
            if path.suffix == ".png":
                _to_palette(path)
            shutil.move(path, HERE / "figures" / f"{called or name}{path.suffix}")


def _to_palette(path: Path) -> None:
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(255, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE, kmeans=1)
        dpi = image.info.get("dpi", (300, 300))
    target = io.BytesIO()
    small.save(target, "PNG", optimize=True, dpi=dpi)
    path.write_bytes(target.getvalue())
