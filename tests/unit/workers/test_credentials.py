"""Keys and logins from files and the environment: who may read the files, and that nothing of them is ever shown."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import pprint
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from workers import credentials
from workers.credentials import Secret
from workers.settings import SettingsInvalid, read_settings

KEY = "sk-canary-key-44"


@pytest.fixture
def private(tmp_path: Path) -> Callable[[str | bytes], str]:
    def make(content: str | bytes) -> str:
        path = tmp_path / "secrets"
        path.touch(mode=0o600)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return make


def problems() -> dict[str, str]:
    with pytest.raises(SettingsInvalid) as caught:
        read_settings()
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert KEY not in shown + repr(caught.value)
    return caught.value.problems


def test_keys_come_from_a_file_with_comments(private: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    file = private(f"# the account in Europe\n\neu = {KEY}\nus=with=signs,and#more\n")
    monkeypatch.setenv("REELWORKS_PROVIDER_KEYS_FILE", file)
    read = read_settings()
    assert read.provider_keys == {"eu": Secret(KEY), "us": Secret("with=signs,and#more")}


def test_the_one_key_comes_from_a_file(private: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTRIX_API_KEY_FILE", private(f"{KEY}\n"))
    assert read_settings().provider_keys == {"default": Secret(KEY)}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o601])
@pytest.mark.parametrize(
    "variable", ["REELWORKS_PROVIDER_KEYS_FILE", "VTRIX_API_KEY_FILE", "REELWORKS_FLOWER_LOGIN_FILE"]
)
def test_a_file_that_others_can_reach_is_refused_with_what_to_do(
    private: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, variable: str, mode: int
) -> None:
    file = private(f"main={KEY}")
    Path(file).chmod(mode)
    monkeypatch.setenv(variable, file)
    assert problems() == {variable: f"others can read the file {file}: run chmod 600 {file}"}


def test_a_secret_that_a_container_mounts_keeps_its_mode(
    private: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = private(KEY)
    Path(file).chmod(0o444)
    monkeypatch.setattr(credentials, "_MOUNTED", (tmp_path,))
    monkeypatch.setenv("VTRIX_API_KEY_FILE", file)
    assert read_settings().provider_keys == {"default": Secret(KEY)}


@pytest.mark.parametrize(
    ("variable", "content", "problem"),
    [
        ("REELWORKS_PROVIDER_KEYS_FILE", KEY, "line 1 is not of the form alias=key"),
        ("REELWORKS_PROVIDER_KEYS_FILE", f"# c\na={KEY}\nb={KEY}\na={KEY}", "an alias stands there twice"),
        ("REELWORKS_PROVIDER_KEYS_FILE", "# nothing yet\n", "holds no line"),
        ("REELWORKS_PROVIDER_KEYS_FILE", KEY.encode() + b"\xff", "is not text"),
        ("REELWORKS_PROVIDER_KEYS_FILE", f"a={KEY}\n" * 10_000, "too large"),
        ("VTRIX_API_KEY_FILE", f"{KEY}\n{KEY}", "one key and nothing else"),
        ("VTRIX_API_KEY_FILE", "", "one key and nothing else"),
        ("REELWORKS_FLOWER_LOGIN_FILE", "", "is empty"),
        ("REELWORKS_FLOWER_LOGIN_FILE", KEY, "must be user:password"),
        ("REELWORKS_METRICS_TOKEN_FILE", "", "must have 32 characters at least"),
        ("REELWORKS_METRICS_TOKEN_FILE", KEY, "must have 32 characters at least"),
    ],
)
def test_a_file_that_can_not_be_used_is_refused_unquoted(
    private: Callable[[str | bytes], str],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    content: str | bytes,
    problem: str,
) -> None:
    monkeypatch.setenv(variable, private(content))
    found = problems()
    assert list(found) == [variable]
    assert problem in found[variable]


@pytest.mark.parametrize("variable", ["REELWORKS_PROVIDER_KEYS_FILE", "VTRIX_API_KEY_FILE"])
def test_a_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "/no/such/file")
    assert problems() == {variable: "the file /no/such/file can't be read (No such file or directory)"}


@pytest.mark.parametrize("login", ["me", ":pw", "me:", "me:p w", "me:pässwort", f"{KEY}"])
def test_a_login_that_no_browser_could_send_is_refused(monkeypatch: pytest.MonkeyPatch, login: str) -> None:
    monkeypatch.setenv("REELWORKS_FLOWER_LOGIN", login)
    assert list(problems()) == ["REELWORKS_FLOWER_LOGIN"]


@pytest.mark.parametrize("token", [KEY, f"{KEY} {KEY} {KEY}", f"{KEY * 3}ä"])
def test_a_token_that_can_be_guessed_or_not_be_sent_is_refused(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("REELWORKS_METRICS_TOKEN", token)
    assert list(problems()) == ["REELWORKS_METRICS_TOKEN"]


def test_a_token_comes_from_a_file_or_from_its_variable(
    private: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_settings().metrics_token is None
    monkeypatch.setenv("REELWORKS_METRICS_TOKEN_FILE", private(f"{KEY * 3}\n"))
    assert read_settings().metrics_token == Secret(KEY * 3)
    monkeypatch.setenv("REELWORKS_METRICS_TOKEN_FILE", "")
    monkeypatch.setenv("REELWORKS_METRICS_TOKEN", KEY * 2)
    assert read_settings().metrics_token == Secret(KEY * 2)


@pytest.mark.parametrize(
    "name", ["REELWORKS_PROVIDER_KEYS", "VTRIX_API_KEY", "REELWORKS_FLOWER_LOGIN", "REELWORKS_METRICS_TOKEN"]
)
def test_one_secret_in_two_places_is_refused(
    private: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    content = {
        "REELWORKS_PROVIDER_KEYS": f"a={KEY}",
        "REELWORKS_FLOWER_LOGIN": f"a:{KEY}",
        "REELWORKS_METRICS_TOKEN": KEY * 3,
    }.get(name, KEY)
    monkeypatch.setenv(name, content)
    monkeypatch.setenv(f"{name}_FILE", private(content))
    assert problems() == {f"{name}_FILE": f"{name} is set too: set one of the two"}


@dataclasses.dataclass
class Holder:
    keys: dict[str, Secret]


def _raised(secret: Secret) -> str:
    def inner(held: Secret) -> None:
        raise RuntimeError(held)

    try:
        inner(secret)
    except RuntimeError as error:
        return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    return ""


def _logged(secret: Secret) -> str:
    return str(structlog.processors.JSONRenderer()(None, "info", {"event": "e", "key": secret, "all": [secret]}))


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        "{}".format,
        "{:>20}".format,
        "{!r:>20}".format,
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 (the way that logging formats)
        lambda secret: pprint.pformat({"a": [secret]}),
        lambda secret: repr(dataclasses.asdict(Holder({"a": secret}))),
        lambda secret: repr(copy.deepcopy([secret])),
        lambda secret: json.dumps({"a": secret}, default=str),
        lambda secret: json.dumps({"a": secret}, default=repr),
        lambda secret: repr(Holder({"a": secret})),
        _raised,
        _logged,
    ],
)
def test_a_secret_shows_stars_however_it_is_shown(show: Callable[[Secret], str]) -> None:
    shown = show(Secret(KEY))
    assert "***" in shown
    assert KEY not in shown


@pytest.mark.parametrize("travel", [pickle.dumps, json.dumps, lambda secret: copy.copy(secret).__reduce__(), vars])
def test_a_secret_can_not_leave_its_process(travel: Callable[[Secret], object]) -> None:
    with pytest.raises(TypeError) as caught:
        travel(Secret(KEY))
    assert KEY not in str(caught.value)


def test_settings_show_no_key_even_as_a_dictionary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELWORKS_PROVIDER_KEYS", f"main={KEY}")
    read = read_settings()
    shown = repr(dataclasses.asdict(read)) + str(read) + json.dumps(dataclasses.asdict(read), default=str)
    assert KEY not in shown
    assert "***" in shown
