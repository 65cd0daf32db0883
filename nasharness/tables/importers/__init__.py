"""Readers of published tables, one file each. ``published.py`` lists them."""
