"""Reading bills."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from ops.simulator.bill import Bill, Create, Delivery, fingerprint_of, key_alias, read_bill

LINES = [
    {"kind": "create", "task": "a", "key": "key-1", "at": "2026-01-02T03:04:05.678+00:00", "model": "m"}
    | {"resolution": "768P", "duration": 6},
    {"kind": "create", "task": "b", "key": "key-1", "at": "2026-01-02T03:04:05.678+00:00", "model": "m"}
    | {"resolution": "512P", "duration": 6, "fingerprint": "f0"},
    {"kind": "price", "task": "a", "cost_usd": "0.28"},
    {"kind": "price", "task": "b", "cost_usd": "0.10"},
    {"kind": "delivery", "task": "a", "index": 0, "bytes": 1234},
]


def written(path: Path, lines: list[dict[str, object]], tail: str = "") -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + tail)
    return path


def test_all_lines_are_read_and_money_is_exact(tmp_path: Path) -> None:
    bill = read_bill(written(tmp_path / "bill", LINES))
    at = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    assert bill.creates == (Create("a", "key-1", at, "m", "768P", 6), Create("b", "key-1", at, "m", "512P", 6, "f0"))
    assert bill.billed_usd == Decimal("0.38")
    assert bill.usd_by_task == {"a": Decimal("0.28"), "b": Decimal("0.10")}
    assert bill.deliveries == (Delivery("a", 0, 1234),)


def test_a_missing_bill_is_an_empty_one(tmp_path: Path) -> None:
    assert read_bill(tmp_path / "none") == Bill()
    assert Bill().billed_usd == 0


def test_a_last_line_cut_short_is_passed_over(tmp_path: Path) -> None:
    bill = read_bill(written(tmp_path / "bill", LINES, tail='{"kind":"price","task":"c","cost_u'))
    assert bill.billed_usd == Decimal("0.38")


def test_an_unreadable_line_before_the_last_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        read_bill(written(tmp_path / "bill", LINES, tail="oops\n"))


def test_a_fingerprint_is_that_of_the_parameters_in_any_order() -> None:
    assert fingerprint_of({"prompt": "é", "duration": 6}) == fingerprint_of({"duration": 6, "prompt": "é"})
    assert fingerprint_of({"duration": 6}) != fingerprint_of({"duration": 10})
    said = hashlib.sha256(b'{"duration":6,"prompt":"\\u00e9"}').hexdigest()
    assert fingerprint_of({"prompt": "é", "duration": 6}) == said


def test_an_alias_does_not_show_its_key() -> None:
    assert key_alias("sk-secret") == key_alias("sk-secret")
    assert "secret" not in key_alias("sk-secret")
