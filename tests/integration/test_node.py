"""The README's programs in Node, as the README shows them, against a whole stack: asked for, waited for, printed.

They need Node and two packages, which `make node` installs: without these they are skipped, unless `make node` asks.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.readme import alike, programs
from tests.support.wholestack import whole_stack
from tests.support.works import request
from workers.stackplan import ROOT

pytestmark = [pytest.mark.enable_socket, pytest.mark.timeout(300)]

NEEDED: Final = "REELWORKS_NODE_NEEDED"
"""Set: what is missing is a failure."""
INSTALLED: Final = ROOT / "var" / "node" / "node_modules"
WANTED: Final[dict[str, str]] = json.loads((ROOT / "tests" / "node" / "package.json").read_text())["dependencies"]
PROGRAMS: Final = {name: each for name, each in programs().items() if each.runs == "node"}


def missing() -> str | None:
    """What the programs need and can't be found here; `None`: nothing."""
    if shutil.which("node") is None:
        return "node is missing"
    for name, version in WANTED.items():
        try:
            found = json.loads((INSTALLED / name / "package.json").read_text())["version"]
        except FileNotFoundError:
            found = None
        if found != version:
            return f"package {name} {version} is missing: `make node` installs it"
    return None


@pytest.fixture(scope="module")
def node() -> str:
    """The path of Node, with all that the programs need."""
    problem = missing()
    if problem is not None and os.environ.get(NEEDED):
        pytest.fail(problem)
    if problem is not None:
        pytest.skip(problem)
    return str(shutil.which("node"))


@pytest.fixture(scope="module")
def redis_address(node: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with whole_stack(tmp_path_factory.mktemp("stack")) as running:
        yield str(running.addresses["redis_url"])


def test_the_readme_shows_a_program_for_each_package() -> None:
    required = {name for name in WANTED for each in PROGRAMS.values() if f'require("{name}")' in each.text}
    assert required == WANTED.keys()
    assert len(PROGRAMS) == len(WANTED)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_of_the_readme_prints_what_it_says(node: str, redis_address: str, tmp_path: Path, name: str) -> None:
    program = PROGRAMS[name]
    (tmp_path / name).write_text(program.text)
    (tmp_path / "request.json").write_text(json.dumps(request()))
    environment = {**os.environ, "NODE_PATH": str(INSTALLED)}
    command = [node, name, redis_address]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert alike(done.stdout) == program.prints
