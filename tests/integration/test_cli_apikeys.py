"""`apikeys`: made, shown, rotated and revoked; the text of one is shown once."""

from __future__ import annotations

import json
from typing import Any

from tests.support.doors import Door, client
from workers.cli.exits import FAILED, INVALID


def made(said: Any, *words: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(said("apikeys", *words, "--json").stdout)
    return document


def opens(text: str) -> bool:
    return Door(client(), text).get("/v1/jobs").status_code == 200


def test_a_new_key_opens_the_gateway(said: Any) -> None:
    assert "There is no key" in said("apikeys").stdout
    new = made(said, "create", "--tenant", "film", "--name", "renderer")
    assert (new["api_key"]["tenant"], new["api_key"]["scopes"]) == ("film", ["read", "submit"])
    assert opens(new["text"])


def test_its_text_is_shown_when_it_is_made_and_never_again(said: Any) -> None:
    text = said("apikeys", "create", "--tenant", "film").stdout.splitlines()[-1]
    assert opens(text)
    secret = text.split("_", 2)[2]
    assert secret not in said("apikeys").output
    assert secret not in said("apikeys", "--json").output


def test_they_are_listed_by_tenant(said: Any) -> None:
    for tenant in ("film", "rival"):
        made(said, "create", "--tenant", tenant, "--days", "30", "--scope", "read")
    (mine,) = json.loads(said("apikeys", "--tenant", "film", "--json").stdout)["api_keys"]
    assert (mine["tenant"], mine["scopes"]) == ("film", ["read"])
    assert "works until" in said("apikeys").stdout


def test_a_rotated_key_works_beside_the_new_one_for_a_while(said: Any) -> None:
    old = made(said, "create", "--tenant", "film")
    new = made(said, "rotate", old["api_key"]["id"])
    assert new["replaces"] == old["api_key"]["id"]
    assert opens(old["text"])
    assert opens(new["text"])
    last = made(said, "rotate", new["api_key"]["id"], "--overlap-hours", "0")
    assert not opens(new["text"])
    assert opens(last["text"])


def test_a_revoked_key_opens_nothing(said: Any) -> None:
    new = made(said, "create", "--tenant", "film")
    assert "is revoked" in said("apikeys", "revoke", new["api_key"]["id"]).stdout
    assert not opens(new["text"])
    assert "ended already" in said("apikeys", "revoke", new["api_key"]["id"], code=FAILED).output
    assert "revoked" in said("apikeys").stdout


def test_what_makes_no_sense_is_refused(said: Any) -> None:
    assert "there is no key" in said("apikeys", "revoke", "0123456789ab", code=FAILED).output
    for words in (
        ["--tenant", "no good"],
        ["--tenant", "film", "--name", "a\nb"],
        ["--tenant", "film", "--scope", "x"],
    ):
        said("apikeys", "create", *words, code=INVALID)
