"""Readers of published tables, one file or package each. ``published.py`` lists them."""
