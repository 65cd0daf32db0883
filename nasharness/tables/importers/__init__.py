"""Readers of published tables, one file or package each. ``published.py`` lists them."""

CITATION = (
    "X. Dong, L. Liu, K. Musial, B. Gabrys: NATS-Bench: Benchmarking NAS Algorithms for Architecture Topology and "
    "Size, IEEE TPAMI 2021, arXiv:2009.00437"
)
CITATION_201 = (
    "X. Dong, Y. Yang: NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search, ICLR 2020, "
    "arXiv:2001.00326"
)
