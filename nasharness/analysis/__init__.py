"""Statistics, validation and figures of studies."""
