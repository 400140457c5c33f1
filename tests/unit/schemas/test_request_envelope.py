"""The fields of a request that are this system's own: tenant, keys, numbers, amounts and metadata."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from schemas.requests import DEADLINE_MAX_S, parse_request
from tests.support.requests import raw

from .refusals import codes, problems


@pytest.mark.parametrize("tenant", ["a", "0", "Team-1_x", "a" * 64])
def test_tenants(tenant: str) -> None:
    assert parse_request(raw(tenant=tenant)).tenant == tenant


@pytest.mark.parametrize("tenant", ["", "-a", "_a", "a b", "a/b", "..", "a.b", "a:b", "é", "a" * 65, "a\n"])
def test_other_tenants_are_refused(tenant: str) -> None:
    assert codes(raw(tenant=tenant)) == [("tenant", "bad_format")]


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "a" * 201, "a\n"])
def test_idempotency_keys_are_visible_ascii(key: str) -> None:
    assert codes(raw(idempotency_key=key)) == [("idempotency_key", "bad_format")]
    assert parse_request(raw(idempotency_key="!~" * 100)).idempotency_key == "!~" * 100


@pytest.mark.parametrize(("name", "low", "high"), [("priority", -100, 100), ("deadline_s", 1, DEADLINE_MAX_S)])
def test_numbers_of_the_envelope_are_bounded(name: str, low: int, high: int) -> None:
    for value in (low, high):
        assert getattr(parse_request(raw(**{name: value})), name) == value
    for value in (low - 1, high + 1):
        [problem] = problems(raw(**{name: value}))
        assert (problem.field, problem.code) == (name, "out_of_range")
        assert str(value) in problem.message


@pytest.mark.parametrize(
    ("value", "amount"),
    [("0.28", "0.28"), ("10", "10"), (5, "5"), (Decimal("0.5000"), "0.5"), ("0.000001", "0.000001")],
)
def test_an_amount_is_exact_and_written_one_way(value: Any, amount: str) -> None:
    request = parse_request(raw(max_cost_usd=value))
    assert str(request.max_cost_usd) == amount
    assert parse_request(request.to_dict(), stored_inputs=True) == request


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (0.28, "not_an_amount"),
        (True, "not_an_amount"),
        ([1], "not_an_amount"),
        ("$1", "not_an_amount"),
        ("1e3", "not_an_amount"),
        ("NaN", "not_an_amount"),
        ("-1", "not_an_amount"),
        ("", "not_an_amount"),
        ("0", "out_of_range"),
        (-1, "out_of_range"),
        ("0.0000001", "out_of_range"),
        (10**40, "out_of_range"),
        (Decimal("Infinity"), "out_of_range"),
    ],
)
def test_what_is_no_amount_is_refused(value: Any, code: str) -> None:
    assert codes(raw(max_cost_usd=value)) == [("max_cost_usd", code)]


def part_of_itself() -> dict[str, Any]:
    loop: dict[str, Any] = {}
    loop["again"] = [loop]
    return loop


def doubling(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value] * 200
    return value


@pytest.mark.parametrize(
    ("metadata", "field", "code"),
    [
        ([], "metadata", "not_an_object"),
        ("x", "metadata", "not_an_object"),
        ({str(n): n for n in range(51)}, "metadata", "metadata_too_many_keys"),
        ({"a": "x" * 8190}, "metadata", "metadata_too_large"),
        ({"a": "猫" * 3000}, "metadata", "metadata_too_large"),
        ({"x" * 9000: 1}, "metadata", "metadata_too_large"),
        ({"a": list(range(9000))}, "metadata", "metadata_too_large"),
        ({"a": doubling(4)}, "metadata", "metadata_too_large"),
        ({"a": {"b": {"c": {"d": {"e": {"f": {}}}}}}}, "metadata.a.b.c.d.e.f", "metadata_too_deep"),
        (part_of_itself(), "metadata.again.0.again.0.again.0", "metadata_too_deep"),
        ({"a": float("nan")}, "metadata.a", "metadata_number"),
        ({"a": [0, float("inf")]}, "metadata.a.1", "metadata_number"),
        ({"a": 2**63}, "metadata.a", "metadata_number"),
        ({"a": -(10**5000)}, "metadata.a", "metadata_number"),
        ({1: 2}, "metadata", "metadata_not_json"),
        ({"a": {None: 2}}, "metadata.a", "metadata_not_json"),
        ({"a": b"x"}, "metadata.a", "metadata_not_json"),
        ({"a": (1, 2)}, "metadata.a", "metadata_not_json"),
        ({"a": {1, 2}}, "metadata.a", "metadata_not_json"),
        ({"a": Decimal(1)}, "metadata.a", "metadata_not_json"),
    ],
)
def test_metadata_is_bounded_json(metadata: Any, field: str, code: str) -> None:
    [problem] = problems(raw(metadata=metadata))
    assert (problem.field, problem.code) == (field, code)


def test_metadata_may_fill_its_bounds() -> None:
    full: dict[str, Any] = {str(n): n for n in range(50)}
    assert parse_request(raw(metadata=full)).metadata == full
    exact = {"a": "x" * (8192 - len('{"a":""}'))}
    assert parse_request(raw(metadata=exact)).metadata == exact


def test_a_request_does_not_change_with_the_metadata_it_was_made_from() -> None:
    mine = {"list": [1]}
    request = parse_request(raw(metadata=mine))
    mine["list"].append(2)
    assert request.metadata == {"list": [1]}


def test_what_is_invisible_in_a_key_of_metadata_is_marked_in_the_field() -> None:
    (problem,) = problems(raw(metadata={"a\r\nb": {"c": float("inf")}}))
    assert problem.field == "metadata.a\ufffd\ufffdb.c"
