"""Links: what their signature covers, and when they end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine

from ops.simulator.links import Links
from ops.simulator.validation import Refused

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def parts(link: str) -> tuple[str, str, str]:
    """Path, expiry and signature of a link."""
    split = urlsplit(link)
    query = parse_qs(split.query)
    return split.path, query["expires"][0], query["sig"][0]


def refused(links: Links, path: str, expires: str, signature: str) -> str:
    with pytest.raises(Refused) as caught:
        links.check(path, expires, signature)
    assert caught.value.status == 403
    return caught.value.message


def test_a_link_holds_for_its_time_and_no_longer() -> None:
    links = Links(ttl_s=60)
    with time_machine.travel(NOW, tick=False) as clock:
        made = parts(links.make("h", "task", "0.mp4"))
        clock.shift(timedelta(seconds=59))
        links.check(*made)
        clock.shift(timedelta(seconds=2))
        assert refused(links, *made) == "Request has expired"


def test_a_signature_is_good_for_its_own_path_and_expiry_alone() -> None:
    links = Links(ttl_s=60)
    with time_machine.travel(NOW, tick=False) as clock:
        path, expires, signature = parts(links.make("h", "task", "0.mp4"))
        clock.shift(timedelta(seconds=1))
        later = parts(links.make("h", "task", "0.mp4"))
        others = [parts(links.make("h", *other))[0] for other in (("task", "1.mp4"), ("other", "0.mp4"))]
        assert later[1] != expires
        assert refused(links, path, later[1], signature) == "SignatureDoesNotMatch"
        for other in others:
            assert refused(links, other, expires, signature) == "SignatureDoesNotMatch"
        links.check(path, expires, signature)


def test_links_of_another_process_are_refused() -> None:
    made = parts(Links(ttl_s=60).make("h", "task", "0.mp4"))
    assert refused(Links(ttl_s=60), *made) == "SignatureDoesNotMatch"
