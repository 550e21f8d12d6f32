"""Measurements against peers and against the limits of the machine: ``python -m benchmarks``."""
