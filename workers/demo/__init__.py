"""The demo: a few films from start to end, on a stack of its own, and on no other. `workers.cli.demo` starts it."""
