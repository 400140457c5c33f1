"""Measurements: each a module that prints its table, `python -m tests.bench.NAME`."""
