"""Shell completion: a real bash completes what the script tells it to; the others' scripts say the same."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from workers.cli import COMPLETE_VARIABLE, VERBS, cli
from workers.cli.completion import NAME, SHELLS, script
from workers.stackplan import ROOT

WITHIN_S = 30.0
HEAVY = ("celery", "sqlalchemy", "redis", "rich", "marshmallow")


def completed(tmp_path: Path, *words: str) -> list[str]:
    """What bash offers for the last of these words, by the function that it would call for a tab."""
    file = tmp_path / "completion.bash"
    file.write_text(script("bash", cli))
    asked = " ".join(f"'{word}'" for word in words)
    typed = f"source {file}; COMP_WORDS=({asked}); COMP_CWORD={len(words) - 1}; _{NAME}_completion {NAME}"
    said = subprocess.run(
        ["bash", "--norc", "-c", f'{typed}; printf "%s\\n" "${{COMPREPLY[@]}}"'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stderr == ""
    return said.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ((NAME, "dr"), ["drain"]),
        ((NAME, ""), list(VERBS)),
        ((NAME, "keys", "o"), ["open"]),
        ((NAME, "pause", "--te"), ["--tenant"]),
        ((NAME, "pool", ""), ["lanes", "create", "finish"]),
        ((NAME, "completion", "f"), ["fish"]),
        ((NAME, "nothing", "x"), []),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_bash_completes_verbs_options_and_choices(tmp_path: Path, words: Sequence[str], offered: list[str]) -> None:
    assert completed(tmp_path, *words) == offered


def test_a_tab_in_bash_completes_what_is_typed(tmp_path: Path) -> None:
    file = tmp_path / "completion.bash"
    file.write_text(script("bash", cli))
    person, shell = pty.openpty()
    env = {**os.environ, "TERM": "dumb", "PS1": "ready> ", "HISTFILE": "", "INPUTRC": "/dev/null"}
    bash = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        cwd=ROOT,
        env=env,
        stdin=shell,
        stdout=shell,
        stderr=shell,
        start_new_session=True,
    )
    try:
        os.write(person, f"source {file}\n".encode())
        _until(person, rb"ready> .*ready> ")
        os.write(person, f"{NAME} resu\t--al\t".encode())
        _until(person, rb"resume --all ")
    finally:
        bash.kill()
        bash.wait()
        os.close(person)
        os.close(shell)


def _until(terminal: int, pattern: bytes) -> None:
    shown, ends_at = b"", time.monotonic() + WITHIN_S
    while not re.search(pattern, shown, re.DOTALL):
        ready, _, _ = select.select([terminal], [], [], max(0.0, ends_at - time.monotonic()))
        assert ready, shown
        shown += os.read(terminal, 4096)


def test_a_shell_that_completes_a_verb_waits_for_no_heavy_library() -> None:
    loaded = f"sorted(set({HEAVY}) & set(sys.modules))"
    code = f"import sys; from workers.cli import main\ntry: main()\nfinally: print({loaded})"
    env = {**os.environ, COMPLETE_VARIABLE: "bash_complete", "COMP_WORDS": f"{NAME} ", "COMP_CWORD": "1"}
    said = subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("shell", SHELLS)
def test_every_script_defines_the_command_and_asks_this_python(shell: str) -> None:
    printed = CliRunner().invoke(cli, ["completion", shell])
    assert printed.exit_code == 0
    command = f"{sys.executable} -m workers"
    assert printed.stdout.count(command) == 2, "once to run it, once to ask it"
    assert f"{COMPLETE_VARIABLE}={shell}_complete" in printed.stdout
    assert "@" not in printed.stdout.replace('"$@"', "").replace("(@f)", "")
    assert "+commands" not in printed.stdout, "a function is no command to zsh"


def test_a_path_with_blanks_and_signs_is_quoted() -> None:
    odd = "/opt/my %(env)s/it's/python"
    text = script("bash", cli, odd)
    (line,) = [line for line in text.splitlines() if line.startswith(f"{NAME}() ")]
    said = subprocess.run(
        ["bash", "--norc", "-c", f"printf '%s|' {line.partition('{ ')[2].partition(' -m')[0]}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == f"{odd}|"
