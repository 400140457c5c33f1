"""The command line as it is met from outside: help, exit codes, and errors as sentences."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
import redis
import sqlalchemy as sa
from click.testing import CliRunner, Result

from schemas.errors import IdempotencyConflict, NotSubmitted, Problem, RequestInvalid, WaitTimeout
from tasks.ledger.migrate import SchemaMismatch
from workers.cli import VERBS, cli
from workers.cli.common import join_running_stack
from workers.cli.exits import FAILED, INTERRUPTED, INVALID, MEANINGS, UNCONFIGURED, UNREACHABLE, explained
from workers.folderlock import FolderLock
from workers.settings import SettingsInvalid
from workers.stackchecks import StoreNotWritable
from workers.stackplan import ROOT
from workers.supervisor import PartFailed

SECRET = "sk-canary-1f7c"


@pytest.fixture(autouse=True)
def folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REELWORKS_VAR", str(tmp_path / "var"))


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, list(args))


def test_help_lists_every_verb_and_every_exit_code() -> None:
    help_text = run("--help").output
    for verb in VERBS:
        assert f"  {verb} " in help_text
    for code, meaning in MEANINGS.items():
        assert f"{code}  {meaning}" in help_text


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_each_verb_has_the_exit_codes_too(verb: str) -> None:
    result = run(verb, "--help")
    assert result.exit_code == 0
    assert "Exit codes:" in result.output


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_says_in_the_list_what_it_says_itself(verb: str) -> None:
    module, line = VERBS[verb]
    command: click.Command = getattr(importlib.import_module(f"workers.cli.{module}"), verb)
    # The list may be shorter: the beginning of both is the same word.
    assert (command.help or "").split()[0].rstrip(".") == line.split()[0].rstrip(".")


WITHOUT_JSON = {"metrics", "migrate", "pool", "gateway", "openapi", "flower", "completion"}
"""Verbs that print in a form of their own, or become another process."""


def test_each_verb_that_reads_or_changes_something_offers_json() -> None:
    assert {verb for verb in VERBS if "--json" not in run(verb, "--help").output} == WITHOUT_JSON


def subverbs() -> list[tuple[str, str]]:
    """Each subverb there is, after its verb."""
    commands = [(verb, cli.get_command(click.Context(cli), verb)) for verb in VERBS]
    return [(verb, sub) for verb, command in commands if isinstance(command, click.Group) for sub in command.commands]


@pytest.mark.parametrize(("verb", "sub"), subverbs())
def test_an_option_of_the_list_is_not_passed_over_by_a_subverb(verb: str, sub: str) -> None:
    result = run(verb, "--json", sub)
    assert result.exit_code == INVALID
    assert f"--json here is of the list: `{sub}` would pass over it." in result.stderr


def test_help_waits_for_no_heavy_library() -> None:
    code = "import sys; from workers.cli import cli; cli(['--help'], standalone_mode=False); print(sorted(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("'celery'", "'sqlalchemy'", "'redis'", "'rich'", "'marshmallow'"):
        assert heavy not in shown, heavy


BY_ITSELF = ("completion",)
"""Verbs that need no package but that of the command line."""
EVERY_VERB_WITHOUT = """
import sys
from click.testing import CliRunner
sys.modules[sys.argv[1]] = None
from workers.cli import VERBS, cli
for verb in [each for each in VERBS if each not in sys.argv[2:]]:
    result = CliRunner().invoke(cli, [verb])
    print(verb, result.exit_code, result.output.strip())
"""


def test_every_verb_says_which_package_is_missing_and_how_to_get_it() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", EVERY_VERB_WITHOUT, "redis", *BY_ITSELF],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    how = "install the requirements (pip install --require-hashes -r requirements.lock)"
    assert shown.stdout.splitlines() == [
        f"{verb} {UNCONFIGURED} Error: package redis is missing: {how}" for verb in VERBS if verb not in BY_ITSELF
    ]


def test_without_the_package_of_the_command_line_itself_there_is_a_sentence_too() -> None:
    code = "import sys; sys.modules['click'] = None; import workers.__main__"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert shown.returncode == UNCONFIGURED
    assert shown.stderr.startswith("Error: package click is missing: install ")
    assert shown.stderr.count("\n") == 1


@pytest.mark.parametrize("speed", ["nan", "inf", "-inf", "0", "fast"])
def test_a_speed_that_is_no_speed_is_wrong_usage(speed: str, tmp_path: Path) -> None:
    result = run("up", "--speed", speed)
    assert result.exit_code == INVALID
    assert "--speed" in result.stderr
    assert not (tmp_path / "var").exists()


def test_settings_that_parts_could_not_use_stop_up_before_it_starts_any(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_forever(*_args: object) -> None:
        raise AssertionError("something was started")

    monkeypatch.setattr("workers.supervisor.Supervisor.run_forever", run_forever)
    monkeypatch.setenv("REELWORKS_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("REELWORKS_PROVIDER_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("REELWORKS_POLL_FIRST_S", "soon")
    result = run("up", "--no-flower", "--no-gateway")
    assert result.exit_code == UNCONFIGURED
    assert "REELWORKS_POLL_FIRST_S: " in result.stderr


def test_an_unknown_verb_is_wrong_usage() -> None:
    result = run("generate")
    assert result.exit_code == INVALID
    assert "No such command" in result.stderr


def test_invalid_settings_are_named_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELWORKS_REDIS_URL", f"http://:{SECRET}@host")
    monkeypatch.setenv("REELWORKS_POLL_FIRST_S", "soon")
    result = run("jobs")
    assert result.exit_code == UNCONFIGURED
    assert "REELWORKS_REDIS_URL: " in result.stderr
    assert "REELWORKS_POLL_FIRST_S: " in result.stderr
    assert SECRET not in result.output


@pytest.mark.parametrize("verb", [["jobs"], ["job", "x"], ["costs"], ["watch"], ["pool", "lanes"]])
def test_without_a_database_a_sentence_says_how_to_get_one(verb: list[str], tmp_path: Path) -> None:
    result = run(*verb)
    assert result.exit_code == UNCONFIGURED
    assert "python -m workers up" in result.stderr
    assert not (tmp_path / "var").exists(), "looking must not create anything"


def test_a_database_that_was_never_migrated_is_refused_with_the_way_to_migrate(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "reelworks.db").touch()
    result = run("jobs")
    assert result.exit_code == UNCONFIGURED
    assert "python -m workers migrate" in result.stderr


def test_migrate_makes_the_database_and_then_there_are_no_jobs() -> None:
    assert run("migrate").exit_code == 0
    result = run("jobs")
    assert (result.exit_code, result.output) == (0, "No jobs.\n")


def test_costs_of_nothing_are_nothing() -> None:
    run("migrate")
    assert run("costs").output.endswith("total $0.00 in 0 charges\n")


def test_addresses_come_from_the_stack_that_runs_in_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    lock = FolderLock(folder / "stack.lock")
    lock.acquire()
    announce(folder, os.getpid())
    result = run("jobs", "--var", str(folder))
    lock.release()
    assert "/nowhere/at-all.db" in result.stderr


@pytest.mark.parametrize("pid", [os.getpid(), 0, "1", None], ids=["alive", "zero", "text", "none"])
def test_addresses_that_a_killed_stack_left_are_not_believed(pid: object, tmp_path: Path) -> None:
    """The id may by now be another process', which holds no lock."""
    folder = tmp_path / "stack"
    lock = FolderLock(folder / "stack.lock")
    lock.acquire()
    lock.release()
    announce(folder, pid)
    result = run("jobs", "--var", str(folder))
    assert f"no database at {folder}" in result.stderr


def test_addresses_of_another_process_than_the_locks_holder_are_not_believed(tmp_path: Path) -> None:
    """A stack that is starting in the folder of a killed one has not written its own yet."""
    folder = tmp_path / "stack"
    lock = FolderLock(folder / "stack.lock")
    lock.acquire()
    announce(folder, os.getppid())
    result = run("jobs", "--var", str(folder))
    lock.release()
    assert f"no database at {folder}" in result.stderr


@pytest.mark.parametrize(
    ("environment", "keys"),
    [
        ({}, "simulator=sk-simulator"),
        ({"REELWORKS_PROVIDER_URL": "http://127.0.0.1:1"}, "simulator=sk-simulator"),
        ({"REELWORKS_PROVIDER_URL": "https://cloud.vtrix.ai"}, None),
        ({"REELWORKS_PROVIDER_KEYS": "main=sk-own"}, "main=sk-own"),
        ({"VTRIX_API_KEY_FILE": "key"}, None),
    ],
    ids=["none", "its provider", "another provider", "own keys", "a file of one"],
)
def test_who_joins_a_stack_asks_its_simulator_with_its_keys(
    environment: dict[str, str], keys: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no other provider, and with none of its keys where the environment has some."""
    for name, value in {"REELWORKS_VAR": str(tmp_path), **environment}.items():
        monkeypatch.setenv(name, value)
    lock = FolderLock(tmp_path / "stack.lock")
    lock.acquire()
    announce(tmp_path, os.getpid())
    assert join_running_stack()
    lock.release()
    assert os.environ.get("REELWORKS_PROVIDER_KEYS") == keys


def announce(folder: Path, supervisor: object) -> None:
    addresses = {
        "redis_url": "redis://127.0.0.1:1/0",
        "database_url": "sqlite:////nowhere/at-all.db",
        "provider_url": "http://127.0.0.1:1",
        "provider_keys": "simulator=sk-simulator",
        "pids": {"supervisor": supervisor},
    }
    (folder / "addresses.json").write_text(json.dumps(addresses))


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (RequestInvalid([Problem("prompt", "too_long", "has 3000 characters")]), INVALID, "prompt: has 3000"),
        (IdempotencyConflict("j1"), INVALID, "use a new key"),
        (NotSubmitted("Redis did not answer", unknown=False), UNREACHABLE, "python -m workers up"),
        (WaitTimeout("j1", 3), FAILED, "python -m workers watch j1"),
        (SettingsInvalid({"REELWORKS_X": "is wrong"}), UNCONFIGURED, "REELWORKS_X: is wrong"),
        (SchemaMismatch(None, "0001"), UNCONFIGURED, "python -m workers migrate"),
        (PartFailed("valkey died"), FAILED, "valkey died"),
        (StoreNotWritable("the store /x"), UNCONFIGURED, "the store /x"),
        (ModuleNotFoundError(SECRET, name="PIL.Image"), UNCONFIGURED, "package pillow is missing: install the req"),
        (ModuleNotFoundError(SECRET, name="tasks.gone"), FAILED, "ModuleNotFoundError"),
        (redis.ConnectionError(SECRET), UNREACHABLE, "REELWORKS_REDIS_URL"),
        (redis.AuthenticationError(SECRET), UNREACHABLE, "AuthenticationError"),
        (sa.exc.OperationalError(SECRET, {}, Exception(SECRET)), UNREACHABLE, "REELWORKS_DATABASE_URL"),
        (PermissionError(13, "Permission denied", "/data"), FAILED, "Permission denied: /data."),
        (ZeroDivisionError(SECRET), FAILED, "ZeroDivisionError"),
    ],
)
def test_every_error_becomes_a_sentence_and_a_code(error: Exception, code: int, words: str) -> None:
    failure = explained(error)
    assert failure.exit_code == code
    assert words in failure.message
    assert SECRET not in failure.message


def test_an_interruption_has_its_own_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("workers.cli.jobs.opened_ledger", interrupted)
    result = run("jobs")
    assert result.exit_code == INTERRUPTED
    assert result.stderr == "Interrupted.\n"


def test_an_error_never_shows_as_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr("workers.cli.jobs.opened_ledger", broken)
    result = run("jobs")
    assert result.exit_code == FAILED
    assert result.stderr.startswith("Error: this should not have happened: RuntimeError at ")
    assert SECRET not in result.output
