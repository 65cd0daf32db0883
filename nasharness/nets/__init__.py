"""PyTorch networks built from an architecture; their parameters and multiply-accumulates."""
