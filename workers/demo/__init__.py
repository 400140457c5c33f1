"""The demo: a few films from start to end, on a stack of its own. `workers.cli.demo` is its command line."""
