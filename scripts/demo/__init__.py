"""Demo of `make demo`: stages, metrics and report."""
