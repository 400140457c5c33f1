"""Addresses with sentinels: what they say, what is refused and how, and that nothing of them shows."""

from __future__ import annotations

import pytest

from schemas.producer import Producer
from schemas.redisaddress import AddressInvalid, Login, Sentinels, sentinels_of
from schemas.redisclient import client

CA = {"ssl_cert_reqs": "required", "ssl_check_hostname": True, "ssl_ca_certs": "/ca.pem"}


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sentinel://one?master=films", Sentinels((("one", 26379),), "films")),
        (
            "sentinel://me:p%40%2F%3Aw@one,two:7,[::1]:8/3?master=films",
            Sentinels((("one", 26379), ("two", 7), ("::1", 8)), "films", db=3, user="me", password="p@/:w"),
        ),
        (
            "sentinel://:pw@one/?master=my%20films&sentinel_user=s&sentinel_password=a%26b&replicas=2",
            Sentinels(
                (("one", 26379),),
                "my films",
                password="pw",
                sentinel_user="s",
                sentinel_password="a&b",
                replicas=2,
            ),
        ),
        (
            "sentinels://one/0?master=films&ssl_ca_certs=/ca.pem",
            Sentinels((("one", 26379),), "films", tls=CA),
        ),
    ],
)
def test_an_address_is_read(url: str, says: Sentinels) -> None:
    assert sentinels_of(url) == says


@pytest.mark.parametrize("url", ["redis://h/0", "rediss://h/0", "unix:///run/redis.sock"])
def test_one_of_a_server_is_left_to_the_library(url: str) -> None:
    assert sentinels_of(url) is None


@pytest.mark.parametrize(
    ("rest", "problem"),
    [
        ("one/0", "must name what its sentinels watch over: ?master=NAME"),
        ("one/0?master=", "has no value for master"),
        ("?master=m", "must list its sentinels as host:port,host:port"),
        ("one,,two/0?master=m", "must list its sentinels"),
        ("one:0/0?master=m", "must list its sentinels"),
        ("one:65536/0?master=m", "must list its sentinels"),
        ("one:port/0?master=m", "must list its sentinels"),
        ("one two/0?master=m", "must list its sentinels"),
        ("one:1;sentinel://two:1/0?master=m", "must list its sentinels"),  # Celery's form
        ("me:canary/canary@one/0?master=m", "special characters of a password as %.."),
        ("one/films?master=m", "the number of a database"),
        ("one/0/1?master=m", "the number of a database"),
        ("me@one/0?master=m", "has a user without a password"),
        ("one/0?master=m&sentinel_user=canary", "has a sentinel_user without a sentinel_password"),
        ("one/0?master=m&sentinel_password=can&ary", "has a parameter that is not known; known are master, replicas"),
        ("one/0?master=m&master=n", "has a parameter twice"),
        ("one/0?master=m&replicas=all", "must have a whole number up to 9 as replicas"),
        ("one/0?master=m&replicas=10", "must have a whole number up to 9 as replicas"),
        ("one/0?master=m&ssl_ca_certs=/ca.pem", "count for sentinels:// alone"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_the_rule_and_unquoted(rest: str, problem: str) -> None:
    with pytest.raises(AddressInvalid) as caught:
        client(f"sentinel://{rest}", 1.0)
    assert problem in caught.value.problem
    assert str(caught.value) == f"the address of Redis {caught.value.problem}"
    assert "can" not in caught.value.problem.replace("can't", "")
    with pytest.raises(ValueError, match="the address of Redis"):
        Producer(f"sentinel://{rest}")


@pytest.mark.parametrize("off", ["ssl_cert_reqs=none", "ssl_cert_reqs=optional", "ssl_check_hostname=false"])
def test_tls_is_not_spoken_unverified(off: str) -> None:
    with pytest.raises(AddressInvalid, match="must not turn verification off"):
        Sentinels.parse(f"sentinels://one/0?master=m&{off}")


def test_passwords_show_nowhere() -> None:
    place = Sentinels.parse("sentinel://me:canary@one/0?master=m&sentinel_user=s&sentinel_password=canary")
    made = client("sentinel://me:canary@one/0?master=m&sentinel_user=s&sentinel_password=canary", 1.0)
    for shown in (place, place.shown(), place.sentinel_options(1.0), made, Login("s", "canary").__json__()):
        assert "canary" not in repr(shown)
