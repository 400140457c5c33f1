"""What is said against a request, as tests compare it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from schemas.errors import Problem, RequestInvalid
from schemas.requests import parse_request


def problems(request: Mapping[str, Any]) -> list[Problem]:
    """The problems of a request that has some, each with a sentence."""
    with pytest.raises(RequestInvalid) as caught:
        parse_request(request)
    assert all(problem.message for problem in caught.value.problems)
    return list(caught.value.problems)


def codes(request: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Field and code of each."""
    return [(problem.field, problem.code) for problem in problems(request)]
