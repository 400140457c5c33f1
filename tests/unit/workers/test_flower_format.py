"""What Flower's pages show of a task."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.options import OptionParser

from ops.flower import flowerconfig
from workers.pools import FLOWER_CONFIG


def shown(kwargs: object) -> object:
    return flowerconfig.format_task(SimpleNamespace(args="()", kwargs=kwargs, result="'x'")).kwargs


def test_a_job_is_shown_by_its_id_and_what_it_asks_for() -> None:
    text = "{'job': 'a1', 'model': 'hailuo', 'seconds': 6, 'resolution': '768P'}"
    assert shown(text) == "job=a1, model=hailuo, seconds=6, resolution=768P"


def test_jobs_that_go_together_are_found_by_the_id_of_each() -> None:
    assert shown("{'job': 'a1', 'more': ['b2', 'c3'], 'seconds': 6}") == "job=a1, more=b2 c3, seconds=6"


def test_a_lane_is_shown_by_its_name() -> None:
    assert shown("{'lane': 'poll', 'epoch': 'e7'}") == "lane=poll"


@pytest.mark.parametrize(
    "kwargs",
    [
        "{'prompt': 'canary', 'job': 'a1'}",
        "{'job': 'a1', 'model': {'deep': 'canary'}}",
        "{'job': 'a1', 'more': [['canary'], {'deep': 'canary'}, '" + "canary" * 30 + "']}",
        "{'job': 'a1', 'model': '" + "canary" * 30 + "'}",
    ],
)
def test_what_is_not_known_to_be_harmless_is_left_out(kwargs: str) -> None:
    assert shown(kwargs) == "job=a1"


@pytest.mark.parametrize(
    "kwargs",
    [None, "", "...", "{'job': canary", "['canary']", "{'job': <object canary>}", 7, "(" * 1000, "{'job': 'a'}" * 500],
)
def test_what_cannot_be_read_is_shown_as_nothing(kwargs: object) -> None:
    assert shown(kwargs) == ""


@given(st.one_of(st.none(), st.text(), st.integers(), st.dictionaries(st.text(), st.text()).map(str)))
def test_formatting_never_raises(kwargs: object) -> None:
    assert isinstance(shown(kwargs), str)


def test_arguments_by_position_and_results_are_blanked() -> None:
    task = SimpleNamespace(args="('canary',)", kwargs="{}", result="canary")
    flowerconfig.format_task(task)
    assert "canary" not in str(task)


def test_a_task_without_details_is_formatted() -> None:
    task = SimpleNamespace()
    assert flowerconfig.format_task(copy.copy(task)).kwargs == ""


def test_flower_knows_every_option_of_the_file(request: pytest.FixtureRequest) -> None:
    from flower import options

    known = set(options.default_options._options)
    names = {name for name in vars(flowerconfig) if not name.startswith("_")} - {
        "annotations",
        "ast",
        "os",
        "secrets",
        "Path",
        "Protocol",
    }
    assert {name.replace("_", "-") for name in names} <= {name.replace("_", "-") for name in known}
    parser = OptionParser()
    parser.define("max_tasks", type=int)
    parser.parse_config_file(str(request.config.rootpath / FLOWER_CONFIG))
    assert parser.max_tasks == 20_000


@pytest.mark.parametrize(
    ("env", "logins"),
    [
        ({"REELWORKS_FLOWER_LOGIN": "me:canary"}, ["me:canary"]),
        ({"REELWORKS_FLOWER_NO_LOGIN": "yes"}, []),
    ],
)
def test_flower_lets_in_whom_the_environment_names(
    env: dict[str, str], logins: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flowerconfig.os, "environ", env)
    assert flowerconfig._logins() == logins


def test_flower_without_a_login_lets_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flowerconfig.os, "environ", {"REELWORKS_FLOWER_LOGIN": " "})
    (first,), (second,) = flowerconfig._logins(), flowerconfig._logins()
    assert first.startswith("nobody:")
    assert first != second
    assert len(first) > 40


def test_flower_reads_its_login_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "login").write_text("me:canary\n")
    monkeypatch.setattr(flowerconfig.os, "environ", {"REELWORKS_FLOWER_LOGIN_FILE": str(tmp_path / "login")})
    assert flowerconfig._logins() == ["me:canary"]
