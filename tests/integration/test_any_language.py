"""What the README says that clients in any language can do, done without one: RESP on a plain socket. And its program
that has Celery and none of our code.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from ops.simulator.bill import read_bill
from tests.support.readme import alike, programs, words_of_xadd
from tests.support.resp import Wire
from tests.support.wholestack import whole_stack
from tests.support.works import request
from workers.embedded import EmbeddedStack

pytestmark = [pytest.mark.enable_socket, pytest.mark.timeout(300)]

CELERYS = "by_name.py"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    with whole_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture
def wires(stack: EmbeddedStack) -> Iterator[tuple[Wire, Wire]]:
    """One to ask on, and one to listen on."""
    url = str(stack.addresses["redis_url"])
    with Wire(url) as asking, Wire(url, within_s=120) as listening:
        yield asking, listening


def asked(job_id: str, text: str) -> list[str]:
    return [{"ID": job_id, "JSON": text}.get(word, word) for word in words_of_xadd()]


def views(listening: Wire) -> Iterator[dict[str, Any]]:
    """A job's views as they are published, to the one that says how it ended."""
    while True:
        kind, _, text = listening.hear()
        assert kind == "message"
        view: dict[str, Any] = json.loads(text)
        yield view
        if view["status"] in ("SUCCESS", "FAILURE"):
            return


def test_a_request_by_xadd_is_followed_to_its_film(stack: EmbeddedStack, wires: tuple[Wire, Wire]) -> None:
    asking, listening = wires
    name = "celery-task-meta-order-4715"
    assert listening.ask("SUBSCRIBE", name) == ["subscribe", name, 1]
    text = json.dumps(request())
    first = asking.ask(*asked("order-4715", text))
    assert asking.ask(*asked("order-4715", text)) != first  # sent once more: the same job
    told = list(views(listening))
    ended = told[-1]
    assert ended["status"] == "SUCCESS"
    assert (ended["result"]["state"], ended["result"]["charged_usd"]) == ("completed", "0.10")
    assert json.loads(asking.ask("GET", name)) == ended
    # Each goes on with the story of the one before, from its beginning. That one of a moment may be passed over: who
    # admits can be quicker with the next view than who accepts with the first.
    stories = [[(event["event"], event["at"]) for event in view["result"]["events"]] for view in told]
    assert all(later[: len(story)] == story for story, later in pairwise(stories))
    assert stories[0][0][0] == "accept"
    assert "generating" in [view["result"]["state"] for view in told]
    film = Path(str(stack.addresses["store"])) / ended["result"]["outputs"][0]["path"]
    with av.open(str(film)) as opened:
        assert opened.streams.video[0].width == ended["result"]["outputs"][0]["width"]
    bill = read_bill(Path(str(stack.addresses["bill"])))
    assert len(bill.creates) == 1


def test_what_can_not_be_read_is_said_in_the_view(wires: tuple[Wire, Wire]) -> None:
    asking, listening = wires
    listening.ask("SUBSCRIBE", "celery-task-meta-order-4716")
    asking.ask(*asked("order-4716", '{"model": "none of ours"}'))
    (view,) = views(listening)
    assert view["status"] == "FAILURE"
    assert "there is no model" in json.dumps(view["result"])


def test_celerys_program_prints_what_the_readme_says(stack: EmbeddedStack, tmp_path: Path) -> None:
    program = programs()[CELERYS]
    (tmp_path / CELERYS).write_text(program.text)
    (tmp_path / "request.json").write_text(json.dumps(request()))
    command = [sys.executable, "-P", CELERYS, str(stack.addresses["redis_url"])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert alike(done.stdout) == program.prints
