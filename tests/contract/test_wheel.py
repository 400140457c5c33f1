"""The wheel, as another service would have it: built, put into an empty environment, and used to submit."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from PIL import Image as Pillow

import schemas
from schemas import keys, parse_request
from tests.support.valkey import valkey_server

ROOT = Path(schemas.__file__).parent.parent

SERVICE = """
import sys
import reelworks

with reelworks.Producer(sys.argv[1]) as producer:
    handle = producer.submit(
        model="minimax_hailuo_02_i2v",
        first_frame_image=reelworks.image_from(sys.argv[2]),
        prompt="[pan left] a red square",
        idempotency_key="order-1",
    )
    print(handle.id, handle.state, reelworks.__file__)
try:
    import schemas
except ModuleNotFoundError:
    print("alone")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert built.returncode == 0, built.stderr
    [path] = folder.glob("*.whl")
    return path


def needed(path: Path) -> Iterator[str]:
    """The names of the distributions that the wheel declares, and of those that these declare."""
    with zipfile.ZipFile(path) as archive:
        [metadata] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        lines = archive.read(metadata).decode().splitlines()
    waiting = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]
    seen: set[str] = set()
    while waiting:
        requirement = Requirement(waiting.pop())
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if applies and requirement.name not in seen:
            seen.add(requirement.name)
            waiting.extend(distribution(requirement.name).requires or [])
            yield requirement.name


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter whose environment holds the wheel and what it declares to need, and nothing else.

    The dependencies are linked from the environment of the tests, so that no package index is asked.
    """
    folder = tmp_path_factory.mktemp("service")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True, timeout=60)
    interpreter = folder / "venv" / "bin" / "python"
    [packages] = (folder / "venv").glob("lib/*/site-packages")
    for name in needed(wheel):
        found = distribution(name)
        for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            (packages / top).symlink_to(str(found.locate_file(top)))
    install = [sys.executable, "-m", "pip", "--python", interpreter, "install", "-q", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True, timeout=100)
    return interpreter


def test_the_wheel_holds_the_contract_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"reelworks"}
    assert len(tops) == 2
    assert {"reelworks/__init__.py", "reelworks/py.typed", "reelworks/submit.lua"} <= set(names)
    sources = {path.name for path in Path(schemas.__file__).parent.iterdir() if path.is_file()}
    assert {name.removeprefix("reelworks/") for name in names if name.startswith("reelworks/")} == sources


def test_the_wheel_needs_few_things(wheel: Path) -> None:
    assert {name.lower() for name in needed(wheel)} <= {
        "marshmallow",
        "pillow",
        "redis",
        "typing-extensions",
        "async-timeout",
    }


def test_another_service_submits_with_it(python: Path, tmp_path: Path) -> None:
    picture = tmp_path / "red.png"
    Pillow.new("RGB", (640, 480), "red").save(picture)
    with valkey_server(tmp_path) as valkey:
        command = [python, "-I", "-c", SERVICE, valkey.url, picture]
        done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        [(_, entry)] = valkey.client.xrange(keys.REQUESTS)
        request = parse_request(json.loads(entry[b"request"]), stored_inputs=True)
        stored = valkey.client.get(keys.input_blob(request.first_frame_image.sha256))
    submitted, alone = done.stdout.splitlines()
    job_id, state, origin = submitted.split()
    assert alone == "alone"
    assert str(ROOT) not in origin
    assert (state, entry[b"job"].decode()) == ("None", job_id)
    assert request.prompt == "[pan left] a red square"
    assert stored == picture.read_bytes()
