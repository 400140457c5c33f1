"""The wheel, as another service would have it: built, put into an empty environment, and used to submit."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from PIL import Image as Pillow

import schemas
from schemas import keys, parse_request
from tests.support.raw import RawServer, answer, read_request
from tests.support.samples import sample
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

ASYNC_SERVICE = """
import asyncio, sys
import reelworks

async def main():
    async with reelworks.AsyncProducer(sys.argv[1], gateway_url=sys.argv[2], api_key="rw_key") as producer:
        print(await producer.estimate(model="minimax_hailuo_23_t2v", prompt="a lake"))
        print((await producer.handle("job-1").get(timeout=30)).outputs[0].path)
        print([view.job_id async for view in producer.list(state="completed")])
        (path,) = await producer.handle("job-1").save(sys.argv[3])
        print(path.read_bytes())

asyncio.run(main())
print(sorted({"celery", "requests", "urllib3", "sqlalchemy"} & set(sys.modules)))
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
    assert {name.lower() for name in needed(wheel)} <= {"marshmallow", "redis", "typing-extensions", "async-timeout"}


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


def test_another_service_waits_lists_and_saves_with_it(python: Path, tmp_path: Path) -> None:
    record = json.dumps(sample("view_completed"))
    with valkey_server(tmp_path) as valkey, RawServer(gateway) as server:
        valkey.client.set(keys.view("job-1"), record)
        command = [python, "-I", "-c", ASYNC_SERVICE, valkey.url, server.url, tmp_path / "film.mp4"]
        done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["0.28", "film/job-1/0.mp4", "['job-1']", "b'film'", "[]"]


def gateway(connection: Any, _server: RawServer) -> None:
    """What a gateway says of the job of the samples, whose film is four bytes here."""
    head, _ = read_request(connection)
    job = sample("gateway_job")
    job["outputs"][0] |= {"size_bytes": 4, "sha256": hashlib.sha256(b"film").hexdigest()}
    if b"/outputs/0" in head:
        connection.sendall(answer(b"film"))
    elif b"?" in head:
        connection.sendall(answer({"jobs": [job], "next_cursor": None}))
    else:
        connection.sendall(answer(job))
