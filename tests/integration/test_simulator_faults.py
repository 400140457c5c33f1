"""Every fault that a scenario can ask for, as a client meets it on the wire, and what the bill says meanwhile."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import socket
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from ops.simulator.bill import key_alias
from ops.simulator.faults import CREATE, FAULTS, OUTPUT, POLL
from tests.support.simulator import MODEL, Simulator, bearer, data_url, first_url, listening, running
from tests.support.waiting import wait_until

CREATE_PATH = "/model/v1/generation"
PARAMS = {"first_frame_image": data_url(), "resolution": "512P"}
BODY = {"model": MODEL, "input": [{"params": PARAMS}]}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with running(tmp_path_factory.mktemp("simulator"), "--speed", "60", "--seed", "7") as simulator:
        yield simulator


@pytest.fixture
def simulator(shared: Simulator) -> Simulator:
    """The shared simulator, as calm as the provider on a good day."""
    shared.script()
    return shared


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    with listening() as server:
        yield server


def post(simulator: Simulator, **options: Any) -> requests.Response:
    """A create on a connection of its own."""
    return requests.post(simulator.url + CREATE_PATH, json=BODY, headers=bearer("sk-test"), **{"timeout": 5, **options})


def undecoded(url: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    """An answer and its body as they came: nothing unpacked, no redirect followed."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=5)
    try:
        body = json.dumps(BODY) if method == "POST" else None
        connection.request(method, f"{parts.path}?{parts.query}", body, {**bearer("sk-test"), **headers})
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


@contextmanager
def first_bytes(url: str, size_bytes: int) -> Iterator[tuple[http.client.HTTPResponse, bytes]]:
    """The head of an answer and the first bytes of its body; the rest is left to the server."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}", headers=bearer("sk-test"))
        answer = connection.getresponse()
        yield answer, answer.read(size_bytes)
    finally:
        connection.close()


def raw(simulator: Simulator, method: str, path: str, body: bytes = b"") -> bytes:
    """All bytes that come before the connection's orderly end. Raises `ConnectionResetError` for the other end."""
    parts = urlsplit(simulator.url)
    head = f"{method} {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer sk-test\r\n"
    with socket.create_connection((parts.hostname, parts.port), timeout=5) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def task_with(simulator: Simulator, poll: dict[str, Any] | None = None, **groups: Any) -> str:
    """A task that ends at once, treated like this."""
    simulator.script({"poll": {"latency_s": 0, **(poll or {})}, **groups})
    return simulator.create().json()["id"]


def link_with(simulator: Simulator, **output: Any) -> str:
    """The link to the first output of a task whose outputs are treated like this."""
    return first_url(simulator.ended(task_with(simulator, output=output)))


def film_of(simulator: Simulator) -> bytes:
    """The film that each of these tasks gives."""
    return simulator.get(link_with(simulator)).content


# Creates


@pytest.mark.parametrize("status", [408, 409, 425, 500, 502, 503, 504])
def test_an_error_after_accepting_hides_a_task_that_is_on_the_bill(simulator: Simulator, status: int) -> None:
    simulator.script({"create": {"fault": f"http_{status}_after_accept"}})
    before = len(simulator.bill().creates)
    answer = post(simulator)
    assert (answer.status_code, answer.headers.get("Retry-After")) == (status, "1" if status == 503 else None)
    assert "id" not in answer.text.replace("Bad", "")
    assert len(simulator.bill().creates) == before + 1


@pytest.mark.parametrize("fault", ["html", "not_json", "empty_body", "cut_json"])
def test_a_whole_answer_without_readable_json_hides_a_task(simulator: Simulator, fault: str) -> None:
    simulator.script({"create": {"fault": fault}})
    before = len(simulator.bill().creates)
    answer = post(simulator)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == ("text/html" if fault == "html" else "application/json")
    with pytest.raises(ValueError, match=r"Expecting|Unterminated|Invalid"):
        answer.json()
    assert len(simulator.bill().creates) == before + 1


def test_a_create_that_ends_in_a_closed_connection_is_accepted(simulator: Simulator) -> None:
    before = len(simulator.bill().creates)
    simulator.script({"create": {"fault": "accept_then_close"}})
    assert raw(simulator, "POST", CREATE_PATH, json.dumps(BODY).encode()) == b""
    assert len(simulator.bill().creates) == before + 1
    simulator.script({"create": {"fault": "accept_then_reset"}})
    with pytest.raises(ConnectionResetError):
        raw(simulator, "POST", CREATE_PATH, json.dumps(BODY).encode())
    assert len(simulator.bill().creates) == before + 2


def test_a_200_can_say_402_and_then_nothing_was_accepted(simulator: Simulator) -> None:
    simulator.script({"create": {"fault": "says_402"}})
    before = len(simulator.bill().creates)
    answer = post(simulator)
    assert (answer.status_code, answer.json()["status"]["code"], answer.json()["data"]) == (200, 402, None)
    assert len(simulator.bill().creates) == before


@pytest.mark.parametrize("stage", [CREATE, POLL, OUTPUT])
def test_a_body_that_is_not_the_gzip_it_says_cannot_be_unpacked(simulator: Simulator, stage: str) -> None:
    groups = {stage: {"fault": "gzip_broken", **({"latency_s": 0} if stage == POLL else {})}}
    simulator.script(groups)
    before = len(simulator.bill().creates)
    answer, body = undecoded(simulator.url + CREATE_PATH, "POST")
    if stage != CREATE:
        url = f"{simulator.url}{CREATE_PATH}/task/{json.loads(body)['id']}"
        answer, body = undecoded(url)
    if stage == OUTPUT:
        done = simulator.ended(url.rpartition("/")[2])
        answer, body = undecoded(first_url(done))
    assert (answer.status, answer.headers["Content-Encoding"]) == (200, "gzip")
    assert answer.headers["Content-Length"] == str(len(body))
    with pytest.raises(zlib.error):
        gzip.decompress(body)
    assert len(simulator.bill().creates) == before + 1


def test_a_redirect_of_a_create_hides_a_task_and_one_more_with_every_hop(simulator: Simulator) -> None:
    simulator.script({"create": {"fault": "redirect"}})
    before = len(simulator.bill().creates)
    answer = post(simulator, allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/elsewhere")
    assert len(simulator.bill().creates) == before + 1
    simulator.script({"times": 2, "create": {"fault": "redirect_loop"}})
    followed = post(simulator)
    assert [hop.status_code for hop in (*followed.history, followed)] == [307, 307, 200]
    assert len(simulator.bill().creates) == before + 4


def test_a_storm_of_429s_may_say_nothing_about_when_to_come_back(simulator: Simulator) -> None:
    simulator.script({"times": 3, "create": {"status": 429}})
    answers = [simulator.create() for _ in range(4)]
    assert [answer.status_code for answer in answers] == [429, 429, 429, 200]
    assert all("Retry-After" not in answer.headers for answer in answers)


# Polls


@pytest.mark.parametrize(
    ("fault", "status", "retry_after"),
    [
        ("http_401", 401, None),
        ("http_403", 403, None),
        ("http_404", 404, None),
        ("http_429", 429, None),
        ("http_429_retry_after", 429, "1"),
        ("http_500", 500, None),
        ("http_503", 503, None),
        ("redirect", 302, None),
    ],
)
def test_a_poll_errs_for_a_while_and_then_shows_the_task(
    simulator: Simulator, fault: str, status: int, retry_after: str | None
) -> None:
    task = task_with(simulator, {"fault": fault, "fault_times": 2})
    for _ in range(2):
        answer, _ = undecoded(f"{simulator.url}{CREATE_PATH}/task/{task}")
        assert (answer.status, answer.headers.get("Retry-After")) == (status, retry_after)
    assert simulator.ended(task)["status"] == "completed"


def test_a_task_can_be_not_found_for_good_and_is_billed(simulator: Simulator) -> None:
    task = task_with(simulator, {"fault": "http_404", "fault_times": None})
    wait_until(lambda: task in simulator.bill().usd_by_task, what="the end of the task")
    assert {simulator.poll(task).status_code for _ in range(5)} == {404}


def test_polls_end_in_a_reset_a_closed_connection_a_cut_body_or_drip(simulator: Simulator) -> None:
    path = f"{CREATE_PATH}/task/"
    with pytest.raises(ConnectionResetError):
        raw(simulator, "GET", path + task_with(simulator, {"fault": "reset"}))
    assert raw(simulator, "GET", path + task_with(simulator, {"fault": "close"})) == b""
    with pytest.raises(http.client.IncompleteRead):
        undecoded(simulator.url + path + task_with(simulator, {"fault": "truncated_body"}))
    with first_bytes(simulator.url + path + task_with(simulator, {"fault": "slow_drip"}), 2) as (answer, got):
        assert got == b'{"'
        assert int(answer.headers["Content-Length"]) > 100


def test_a_task_goes_back_from_its_end_for_some_polls(simulator: Simulator) -> None:
    task = task_with(simulator, {"goes_back": 2})
    simulator.ended(task)
    after = [simulator.poll(task).json() for _ in range(4)]
    assert [body["status"] for body in after] == ["in_progress", "in_progress", "completed", "completed"]
    assert after[0]["progress"] < 1
    assert "output" not in after[0]
    assert [line.task for line in simulator.bill().prices].count(task) == 1


def test_a_status_can_be_a_word_that_nobody_knows(simulator: Simulator) -> None:
    task = task_with(simulator, {"words": {"in_progress": "pondering"}, "latency_s": 36000})
    assert simulator.poll(task).json()["status"] == "pondering"


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("string", '"0.10"'),
        ("number", "0.1"),
        ("null", "null"),
        ("garbage", '"n/a"'),
        ("negative", '"-0.10"'),
        ("negative_number", "-0.1"),
        ("nan", '"NaN"'),
        ("nan_number", "NaN"),
        ("huge", '"1e400"'),
        ("huge_number", "1e400"),
    ],
)
def test_whatever_cost_a_poll_shows_the_bill_has_the_price(simulator: Simulator, form: str, text: str) -> None:
    task = task_with(simulator, {"cost_form": form})
    simulator.ended(task)
    assert f'"usage": {{"cost": {text}, "discount": 1}}' in simulator.poll(task).text
    assert simulator.bill().usd_by_task[task] == Decimal("0.10")


def test_a_failed_task_shows_a_cost_below_zero_and_is_not_billed(simulator: Simulator) -> None:
    poll = {"outcome": "failed", "usage": "present", "cost_form": "negative"}
    done = simulator.ended(task_with(simulator, poll))
    assert done["usage"]["cost"] == "-0.01"
    assert done["id"] not in simulator.bill().usd_by_task


# Outputs


def test_an_output_can_be_an_image_alone_or_stand_elsewhere(simulator: Simulator) -> None:
    (content,) = simulator.ended(task_with(simulator, output={"contents": 0, "cover": True}))["output"][0]["content"]
    assert content["type"] == "image"
    assert simulator.get(content["url"]).headers["Content-Type"] == "image/jpeg"
    assert link_with(simulator, url="http://10.0.0.1/film.mp4") == "http://10.0.0.1/film.mp4"


@pytest.mark.parametrize(
    ("fault", "status"), [("url_expired", 403), ("http_403", 403), ("http_404", 404), ("http_503", 503)]
)
def test_an_output_is_refused_once_and_then_served(simulator: Simulator, fault: str, status: int) -> None:
    url = link_with(simulator, fault=fault)
    assert [simulator.get(url).status_code for _ in range(2)] == [status, 200]


def cut(url: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    """A download that breaks off: its head and what came of it."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=5)
    connection.request("GET", f"{parts.path}?{parts.query}", headers=headers)
    answer = connection.getresponse()
    with pytest.raises(http.client.IncompleteRead) as broken:
        answer.read()
    connection.close()
    return answer, broken.value.partial


def test_a_truncated_output_is_resumed_from_where_it_broke_off(simulator: Simulator) -> None:
    film = film_of(simulator)
    url = link_with(simulator, fault="truncated_output", fault_times=2)
    answer, got = cut(url)
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Content-Length"] == str(len(film))
    kept = {"If-Range": answer.headers["ETag"]}
    answer, more = cut(url, Range=f"bytes={len(got)}-", **kept)
    assert answer.status == 206
    assert answer.headers["Content-Range"] == f"bytes {len(got)}-{len(film) - 1}/{len(film)}"
    got += more
    rest = simulator.get(url, Range=f"bytes={len(got)}-", **kept)
    assert rest.status_code == 206
    assert 0 < len(rest.content) < len(film) / 2
    assert got + rest.content == film


def test_if_range_gives_the_rest_of_the_same_file_alone(simulator: Simulator) -> None:
    url = link_with(simulator)
    whole = simulator.get(url)
    head = requests.head(url, timeout=5)
    tags = [whole.headers["ETag"], whole.headers["Last-Modified"]]
    assert [head.headers["ETag"], head.headers["Last-Modified"]] == tags
    assert (head.headers["Content-Length"], head.content) == (str(len(whole.content)), b"")
    for condition in tags:
        part = simulator.get(url, **{"Range": "bytes=10-", "If-Range": condition})
        assert (part.status_code, part.content) == (206, whole.content[10:])
    for condition in ('"another"', f"W/{tags[0]}", "Thu, 01 Jan 1970 00:00:00 GMT"):
        again = simulator.get(url, **{"Range": "bytes=10-", "If-Range": condition})
        assert (again.status_code, again.content) == (200, whole.content)
    cover = simulator.ended(task_with(simulator, output={"cover": True}))["output"][0]["content"][1]["url"]
    assert simulator.get(cover).headers["ETag"] != tags[0]


def test_a_server_may_ignore_ranges_after_a_truncated_answer(simulator: Simulator) -> None:
    film = film_of(simulator)
    url = link_with(simulator, fault="truncated_output", ranges="ignored")
    answer, got = cut(url)
    assert "Accept-Ranges" not in answer.headers
    again = simulator.get(url, Range=f"bytes={len(got)}-")
    assert (again.status_code, again.content) == (200, film)


@pytest.mark.parametrize(("fault", "size_bytes"), [("slow_drip", 2), ("slow_output", 64 * 1024)])
def test_an_output_comes_slowly(simulator: Simulator, fault: str, size_bytes: int) -> None:
    film = film_of(simulator)
    with first_bytes(link_with(simulator, fault=fault), size_bytes) as (answer, got):
        assert answer.headers["Content-Length"] == str(len(film))
        assert got == film[:size_bytes]


@pytest.mark.parametrize(("fault", "framing"), [("endless", "chunked"), ("endless_unframed", None)])
def test_an_endless_output_goes_on_beyond_its_film(simulator: Simulator, fault: str, framing: str | None) -> None:
    film = film_of(simulator)
    with first_bytes(link_with(simulator, fault=fault), 3 * len(film)) as (answer, got):
        assert got == film * 3
        assert "Content-Length" not in answer.headers
        assert answer.headers.get("Transfer-Encoding") == framing


def test_an_output_of_a_mebibyte_unpacks_to_a_gibibyte(simulator: Simulator) -> None:
    answer, body = undecoded(link_with(simulator, fault="gzip_bomb"))
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(body) < 2 * 1024 * 1024
    first = zlib.decompressobj(wbits=31)
    unpacked_bytes = len(first.decompress(body))
    member = body[: len(body) - len(first.unused_data)]
    assert body == member * 64
    assert 64 * unpacked_bytes == 1024**3


@pytest.mark.parametrize(("fault", "content_type"), [("not_a_video", "text/html"), ("text_as_video", "video/mp4")])
def test_an_output_is_not_what_it_should_be(simulator: Simulator, fault: str, content_type: str) -> None:
    answer = simulator.get(link_with(simulator, fault=fault))
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, content_type)
    assert answer.text.isascii()


def test_an_output_redirects_to_itself_so_often_or_without_end(simulator: Simulator) -> None:
    film = film_of(simulator)
    followed = simulator.get(link_with(simulator, fault="redirect_loop", fault_times=2))
    assert [hop.status_code for hop in followed.history] == [307, 307]
    assert followed.content == film
    with pytest.raises(requests.TooManyRedirects):
        simulator.get(link_with(simulator, fault="redirect_loop", fault_times=None))


@pytest.mark.parametrize(
    "address", ["http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/", "http://[::1]:81/"]
)
def test_an_output_redirects_to_a_private_address(simulator: Simulator, address: str) -> None:
    answer, _ = undecoded(link_with(simulator, fault="redirect", redirect_to=address))
    assert (answer.status, answer.headers["Location"]) == (302, address)


def test_an_output_redirects_to_another_port_of_this_machine(
    simulator: Simulator, hook: tuple[str, list[dict[str, Any]]]
) -> None:
    followed = simulator.get(link_with(simulator, fault="redirect", redirect_to=f"{hook[0]}/picture.png"))
    assert followed.url == f"{hook[0]}/picture.png"
    assert followed.content.startswith(b"\x89PNG")


# Callbacks


def told(seen: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The callbacks but for challenges, as task and status."""
    return [(body["task_id"], body["status"]) for body in list(seen) if "challenge" not in body]


def test_callbacks_are_lost_or_doubled(simulator: Simulator, hook: tuple[str, list[dict[str, Any]]]) -> None:
    url, seen = hook
    simulator.script({"match": {"nth": 1}, "callback": {"silent": True}}, {"callback": {"copies": 2}})
    simulator.finished(callback_url=url)
    task = simulator.finished(callback_url=url)["id"]
    wait_until(lambda: len(told(seen)) == 4, what="the doubled callbacks")
    assert told(seen) == [(task, "processing")] * 2 + [(task, "success")] * 2


def test_an_early_callback_tells_the_id_of_a_create_that_is_never_answered(
    simulator: Simulator, hook: tuple[str, list[dict[str, Any]]]
) -> None:
    url, seen = hook
    simulator.script(
        {"create": {"fault": "accept_then_reset"}, "callback": {"early": True}, "poll": {"latency_s": 36000}}
    )
    with pytest.raises(requests.ConnectionError):
        simulator.create(callback_url=url)
    assert told(seen) == [(simulator.bill().creates[-1].task, "processing")], "before the connection's end"
    simulator.script({"callback": {"early": True, "strict": True}, "poll": {"latency_s": 36000}})
    task = simulator.create(callback_url=url).json()["id"]
    assert told(seen)[1:] == [(task, "processing")], "before the answer"


@pytest.mark.parametrize(
    ("outcome", "forged", "word"),
    [
        ("completed", "unknown_id", "success"),
        ("completed", "other_id", "success"),
        ("completed", "status", "failed"),
        ("failed", "status", "success"),
    ],
)
def test_a_forged_callback_comes_before_the_true_ones(
    simulator: Simulator, hook: tuple[str, list[dict[str, Any]]], outcome: str, forged: str, word: str
) -> None:
    url, seen = hook
    other = simulator.create().json()["id"]
    simulator.script({"callback": {"forged": forged}, "poll": {"outcome": outcome, "latency_s": 0}})
    task = simulator.create(callback_url=url).json()["id"]
    wait_until(lambda: len(told(seen)) == 3, what="the callbacks")
    (named, said), *true = told(seen)
    assert said == word
    assert true == [(task, "processing"), (task, "success" if outcome == "completed" else "failed")]
    known = {"other_id": other, "status": task}
    assert named == known.get(forged, named)
    assert simulator.poll(named).status_code == (404 if forged == "unknown_id" else 200)


def test_a_forged_callback_can_have_the_form_of_a_task(
    simulator: Simulator, hook: tuple[str, list[dict[str, Any]]]
) -> None:
    simulator.script({"callback": {"forged": "status", "form": "task"}, "poll": {"latency_s": 0}})
    task = simulator.create(callback_url=hook[0]).json()["id"]
    wait_until(lambda: len(hook[1]) == 4, what="the challenge and the callbacks")
    assert [body["status"] for body in hook[1][1:]] == ["failed", "in_progress", "completed"]
    assert {body["id"] for body in hook[1][1:]} == {task}


# What an operator sees


def test_the_tasks_on_the_bill_are_shown_with_what_was_done_to_their_creates(tmp_path: Path) -> None:
    params = {**PARAMS, "prompt": "a canary sings"}
    sent = json.dumps(params, sort_keys=True, separators=(",", ":")).encode()
    with running(tmp_path, "--speed", "60") as simulator:
        simulator.script(
            {"name": "lost answers", "match": {"nth": 1}, "create": {"fault": "http_504_after_accept"}},
            {"match": {"nth": 2}, "create": {"fault": "says_402"}},
        )
        assert simulator.create(key="sk-canary", **params).status_code == 504
        simulator.create()
        done = simulator.finished()["id"]
        lost, other = wait_until(lambda: ended_tasks(simulator))
        assert (lost["key"], lost["status"], lost["cost_usd"]) == (key_alias("sk-canary"), "completed", "0.10")
        assert (lost["rules"], lost["fault"]) == (["lost answers", "rules[2]"], "http_504_after_accept")
        assert lost["fingerprint"] == hashlib.sha256(sent).hexdigest()
        assert simulator.poll(lost["id"], key="sk-canary").json()["status"] == "completed"
        assert (other["id"], other["rules"], other["fault"]) == (done, ["rules[2]"], None)
        assert other["fingerprint"] != lost["fingerprint"]
        assert [line.fingerprint for line in simulator.bill().creates] == [lost["fingerprint"], other["fingerprint"]]
        assert [line.at.isoformat(timespec="milliseconds") for line in simulator.bill().creates] == [
            lost["created_at"],
            other["created_at"],
        ]
        assert "canary" not in json.dumps([lost, other]) + (tmp_path / "bill.jsonl").read_text()
    (tmp_path / "data" / "tasks" / f"{done}.json").unlink()
    with running(tmp_path, "--speed", "60") as simulator:
        forgotten = {**other, "status": None, "rules": None, "fault": None}
        assert simulator.admin("tasks")["tasks"] == [lost, forgotten], "all of it outlives the process"


def ended_tasks(simulator: Simulator) -> list[dict[str, Any]] | None:
    shown = simulator.admin("tasks")["tasks"]
    return shown if all(task["status"] == "completed" for task in shown) else None


def test_a_mix_of_chances_falls_on_the_same_share_of_creates_that_come_at_once(simulator: Simulator) -> None:
    faults = ("http_408_after_accept", "http_500_after_accept", "http_504_after_accept", "http_500_before_accept")
    mix = [{"match": {"chance": 0.1}, "create": {"fault": fault}} for fault in faults]

    def storm() -> Counter[str]:
        simulator.script(*mix)
        before = Counter(simulator.admin("state")["counts"])
        with ThreadPoolExecutor(6) as pool:
            statuses = Counter(pool.map(lambda _: post(simulator).status_code, range(60)))
        after = Counter(simulator.admin("state")["counts"])
        met = Counter({fault: after[f"fault.{fault}"] - before[f"fault.{fault}"] for fault in faults})
        assert sum(met.values()) == 60 - statuses[200]
        assert after["accepted"] - before["accepted"] == 60 - met["http_500_before_accept"]
        return met

    first = storm()
    assert all(first[fault] for fault in faults)
    assert storm() == first


# All of them


@pytest.mark.parametrize(
    ("stage", "fault"), [(stage, name) for name, row in FAULTS.items() for stage in sorted(row.stages)]
)
def test_every_fault_is_met_at_its_stage_and_leaves_the_server_well(
    simulator: Simulator, stage: str, fault: str
) -> None:
    def met() -> int:
        return simulator.admin("state")["counts"].get(f"fault.{fault}", 0)

    before, creates = met(), len(simulator.bill().creates)
    if stage == CREATE:
        simulator.script({"create": {"fault": fault}})
        left_alone(simulator.url + CREATE_PATH, "POST")
    elif stage == POLL:
        left_alone(f"{simulator.url}{CREATE_PATH}/task/{task_with(simulator, {'fault': fault})}")
    else:
        left_alone(link_with(simulator, fault=fault))
    wait_until(lambda: met() == before + 1, what="the fault")
    accepted = 0 if stage == CREATE and not FAULTS[fault].accepts else 1
    wait_until(lambda: len(simulator.bill().creates) == creates + accepted, what="the bill")
    simulator.script()
    assert simulator.finished()["status"] == "completed"
    assert len(simulator.bill().creates) == creates + accepted + 1


def left_alone(url: str, method: str = "GET") -> None:
    """Asks, and leaves at the first sign of an answer or soon without one."""
    body = BODY if method == "POST" else None
    try:
        requests.request(
            method, url, json=body, headers=bearer("sk-test"), timeout=0.5, stream=True, allow_redirects=False
        ).close()
    except requests.RequestException:
        return
