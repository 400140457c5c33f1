"""Figures of speed, each beside something measured in the same run: `python -m tests.bench [--quick] [FIGURE ...]`."""
