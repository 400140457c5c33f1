"""A pytest plugin: with `--mutant NAME` all tests of this run meet the product without one guard."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--mutant", metavar="NAME", help="take one guard out of the product (tests/mutants)")


def pytest_configure(config: pytest.Config) -> None:
    name = config.getoption("--mutant")
    if name is None:
        return
    from tests.mutants.catalogue import BY_NAME

    if name not in BY_NAME:
        raise pytest.UsageError(f"there is no mutant {name!r}; there are: {', '.join(BY_NAME)}")
    BY_NAME[name].apply()
