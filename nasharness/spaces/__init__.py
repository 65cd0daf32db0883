"""Search spaces: the sets of architectures that searches run on.

>>> from nasharness import spaces
>>> tss = spaces.get("tss")
>>> tss.string(1462)
'|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|'
"""

from nasharness.spaces.base import Choices, Indices, Space
from nasharness.spaces.graph import LabelledGraph, Skeleton
from nasharness.spaces.listed import FilledSpace, ListedSpace
from nasharness.spaces.product import ChoiceSpace, ProductSpace
from nasharness.spaces.protocol import Protocol
from nasharness.spaces.registry import get, graph_names, graphs, is_graphs, names, register, registered
from nasharness.spaces.shrink import GraphSpace

__all__ = [
    "ChoiceSpace",
    "Choices",
    "FilledSpace",
    "GraphSpace",
    "Indices",
    "LabelledGraph",
    "ListedSpace",
    "ProductSpace",
    "Protocol",
    "Skeleton",
    "Space",
    "get",
    "graph_names",
    "graphs",
    "is_graphs",
    "names",
    "register",
    "registered",
]
