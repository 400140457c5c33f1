"""`make audit`: looks the locked packages up in the database of known vulnerabilities, and never passes vacuously.

Before the lock, pip-audit has to judge a canary: a package with a known advisory. When it is not reported, nothing
was looked up (no database, no network, a pip-audit that ignores everything), and an empty report on the lock is worth
nothing. Refuses to decide what a finding means: any finding fails.

    python -m ops.audit requirements.lock [--pip-audit "uvx pip-audit"]
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

CANARY: Final = "jinja2==2.4.1"
_TIMEOUT_S: Final = 600.0

CLEAN: Final = 0
FOUND: Final = 1
NOT_LOOKED_UP: Final = 2
"""Exit codes: nothing is known against the packages; something is; it could not be found out."""


class NotLookedUp(Exception):
    """There is no judgement; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge a lock and print what is known against it; gives one of the exit codes above."""
    parser = argparse.ArgumentParser(prog="python -m ops.audit")
    parser.add_argument("lock", type=Path)
    parser.add_argument("--pip-audit", default="pip-audit", help="the command, with options if it needs any")
    given = parser.parse_args(arguments)
    try:
        _check_canary(given.pip_audit)
        report = _report(given.pip_audit, given.lock)
        found = _vulnerable(report)
        _check_whole(report, given.lock)
    except NotLookedUp as reason:
        print(f"audit: {reason}", file=sys.stderr)  # noqa: T201 (a command line)
        return NOT_LOOKED_UP
    for name, ids in sorted(found.items()):
        print(f"audit: {name}: {', '.join(ids)}")  # noqa: T201 (as above)
    packages = len(report["dependencies"])
    print(f"audit: {packages} packages looked up, {len(found)} with known vulnerabilities; the canary was reported")  # noqa: T201
    return FOUND if found else CLEAN


def _check_canary(command: str) -> None:
    """Raises NotLookedUp when the canary is not reported."""
    with tempfile.TemporaryDirectory() as folder:
        canary = Path(folder) / "canary.txt"
        canary.write_text(f"{CANARY}\n")
        found = _vulnerable(_report(command, canary, "--no-deps"))
    if "jinja2" not in found:
        raise NotLookedUp(f"{CANARY} was not reported, which is known to be vulnerable: nothing was looked up")


def _report(command: str, requirements: Path, *options: str) -> dict[str, Any]:
    """What pip-audit says of a file of requirements. Raises NotLookedUp."""
    words = shlex.split(command)
    if not words or shutil.which(words[0]) is None:
        raise NotLookedUp(f"{command or 'pip-audit'} is not found: pip install pip-audit, or name yours: PIP_AUDIT=...")
    argv = [*words, "--strict", "--disable-pip", "--format=json", "--progress-spinner=off", *options]
    if "--no-deps" not in options:
        argv.append("--require-hashes")
    try:
        ended = subprocess.run(  # noqa: S603 (the command is the caller's own)
            [*argv, "--requirement", str(requirements)], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotLookedUp(f"pip-audit did not end within {_TIMEOUT_S:g} s") from None
    try:
        report: Any = json.loads(ended.stdout)
        report["dependencies"][0]["name"]
    except (ValueError, LookupError, TypeError):
        last = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise NotLookedUp(
            f"pip-audit gave no report on {requirements.name} (exit code {ended.returncode}): {last}"
        ) from None
    if ended.returncode not in (0, 1):
        raise NotLookedUp(f"pip-audit ended with exit code {ended.returncode} on {requirements.name}")
    whole: dict[str, Any] = report
    if ended.returncode == 1 and not _vulnerable(whole):
        raise NotLookedUp(f"pip-audit failed on {requirements.name} and named no vulnerability")
    return whole


def _vulnerable(report: dict[str, Any]) -> dict[str, list[str]]:
    """Ids of advisories by package."""
    return {
        _normal(each["name"]): [str(advisory["id"]) for advisory in each["vulns"]]
        for each in report["dependencies"]
        if each.get("vulns")
    }


def _check_whole(report: dict[str, Any], lock: Path) -> None:
    """Every package of the lock that can be installed here has been judged, none skipped. Raises NotLookedUp."""
    judged = {_normal(each["name"]) for each in report["dependencies"] if "skip_reason" not in each}
    skipped = {_normal(each["name"]) for each in report["dependencies"]} - judged
    # A line with a marker (`; sys_platform == ...`) is for some machines alone.
    pinned = {
        _normal(line.partition("==")[0])
        for line in lock.read_text(encoding="utf-8").splitlines()
        if "==" in line and line[0].isalnum() and ";" not in line
    }
    missing = sorted((pinned - judged) | skipped)
    if missing:
        raise NotLookedUp(f"not judged: {', '.join(missing)}")


def _normal(name: str) -> str:
    return name.partition("[")[0].strip().lower().replace("_", "-").replace(".", "-")


if __name__ == "__main__":
    sys.exit(main())
