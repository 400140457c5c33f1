"""Where redirects of the gateway may lead."""

from __future__ import annotations

import pytest

from schemas.errors import GatewayRefused
from schemas.gateway import _place


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
