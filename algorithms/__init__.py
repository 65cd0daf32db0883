"""Algorithms, one file each; found by the harness through entry points, never imported by it."""
