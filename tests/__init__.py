"""What shows that the product keeps its promises: `ops/architecture.md` lists the rooms, CONTRIBUTING the commands.

`make test` runs the files whose names begin with `test_`; all else has a command of its own.
"""
