"""Devices whose published numbers are a formula: Eyeriss and the FPGA of HW-NAS-Bench on the topology space.

HW-NAS-Bench (Li et al., ICLR 2021, arXiv 2103.10584) estimated both with simulators, which price each operation of a
cell by itself. Its published numbers are linear in the counts of operations among the six edges: dead edges count, none
and skip cost nothing, and average pooling is priced on Eyeriss like a full 3x3 convolution. On CIFAR-10 the forms equal
the published values of all cells that were compared, 12,554 of the 15,625, to 1e-14. On CIFAR-100 and ImageNet16-120
they were solved from, and equal, the three rows of its example notebook; what three rows do not determine is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nasharness.spaces.base import Floats, Indices, Space

#: from the numbers of 1x1 convolutions, 3x3 convolutions and average poolings ``[...]`` to values ``[...]``
Form = Callable[[Floats, Floats, Floats], Floats]

SOURCE = "HW-NAS-Bench v1.0"
THREE_ROWS = f"{SOURCE}, by three of its rows"
LICENCE = "MIT, Copyright (c) 2022 GaTech-EIC"


def _mac(n1: Floats, n3: Floats) -> Floats:
    """Million multiply-accumulates of the cells on images of 32x32."""
    return 3.93216 * n1 + 35.38944 * n3


def _fpga(n1: Floats, n3: Floats, pools: Floats) -> Floats:
    return 1.13296 + 0.5152 * n1 + 1.2576 * n3 + 0.4096 * pools


def _fpga_energy(n1: Floats, n3: Floats, pools: Floats) -> Floats:
    return 7 * _fpga(n1, n3, pools)  # a constant 7 W


#: space -> (data set, quantity) -> form
FORMS: Mapping[str, Mapping[tuple[str, str], Form]] = {
    "tss": {
        ("cifar10", "eyeriss_latency"): lambda n1, n3, na: 1.67954 + 0.24576 * n1 + 1.47456 * (n3 + na),
        ("cifar10", "eyeriss_energy"): lambda n1, n3, na: (
            0.3469645085 + 0.031247728 * n1 + 0.31321224 * n3 + 0.2778228 * na
        ),
        ("cifar10", "eyeriss_arithmetic_intensity"): lambda n1, n3, na: (
            (7.78305 + _mac(n1, n3)) / (0.445056 + 0.39424 * n1 + 1.2544 * (n3 + na))
        ),
        ("cifar10", "fpga_latency"): _fpga,
        ("cifar10", "fpga_energy"): _fpga_energy,
        ("cifar100", "eyeriss_latency"): lambda n1, n3, na: 1.68256 + 0.24576 * n1 + 1.47456 * (n3 + na),
        ("cifar100", "eyeriss_energy"): lambda n1, n3, na: (
            0.347102366 + 0.031247728 * n1 + 0.31321224 * n3 + 0.2778228 * na
        ),
        ("cifar100", "eyeriss_arithmetic_intensity"): lambda n1, n3, na: (
            (7.7889 + _mac(n1, n3)) / (0.454656 + 0.39424 * n1 + 1.2544 * (n3 + na))
        ),
        ("cifar100", "fpga_latency"): _fpga,
        ("cifar100", "fpga_energy"): _fpga_energy,
        ("ImageNet16-120", "eyeriss_latency"): lambda n1, n3, na: 0.42304 + 0.06144 * n1 + 0.36864 * (n3 + na),
        ("ImageNet16-120", "eyeriss_arithmetic_intensity"): lambda n1, n3, na: (
            ((7.7824 + _mac(n1, n3)) / 4 + 0.0078) / (0.37184 + 0.1792 * n1 + 1.03936 * (n3 + na))
        ),
    }
}


def forms(space: Space) -> Mapping[tuple[str, str], Form]:
    """The forms of a space by data set and quantity; empty for most."""
    return FORMS.get(space.name, {})


def compute(space: Space, dataset: str, name: str, ids: Indices) -> Floats:
    """Values of architectures ``[...]``, float64 ``[...]``, in ms or mJ."""
    options = list(space.options[0])
    chosen = space.choices(ids)
    n1, n3, pools = (
        (chosen == options.index(operation)).sum(axis=-1, dtype=float)
        for operation in ("nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    )
    return FORMS[space.name][dataset, name](n1, n3, pools)
