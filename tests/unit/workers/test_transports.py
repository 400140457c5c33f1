"""Which addresses of Redis and PostgreSQL are taken, which are refused, and which doctor warns of."""

from __future__ import annotations

import pytest

from workers.settings import SettingsInvalid, read_settings
from workers.transports import is_open, redis_problem, verified


@pytest.mark.parametrize(
    "url",
    [
        "redis://h:6379/0",
        "redis://worker:pw@h/0",
        "rediss://h/0",
        "rediss://h/0?ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/c.key",
        "rediss://h/0?ssl_cert_reqs=required&ssl_check_hostname=true",
        "sentinel://worker:pw@one,two:26380/0?master=films",
        "sentinels://one/?master=films&ssl_cert_reqs=required&ssl_check_hostname=True",
    ],
)
def test_what_is_right_has_no_problem(url: str) -> None:
    assert redis_problem(url) is None


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://h", "begins with"),
        ("rediss://u:canary@h/0?ssl_cert_reqs=none", "must not turn verification off"),
        ("rediss://u:canary@h/0?ssl_cert_reqs=optional", "must not turn verification off"),
        ("rediss://u:canary@h/0?ssl_check_hostname=false", "must not turn verification off"),
        ("rediss://u:canary@h/0?ssl_ca=canary", "unknown parameters: ssl_ca;"),
        ("redis://u:canary@h/0?ssl_ca_certs=canary", "for rediss:// alone"),
        ("sentinel://u:canary@h/0", "must name what its sentinels watch over: ?master=NAME"),
        ("sentinels://u:canary@h/0?master=m&ssl_cert_reqs=none", "must not turn verification off"),
    ],
)
def test_what_would_not_verify_is_refused_unquoted(url: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELWORKS_REDIS_URL", url)
    with pytest.raises(SettingsInvalid) as caught:
        read_settings()
    assert problem in caught.value.problems["REELWORKS_REDIS_URL"]
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "becomes"),
    [
        ("redis://h/0", "redis://h/0"),
        ("rediss://h/0", "rediss://h/0?ssl_cert_reqs=required"),
        ("rediss://u:p%40@h/0?ssl_ca_certs=/ca.pem", "rediss://u:p%40@h/0?ssl_ca_certs=/ca.pem&ssl_cert_reqs=required"),
        ("rediss://h/0?ssl_cert_reqs=required", "rediss://h/0?ssl_cert_reqs=required"),
        ("sentinels://h,[::1]:7/0?master=m", "sentinels://h,[::1]:7/0?master=m"),  # is told so with its client
    ],
)
def test_tls_is_verified_without_being_asked_to(url: str, becomes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert verified(url) == becomes
    monkeypatch.setenv("REELWORKS_REDIS_URL", url)
    assert read_settings().redis_url == becomes


@pytest.mark.parametrize(
    ("url", "opened"),
    [
        ("redis://127.0.0.1:6379/0", False),
        ("redis://localhost/0", False),
        ("redis://[::1]/0", False),
        ("redis://cache.example/0", True),
        ("redis://10.0.0.7/0", True),
        ("rediss://cache.example/0", False),
        ("sentinel://127.0.0.1,[::1]:7/0?master=m", False),
        ("sentinel://127.0.0.1,cache.example/0?master=m", True),
        ("sentinels://cache.example/0?master=m", False),
        ("sqlite:////var/reel.db", False),
        ("postgresql+psycopg://u@localhost/r", False),
        ("postgresql+psycopg://u@/r?host=/run/postgresql", False),
        ("postgresql+psycopg://u@/r?host=db.example", True),
        ("postgresql+psycopg://u@db.example/r", True),
        ("postgresql+psycopg://u@db.example/r?sslmode=require", True),
        ("postgresql+psycopg://u@db.example/r?sslmode=verify-full", False),
    ],
)
def test_an_address_that_others_can_read_along_is_known(url: str, opened: bool) -> None:
    assert is_open(url) is opened
