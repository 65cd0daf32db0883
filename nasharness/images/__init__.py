"""Real images as numpy arrays: published archives, folders of JPEGs in parquet, and the splits of NATS-Bench.

Nothing here needs torch. ``load(name, data)`` reads a set, ``split`` says which images train weights, which judge
architectures and which test. ``load_domains`` reads images in domains, ``leave_out`` holds one of these out.
"""

from nasharness.images.base import ImageSet
from nasharness.images.catalogue import image_dir, load, load_domains, names
from nasharness.images.domains import DomainSet, leave_out
from nasharness.images.splits import SCHEMES, Split, split

__all__ = [
    "SCHEMES",
    "DomainSet",
    "ImageSet",
    "Split",
    "image_dir",
    "leave_out",
    "load",
    "load_domains",
    "names",
    "split",
]
