"""Problem, loop, streams, registry."""
