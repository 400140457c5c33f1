"""Which addresses a request may carry, judged by their text alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.urls import MAX_CHARS, url_problem


@pytest.mark.parametrize(
    "url",
    [
        "https://pictures.example/cat.jpg",
        "http://pictures.example",
        "HTTPS://Pictures.Example:8443/a%20b.png?sig=abc&x=1#top",
        "https://xn--bcher-kva.example/猫.webp",
        "https://my_bucket.s3.eu-central-1.example.com/k",
        "https://pictures.example./cat.jpg",
        "https://8.8.8.8/cat.jpg",
        "https://[2606:4700:4700::1111]/cat.jpg",
        "https://[64:ff9b::8.8.8.8]/cat.jpg",
        "https://[2002:808:808::]/cat.jpg",
    ],
)
def test_public_http_urls_are_accepted(url: str) -> None:
    assert url_problem(url) is None


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://pictures.example/cat.jpg", "url_scheme"),
        ("file:///etc/passwd", "url_scheme"),
        ("gopher://pictures.example/", "url_scheme"),
        ("https://", "url_no_host"),
        ("https:///cat.jpg", "url_no_host"),
        ("http:cat.jpg", "url_no_host"),
        ("https://user:word@pictures.example/", "url_userinfo"),
        ("https://user@pictures.example/", "url_userinfo"),
        ("https://pictures.example:port/", "url_malformed"),
        ("https://pictures.example:99999/", "url_malformed"),
        ("https://[::1/cat.jpg", "url_malformed"),
        ("https://pictures.example/a b.jpg", "url_malformed"),
        ("https://pictures.example/a\n.jpg", "url_malformed"),
        (" https://pictures.example/", "url_malformed"),
        ("https:\\\\pictures.example\\", "url_malformed"),
        ("https://pictures.example/\ud800", "url_malformed"),
        ("http://localhost/", "url_not_public"),
        ("http://LOCALHOST:8000/", "url_not_public"),
        ("http://localhost./", "url_not_public"),
        ("http://app.localhost/", "url_not_public"),
        ("http://printer.local/", "url_not_public"),
        ("http://metadata.google.internal/", "url_not_public"),
        ("http://intranet/", "url_not_public"),
        ("http://127.0.0.1/", "url_not_public"),
        ("http://[64:ff9b::10.0.0.1]/", "url_not_public"),
        ("http://[64:ff9b::7f00:1]/", "url_not_public"),
        ("http://[::127.0.0.1]/", "url_not_public"),
        ("http://[2002:7f00:1::]/", "url_not_public"),
        ("http://127.8.9.10:80/", "url_not_public"),
        ("http://0.0.0.0/", "url_not_public"),
        ("http://10.1.2.3/", "url_not_public"),
        ("http://172.16.0.1/", "url_not_public"),
        ("http://192.168.1.1/", "url_not_public"),
        ("http://169.254.169.254/latest", "url_not_public"),
        ("http://100.64.0.1/", "url_not_public"),
        ("http://224.0.0.1/", "url_not_public"),
        ("http://255.255.255.255/", "url_not_public"),
        ("http://[::1]/", "url_not_public"),
        ("http://[::]/", "url_not_public"),
        ("http://[fe80::1]/", "url_not_public"),
        ("http://[fe80::1%25eth0]/", "url_not_public"),
        ("http://[fd00::1]/", "url_not_public"),
        ("http://[ff02::1]/", "url_not_public"),
        ("http://[::ffff:127.0.0.1]/", "url_not_public"),
        ("http://2130706433/", "url_not_public"),
        ("http://0x7f000001/", "url_not_public"),
        ("http://127.1/", "url_host"),
        ("http://0x7f.0.0.1/", "url_host"),
        ("http://0177.0.0.1/", "url_host"),
        ("http://１２７.0.0.1/", "url_host"),
        ("http://bücher.example/", "url_host"),
        ("http://a..example/", "url_host"),
        ("http://-.example/", "url_host"),
    ],
)
def test_everything_else_is_refused_by_its_rule(url: str, code: str) -> None:
    problem = url_problem(url)
    assert problem is not None
    assert problem.code == code


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/x", "https://orders/hook", "http://hooks.svc.cluster.local/"])
def test_where_others_judge_it_a_private_place_passes(url: str) -> None:
    assert url_problem(url, public=False) is None
    problem = url_problem(url)
    assert problem is not None
    assert problem.code == "url_not_public"


@pytest.mark.parametrize("url", ["ftp://orders/", "https://a:b@orders/", "https://127.1/", "https:///x"])
def test_what_is_no_address_passes_nowhere(url: str) -> None:
    assert url_problem(url, public=False) is not None


def test_a_url_has_a_longest_length() -> None:
    base = "https://pictures.example/"
    assert url_problem(base + "a" * (MAX_CHARS - len(base))) is None
    problem = url_problem(base + "a" * (MAX_CHARS - len(base) + 1))
    assert problem is not None
    assert problem.code == "url_too_long"


@pytest.mark.parametrize("url", ["http://10.0.0.1/canary?canary=1#canary", "ftp://canary:canary@x.example/canary"])
def test_paths_queries_and_passwords_are_never_shown(url: str) -> None:
    problem = url_problem(url)
    assert problem is not None
    assert "canary" not in problem.message


@given(
    st.text() | st.text().map(lambda rest: f"http://{rest}") | st.text("[]@:/.%0x1a").map(lambda rest: f"http://{rest}")
)
def test_any_text_is_judged(url: str) -> None:
    url_problem(url)
