"""`make release`: builds what a version is handed over as into dist/, from a commit, with checksums. Publishes nothing.

The same commit makes the same files: all times are the commit's, or `SOURCE_DATE_EPOCH`. Refuses a tree with changes,
because nobody could build that again, and a version of which CHANGELOG.md says nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ops.release import imagecontext, packages
from ops.release.tools import ToolFailed, run

ROOT: Final = Path(__file__).parents[2]
SUMS: Final = "SHA256SUMS"


class NotReleased(Exception):
    """Nothing was put into dist/; the message says why, and what to do first."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Build all of it and say what there is; the exit code is 1 when nothing was made."""
    parser = argparse.ArgumentParser(prog="python -m ops.release", description="Build a version into dist/.")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="the folder to put it into")
    parser.add_argument("--uncommitted", action="store_true", help="to try it: build a tree that has changes")
    given = parser.parse_args(arguments)
    try:
        commit = _commit(allow_changes=given.uncommitted)
        name = version()
        _check_told(name)
        made_at = _time()
        built = build(given.dist, name, made_at)
    except (NotReleased, imagecontext.NoContext, packages.NotListed, ToolFailed) as error:
        print(f"release: {error}", file=sys.stderr)  # noqa: T201 (a command line)
        return 1
    print(f"reelworks {name} of {commit}, as of {datetime.fromtimestamp(made_at, UTC):%Y-%m-%d %H:%M:%SZ}")  # noqa: T201
    for file in built:
        print(f"  {file.stat().st_size:>9,}  {file.name}")  # noqa: T201 (as above)
    return 0


def build(dist: Path, name: str, made_at: int) -> list[Path]:
    """Build the files of version `name` and their checksums, and put them into `dist` in place of an older build's.

    Everything is made before anything is put there. `made_at`: the time that they bear, in seconds since 1970.
    """
    dist.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=dist) as place:
        folder = Path(place).resolve()
        _build_packages(folder, made_at)
        (folder / f"reelworks-{name}-image.tar.gz").write_bytes(imagecontext.archive(ROOT, made_at))
        packages.write(ROOT / "requirements.lock", ROOT / "pyproject.toml", folder / f"reelworks-{name}-image.cdx.json")
        sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(folder.iterdir())]
        (folder / SUMS).write_text("".join(sums), encoding="utf-8")
        for old in [*dist.glob("reelworks-*"), dist / SUMS]:
            old.unlink(missing_ok=True)
        return [file.replace(dist / file.name) for file in sorted(folder.iterdir())]


def version() -> str:
    """The version that pyproject.toml names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def _build_packages(folder: Path, made_at: int) -> None:
    """The wheel and the sdist, which the same backend makes as `pip wheel` does."""
    words = ("build", "-t", "wheel", "-t", "sdist", "-d", str(folder))
    run("hatchling", *words, folder=ROOT, env={"SOURCE_DATE_EPOCH": str(made_at)})


def _commit(*, allow_changes: bool) -> str:
    """The commit that is built, by its short name. Raises NotReleased where the tree has something else."""
    commit = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain").splitlines()  # new files too: the wheel would take them along
    if not changed:
        return commit
    if not allow_changes:
        raise NotReleased(
            f"{len(changed)} files differ from commit {commit}: commit or stash them, or try --uncommitted"
        )
    return f"{commit} with {len(changed)} files changed"


def _time() -> int:
    """When it was made, in seconds since 1970, as all of it says. Raises NotReleased."""
    text = os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct")
    if not text.isdecimal():
        raise NotReleased(f"SOURCE_DATE_EPOCH must be whole seconds since 1970, not {text!r}")
    return int(text)


def _check_told(name: str) -> None:
    told = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(rf"^## \[{re.escape(name)}]", told, re.MULTILINE):
        raise NotReleased(f"CHANGELOG.md has no section [{name}]: move what is under [Unreleased] there")


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603, S607
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotReleased(f"git {words[0]} failed, and a version is built from a commit: {error}") from None
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
