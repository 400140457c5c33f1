"""What the provider has told us, as it is kept and as it prints."""

from __future__ import annotations

from decimal import Decimal

from tasks.domain.answers import FinalAnswer, RemoteOutput, Usage


def test_a_final_answer_survives_the_ledger() -> None:
    usage = Usage(Decimal("0.280"), Decimal("0.9"), {"cost": "0.280"})
    answer = FinalAnswer((RemoteOutput("video", "https://x/y?sig=1", 6.0),), usage, {"completed_at": 1})
    assert FinalAnswer.from_json(answer.to_json()) == answer


def test_a_signed_url_does_not_print() -> None:
    assert "sig=" not in repr(RemoteOutput("video", "https://x/y?sig=1"))
