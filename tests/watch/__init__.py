"""The watch: Prometheus itself with the alerts as they stand, over real stacks under load and in real trouble.

`make watch` runs it; see `tests.watch.__main__`.
"""
