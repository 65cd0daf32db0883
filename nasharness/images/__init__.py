"""Real images as numpy arrays: published archives, folders of JPEGs in parquet, and the splits of NATS-Bench.

Nothing here needs torch. ``load(name, data)`` reads a set, ``split`` says which images train weights, which judge
architectures and which test.
"""

from nasharness.images.base import ImageSet
from nasharness.images.catalogue import image_dir, load, names
from nasharness.images.splits import SCHEMES, Split, split

__all__ = ["SCHEMES", "ImageSet", "Split", "image_dir", "load", "names", "split"]
