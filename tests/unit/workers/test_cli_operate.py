"""The verbs that become another process: which command line, and into whose hands Flower is given."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from workers import pools
from workers.cli import cli
from workers.cli.exits import INVALID, UNCONFIGURED


@pytest.fixture(autouse=True)
def folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REELWORKS_VAR", str(tmp_path / "var"))


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, list(args))


def test_a_pool_that_does_not_exist_is_wrong_usage() -> None:
    result = run("pool", "swimming")
    assert result.exit_code == INVALID
    assert "'lanes', 'create', 'finish'" in result.stderr


@pytest.mark.parametrize("verb", [["pool", "create"], ["flower", "--port", "5999"]])
def test_pool_and_flower_become_the_command_of_the_table(
    verb: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REELWORKS_CREATE_CONCURRENCY", "3")
    monkeypatch.setenv("REELWORKS_FLOWER_LOGIN", "me:canary")
    monkeypatch.chdir(tmp_path)  # put back after the test: Flower goes to the project's folder
    run("migrate")
    became: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(os, "execv", lambda path, argv: became.append((path, argv)))
    result = run(*verb)
    assert result.exit_code == 0, result.output
    expected = {
        "pool": pools.command("create", pools.PoolSizes(create_concurrency=3)),
        "flower": pools.flower_command(address="127.0.0.1", port=5999),
    }[verb[0]]
    assert became == [(sys.executable, expected)]


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """The command lines that a verb would have become."""
    lines: list[list[str]] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "execv", lambda _path, argv: lines.append(argv))
    return lines


def test_flower_does_not_start_without_a_login(became: list[list[str]]) -> None:
    result = run("flower")
    assert result.exit_code == UNCONFIGURED
    assert "set REELWORKS_FLOWER_LOGIN to user:password" in result.stderr
    assert became == []


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost"])
def test_flower_goes_without_a_login_on_this_machine_when_told_so(became: list[list[str]], address: str) -> None:
    assert run("flower", "--no-login", "--address", address).exit_code == 0
    assert os.environ["REELWORKS_FLOWER_NO_LOGIN"] == "yes"
    assert len(became) == 1


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.0.0.7", "flower.example"])
def test_flower_never_goes_without_a_login_where_others_can_reach_it(became: list[list[str]], address: str) -> None:
    result = run("flower", "--no-login", "--address", address)
    assert result.exit_code == INVALID
    assert address in result.stderr
    assert became == []


def test_an_open_door_is_not_inherited(became: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELWORKS_FLOWER_NO_LOGIN", "yes")
    monkeypatch.setenv("REELWORKS_FLOWER_LOGIN", "me:canary")
    assert run("flower", "--address", "0.0.0.0").exit_code == 0
    assert "REELWORKS_FLOWER_NO_LOGIN" not in os.environ
    assert not any("canary" in word for word in became[0])


def test_the_login_of_flower_may_stand_in_a_file(
    became: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "login"
    file.touch(mode=0o600)
    file.write_text("me:canary\n")
    monkeypatch.setenv("REELWORKS_FLOWER_LOGIN_FILE", "login")
    assert run("flower").exit_code == 0
    assert os.environ["REELWORKS_FLOWER_LOGIN_FILE"] == str(file)  # Flower is started in another folder
    assert len(became) == 1
