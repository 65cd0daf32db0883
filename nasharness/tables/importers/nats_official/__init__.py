"""NATS-Bench's published archives, and a live API object of ``nats_bench``, as tables."""
