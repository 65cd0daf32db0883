"""Devices: latency and energy of architectures, whichever table answers for their accuracies.

>>> from nasharness import hardware, spaces
>>> tss = spaces.get("tss")
>>> raspi4 = hardware.find(tss, "cifar10", "raspi4_latency")
>>> round(float(hardware.reader(raspi4)(0)), 3), raspi4.unit
(10.482, 'ms')
"""

from nasharness.hardware.catalogue import column, every, find, quantities, reader, tables
from nasharness.hardware.quantity import HOW_TO_GET, Quantity, looks_like_one, unknown_quantity

__all__ = [
    "HOW_TO_GET",
    "Quantity",
    "column",
    "every",
    "find",
    "looks_like_one",
    "quantities",
    "reader",
    "tables",
    "unknown_quantity",
]
