"""Where redirects of the gateway may lead, and what a job that it tells of is read as."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from schemas.errors import GatewayRefused
from schemas.gateway import _place
from schemas.jobs import State, decode_job

JOB: dict[str, Any] = {"id": "job-1", "state": "failed", "error": None, "outputs": [], "events": []}


def test_a_redirect_leads_to_another_server_or_another_path() -> None:
    assert _place("https://films.example/v1", "https://store.example/a?b=c") == "https://store.example/a?b=c"
    assert _place("http://films.example/v1/jobs/1/outputs/0", "/a?b=c") == "http://films.example/a?b=c"


@pytest.mark.parametrize(
    "location",
    ["", "http://store.example/a", "ftp://store.example/a", "https://[/"],
)
def test_a_redirect_gives_up_neither_encryption_nor_http(location: str) -> None:
    with pytest.raises(GatewayRefused) as caught:
        _place("https://films.example/v1", location)
    assert caught.value.code == "bad_redirect"
    assert "store" not in str(caught.value)


def test_a_job_of_a_later_gateway_is_read_as_far_as_it_is_known() -> None:
    view = decode_job({**JOB, "later": 1, "charged_usd": "0.28", "error": {"code": "c", "message": "m", "later": 1}})
    assert view is not None
    assert (view.job_id, view.state, view.charged_usd) == ("job-1", State.FAILED, Decimal("0.28"))
    assert (view.error_code, view.error_message, view.error_stage) == ("c", "m", None)


@pytest.mark.parametrize(
    "job", [None, [], {}, {**JOB, "state": "asleep"}, {**JOB, "id": 7}, {**JOB, "outputs": 7}], ids=str
)
def test_what_is_no_job_is_not_read(job: Any) -> None:
    assert decode_job(job) is None
