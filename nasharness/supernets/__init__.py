"""Shared weights: the supernets that one-shot algorithms train, and how architectures are ranked with them."""
