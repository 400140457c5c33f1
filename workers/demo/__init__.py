"""The demo: a few films from start to end, on a stack of its own, and on no other. `workers.cli.demo` starts it.

`plan` says what it is to do, `run` does it, `picture` paints what it animates, `watchdog` sees when it can't come to
its end, and `closing` says what it has come to.
"""
