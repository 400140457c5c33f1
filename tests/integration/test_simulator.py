"""The simulator as a process: create, poll, download, its limits, its faults and its bill."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import av
import pytest
import requests
from PIL import Image

from ops.simulator.bill import key_alias
from tests.support.simulator import MODEL, ROOT, Simulator, bearer, data_url, first_url, listening, running
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with running(tmp_path_factory.mktemp("simulator"), "--speed", "60", "--seed", "7") as simulator:
        yield simulator


@pytest.fixture
def simulator(shared: Simulator) -> Simulator:
    """The shared simulator, as calm as the provider on a good day."""
    shared.script()
    return shared


def test_a_task_is_created_polled_and_its_film_pans_left(simulator: Simulator) -> None:
    simulator.script({"poll": {"latency_s": 300}})
    created = simulator.create(prompt="a bar [pan left]")
    body = created.json()
    assert created.status_code == 200
    assert body.keys() == {"id", "created_at", "status", "model"}
    assert body["status"] == "in_progress"

    running_body = simulator.poll(body["id"]).json()
    assert running_body.keys() == {"id", "status", "progress", "created_at", "model"}
    assert 0 <= running_body["progress"] < 1

    done = simulator.ended(body["id"])
    assert done["status"] == "completed"
    assert done["usage"] == {"cost": "0.10", "discount": 1}
    assert done["metadata"].keys() == {"in_queue_at", "completed_at"}
    film = simulator.get(first_url(done))
    assert film.headers["Content-Type"] == "video/mp4"
    with av.open(io.BytesIO(film.content)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 910, 512)
        assert container.duration == 6_000_000
        frames = [frame.to_image().convert("L") for frame in container.decode(video=0)]
    assert bar_at(frames[-1]) - bar_at(frames[0]) > 0.1

    bill = simulator.bill()
    assert [create.task for create in bill.creates][-1] == body["id"]
    assert bill.usd_by_task[body["id"]] == Decimal("0.10")
    delivered = [(line.index, line.size_bytes) for line in bill.deliveries if line.task == body["id"]]
    assert delivered == [(0, len(film.content))]


def bar_at(frame: Image.Image) -> float:
    line = frame.resize((frame.width, 1), Image.Resampling.BOX).tobytes()
    return line.index(max(line)) / len(line)


def test_an_upright_picture_with_a_last_frame_gives_an_upright_film(simulator: Simulator) -> None:
    params = {"first_frame_image": data_url(360, 640), "last_frame_image": data_url(400, 400), "resolution": "768P"}
    film = simulator.get(first_url(simulator.finished(**params))).content
    with av.open(io.BytesIO(film)) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (768, 1366)


def test_the_same_request_is_rendered_once(simulator: Simulator) -> None:
    simulator.finished(prompt="once [rise]")
    before = simulator.admin("state")["films"]
    simulator.finished(prompt="once [rise]")
    after = simulator.admin("state")["films"]
    assert (after["rendered"], after["reused"]) == (before["rendered"], before["reused"] + 1)


def test_ranges_are_served_and_only_whole_files_are_deliveries(simulator: Simulator) -> None:
    done = simulator.finished()
    url = first_url(done)
    part = simulator.get(url, Range="bytes=100-199")
    assert (part.status_code, len(part.content)) == (206, 100)
    tail = simulator.get(url, Range="bytes=-10")
    assert (tail.status_code, len(tail.content)) == (206, 10)
    assert simulator.get(url, Range="bytes=99999999-").status_code == 416
    assert [line for line in simulator.bill().deliveries if line.task == done["id"]] == []
    whole = simulator.get(url).content
    assert part.content == whole[100:200]
    assert tail.content == whole[-10:]
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(whole)}"
    assert len([line for line in simulator.bill().deliveries if line.task == done["id"]]) == 1


def test_a_link_that_was_tampered_with_is_refused(simulator: Simulator) -> None:
    url = first_url(simulator.finished())
    assert simulator.get(url[:-1] + ("0" if url[-1] != "0" else "1")).status_code == 403
    assert simulator.get(url.split("?")[0]).status_code == 403


def test_a_link_opens_its_own_file_for_its_own_time_alone(simulator: Simulator) -> None:
    simulator.script({"output": {"count": 2}})
    done = simulator.finished()
    (mine, other) = (urlsplit(one["content"][0]["url"]) for one in done["output"])
    assert simulator.get(mine._replace(path=other.path).geturl()).status_code == 403
    expires = parse_qs(mine.query)["expires"][0]
    longer = mine.query.replace(expires, f"{float(expires) + 1:.3f}")
    assert simulator.get(mine._replace(query=longer).geturl()).status_code == 403
    assert simulator.get(mine.geturl()).status_code == 200


@pytest.mark.parametrize(
    ("resolution", "duration_s", "cost_usd"),
    [("512P", 6, "0.10"), ("512P", 10, "0.15"), ("768P", 6, "0.28"), ("768P", 10, "0.56"), ("1080P", 6, "0.48")],
)
def test_each_kind_of_film_has_its_price_in_the_poll_and_on_the_bill(
    simulator: Simulator, resolution: str, duration_s: int, cost_usd: str
) -> None:
    # The file is a short and small one, to be quick; the price is that of the film ordered.
    simulator.script({"output": {"duration_s": 1, "resolution": "512P"}})
    done = simulator.finished(resolution=resolution, duration=duration_s)
    assert done["usage"] == {"cost": cost_usd, "discount": 1}
    bill = simulator.bill()
    assert bill.usd_by_task[done["id"]] == Decimal(cost_usd)
    ordered = [(line.resolution, line.duration_s) for line in bill.creates if line.task == done["id"]]
    assert ordered == [(resolution, duration_s)]


@pytest.mark.parametrize(
    ("model", "params", "cost_usd"),
    [
        ("minimax_hailuo_23_t2v", {"prompt": "a cat"}, "0.28"),
        ("minimax_hailuo_23_t2v", {"prompt": "a cat", "resolution": "1080P"}, "0.49"),
        ("minimax_hailuo_23_i2v", {"first_frame_image": data_url(), "duration": 10}, "0.56"),
        ("minimax_hailuo_23_fast_i2v", {"first_frame_image": data_url(), "fast_pretreatment": True}, "0.19"),
        ("minimax_i2v_01_live", {"first_frame_image": data_url()}, "0.43"),
    ],
)
def test_each_model_is_served_at_its_own_price(
    simulator: Simulator, model: str, params: dict[str, object], cost_usd: str
) -> None:
    simulator.script({"output": {"duration_s": 1, "resolution": "512P"}})
    done = simulator.ended(simulator.order(model, **params).json()["id"])
    assert (done["status"], done["model"], done["usage"]["cost"]) == ("completed", model, cost_usd)
    bill = simulator.bill()
    assert bill.usd_by_task[done["id"]] == Decimal(cost_usd)
    assert [line.model for line in bill.creates if line.task == done["id"]] == [model]


@pytest.mark.parametrize(
    ("model", "params", "size"),
    [
        ("minimax_hailuo_23_t2v", {"prompt": "a cat [pan left]"}, (1366, 768)),
        ("minimax_hailuo_23_t2v", {"prompt": "a cat", "resolution": "1080P"}, (1920, 1080)),
        ("minimax_i2v_01_live", {"first_frame_image": data_url(360, 640)}, (720, 1280)),
    ],
)
def test_a_film_has_the_shape_of_its_picture_or_is_wide(
    simulator: Simulator, model: str, params: dict[str, object], size: tuple[int, int]
) -> None:
    simulator.script({"output": {"duration_s": 1}})
    done = simulator.ended(simulator.order(model, **params).json()["id"])
    with av.open(io.BytesIO(simulator.get(first_url(done)).content)) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == size


def test_a_task_does_not_end_before_its_time_though_its_film_is_ready(simulator: Simulator) -> None:
    simulator.finished(prompt="patience")
    simulator.script({"poll": {"latency_s": 360000}})
    reused = simulator.admin("state")["films"]["reused"]
    task = simulator.create(prompt="patience").json()["id"]
    wait_until(lambda: simulator.admin("state")["films"]["reused"] > reused, what="the use of the film")
    shown = simulator.poll(task).json()
    assert shown["status"] == "in_progress"
    assert shown["progress"] < 0.1


def jpeg_url(exif: bytes = b"", keep: float = 1.0) -> str:
    """A JPEG with this Exif data, of which only the first part of the bytes is kept."""
    out = io.BytesIO()
    Image.effect_noise((640, 360), 90).save(out, "JPEG", exif=exif)
    kept = out.getvalue()[: int(len(out.getvalue()) * keep)]
    return "data:image/jpeg;base64," + base64.b64encode(kept).decode()


def test_a_jpeg_with_senseless_exif_data_is_filmed(simulator: Simulator) -> None:
    simulator.script({"output": {"duration_s": 1}})
    text = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x02\x00\x02\x00\x00\x006\x00\x00\x00" + bytes(4)
    for exif in (text, b"Exif\x00\x00II*\x00", text[:20]):
        assert simulator.finished(first_frame_image=jpeg_url(exif))["status"] == "completed"


def test_a_picture_that_cannot_be_decoded_fails_the_task_and_frees_its_place(simulator: Simulator) -> None:
    alias = key_alias("sk-broken")
    task = simulator.create(key="sk-broken", first_frame_image=jpeg_url(keep=0.3)).json()["id"]
    wait_until(lambda: simulator.poll(task, key="sk-broken").json()["status"] == "failed")
    assert simulator.poll(task, key="sk-broken").json()["error"]["code"] == 10004095
    assert simulator.admin("state")["open"][alias] == 0
    assert task not in simulator.bill().usd_by_task


def test_parameters_against_the_rules_create_nothing(simulator: Simulator) -> None:
    before = len(simulator.bill().creates)
    refused = simulator.create(duration=10, resolution="1080P")
    assert refused.status_code == 400
    assert "does not support 1080P" in refused.json()["error"]["message"]
    assert len(simulator.bill().creates) == before


@pytest.mark.parametrize("key", [None, "", "nonsense"])
def test_a_missing_or_foreign_key_is_401(simulator: Simulator, key: str | None) -> None:
    assert simulator.create(key=key).status_code == 401
    assert simulator.poll("0" * 20, key=key).status_code == 401


def test_a_task_is_unknown_to_other_keys(simulator: Simulator) -> None:
    task = simulator.create().json()["id"]
    assert simulator.poll(task, key="sk-other").status_code == 404
    assert simulator.poll("0" * 20).status_code == 404


@pytest.mark.parametrize("code", ["010004095", 10004096, "010004097", 10004098, "010004099"])
def test_a_task_fails_as_scripted_and_costs_nothing(simulator: Simulator, code: str | int) -> None:
    simulator.script({"poll": {"outcome": "failed", "code": code, "message": "it broke", "latency_s": 0}})
    done = simulator.finished()
    assert done["status"] == "failed"
    assert done["error"] == {"code": code, "error_message": "it broke"}
    assert "output" not in done
    assert done["id"] not in simulator.bill().usd_by_task


@pytest.mark.parametrize(
    ("poll", "part"),
    [
        ({"cost_form": "number"}, {"usage": {"cost": 0.1, "discount": 1}}),
        ({"cost_form": "empty"}, {"usage": {"cost": "", "discount": 1}}),
        ({"cost_form": "missing"}, {"usage": {"discount": 1}}),
        ({"usage_extra": {"quantity": 1}}, {"usage": {"cost": "0.10", "discount": 1, "quantity": 1}}),
        ({"words": {"completed": "done"}}, {"status": "done"}),
        ({"outcome": "failed", "error_form": "string", "message": "no"}, {"error": "no"}),
        (
            {"outcome": "failed"},
            {"error": {"code": 10004095, "error_message": "Internal generation error"}},
        ),
        (
            {"outcome": "failed", "error_form": "message", "code": "010004095", "message": "no"},
            {"error": {"code": "010004095", "message": "no"}},
        ),
    ],
)
def test_the_answer_varies_as_scripted(simulator: Simulator, poll: dict[str, Any], part: dict[str, Any]) -> None:
    simulator.script({"poll": {"latency_s": 0, **poll}})
    assert simulator.finished().items() >= part.items()


def test_outputs_vary_as_scripted(simulator: Simulator) -> None:
    simulator.script(
        {"match": {"nth": 1}, "output": {"count": 2, "cover": True, "say_duration": True}},
        {"match": {"nth": 2}, "output": {"count": 0}},
        {"match": {"nth": 3}, "output": {"count": None}},
        {"match": {"nth": 4}, "output": {"duration_s": 1}},
    )
    several = simulator.finished()["output"]
    assert [[content["type"] for content in one["content"]] for one in several] == [["video", "image"]] * 2
    cover = simulator.get(several[1]["content"][1]["url"])
    with Image.open(io.BytesIO(cover.content)) as picture:
        assert picture.format == "JPEG"
    assert several[0]["content"][0]["duration"] == 6.0
    assert simulator.finished()["output"] == []
    assert "output" not in simulator.finished()
    short = simulator.get(first_url(simulator.finished())).content
    with av.open(io.BytesIO(short)) as container:
        assert container.duration == 1_000_000


def test_a_scripted_429_comes_as_often_as_asked_for(simulator: Simulator) -> None:
    rule = {"match": {"prompt_contains": "busy"}, "times": 2, "create": {"status": 429, "retry_after": 3}}
    simulator.script(rule)
    assert simulator.create(prompt="calm").status_code == 200
    answers = [simulator.create(prompt="busy") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "3"


@pytest.mark.parametrize(
    ("status", "form"), [(401, "error"), (403, "status_object"), (500, "message"), (402, {"a": 1})]
)
def test_a_create_is_refused_as_scripted(simulator: Simulator, status: int, form: Any) -> None:
    simulator.script({"create": {"status": status, "body": form}})
    before = len(simulator.bill().creates)
    answer = simulator.create()
    assert answer.status_code == status
    assert isinstance(form, str) or answer.json() == form
    assert len(simulator.bill().creates) == before


@pytest.mark.parametrize(
    ("fault", "accepted"),
    [
        ("accept_then_reset", True),
        ("reset_before_accept", False),
        ("http_500_after_accept", True),
        ("http_500_before_accept", False),
        ("no_id", True),
        ("not_json", True),
        ("truncated_body", True),
        ("refused_without_id", False),
    ],
)
def test_a_fault_at_create_hides_the_task_that_the_bill_shows(simulator: Simulator, fault: str, accepted: bool) -> None:
    simulator.script({"create": {"fault": fault}})
    before = len(simulator.bill().creates)
    try:
        answer = simulator.create()
        assert answer.status_code >= 500 or "id" not in answer.text
    except requests.RequestException:
        assert fault in ("accept_then_reset", "reset_before_accept", "truncated_body")
    assert len(simulator.bill().creates) - before == int(accepted)


def test_a_create_that_is_never_answered_is_accepted(simulator: Simulator) -> None:
    simulator.script({"create": {"fault": "accept_never_answer"}})
    before = len(simulator.bill().creates)
    body = {"model": MODEL, "input": [{"params": {"first_frame_image": data_url()}}]}
    with pytest.raises(requests.ReadTimeout):
        requests.post(f"{simulator.url}/model/v1/generation", json=body, headers=bearer("sk-test"), timeout=0.5)
    wait_until(lambda: len(simulator.bill().creates) == before + 1, what="the create on the bill")


def test_a_create_can_answer_with_the_finished_task(simulator: Simulator) -> None:
    simulator.script({"create": {"finished": True}})
    body = simulator.create().json()
    assert body["status"] == "completed"
    assert simulator.get(first_url(body)).status_code == 200


def test_faults_of_polls_and_downloads_pass_after_their_number(simulator: Simulator) -> None:
    simulator.script(
        {"poll": {"fault": "http_500", "fault_times": 2, "latency_s": 0}, "output": {"fault": "truncated_output"}}
    )
    task = simulator.create().json()["id"]
    assert [simulator.poll(task).status_code for _ in range(3)] == [500, 500, 200]
    url = first_url(simulator.ended(task))
    with pytest.raises(requests.RequestException):
        simulator.get(url)
    assert [line for line in simulator.bill().deliveries if line.task == task] == []
    assert simulator.get(url).status_code == 200


def test_a_task_that_never_ends_stays_open(simulator: Simulator) -> None:
    simulator.script({"poll": {"never": True}})
    task = simulator.create(key="sk-patient").json()["id"]
    assert simulator.poll(task, key="sk-patient").json()["status"] == "in_progress"
    assert 1 in simulator.admin("state")["open"].values()


def test_a_misspelt_scenario_is_refused_and_the_old_one_stays(simulator: Simulator) -> None:
    simulator.script({"name": "kept", "create": {"status": 503}})
    answer = requests.put(f"{simulator.url}/admin/scenario", json=[{"cerate": {}}], timeout=5)
    assert answer.status_code == 400
    assert simulator.admin("scenario")["rules"][0]["name"] == "kept"


def test_admin_answers_and_the_bill_hold_no_key_and_agree(simulator: Simulator) -> None:
    simulator.script({"match": {"key": "sk-canary-key"}, "poll": {"latency_s": 0}})
    simulator.create(key="sk-canary-key")
    shown = "".join(json.dumps(simulator.admin(name)) for name in ("state", "scenario", "bill"))
    assert "canary" not in shown
    totals, bill = simulator.admin("bill"), simulator.bill()
    assert totals["creates"] == len(bill.creates) == simulator.admin("state")["counts"]["accepted"]


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    with listening() as server:
        yield server


def test_a_callback_is_challenged_and_then_told_of_changes(
    simulator: Simulator, hook: tuple[str, list[dict[str, Any]]]
) -> None:
    url, seen = hook
    task = simulator.create(callback_url=f"{url}/told").json()["id"]
    wait_until(lambda: len(seen) == 3)
    assert "challenge" in seen[0]
    assert [(body["task_id"], body["status"]) for body in seen[1:]] == [(task, "processing"), (task, "success")]


def test_a_strict_challenge_that_fails_refuses_the_create(simulator: Simulator) -> None:
    simulator.script({"callback": {"strict": True}})
    before = len(simulator.bill().creates)
    assert simulator.create(callback_url=f"{simulator.url}/nobody").status_code == 400
    assert len(simulator.bill().creates) == before


def test_a_loopback_picture_is_fetched_and_a_missing_one_fails_the_task(
    simulator: Simulator, hook: tuple[str, list[dict[str, Any]]]
) -> None:
    film = simulator.get(first_url(simulator.finished(first_frame_image=f"{hook[0]}/picture.png"))).content
    with av.open(io.BytesIO(film)) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (1024, 512)
    failed = simulator.finished(first_frame_image=f"{hook[0]}/gone.png")
    assert failed["error"]["code"] == 10004097
    assert hook[0] not in json.dumps(failed)


def test_limits_of_keys_are_held(tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.json"
    scenario.write_text(json.dumps([{"match": {"nth": 1}, "poll": {"never": True}}]))
    options = ["--keys", "one,two,three", "--broke-keys", "poor", "--open-limit", "2", "--rate-per-minute", "3"]
    with running(tmp_path, "--speed", "1", "--scenario", str(scenario), *options) as simulator:
        assert simulator.create(key="sk-test").status_code == 401
        assert simulator.create(key="poor").status_code == 403
        assert [simulator.create(key="one").status_code for _ in range(3)] == [200, 200, 429]
        assert "Retry-After" not in simulator.create(key="one").headers
        for _ in range(3):
            simulator.create(key="two", duration=7)
        throttled = simulator.create(key="two")
        assert throttled.status_code == 429
        assert 1 <= int(throttled.headers["Retry-After"]) <= 60
        state = simulator.admin("state")
        assert list(state["max_open"].values()) == [2]


def test_links_expire_in_simulated_time_and_a_poll_gives_a_fresh_one(tmp_path: Path) -> None:
    with running(tmp_path, "--speed", "100", "--url-ttl-s", "100") as simulator:
        simulator.script()
        done = simulator.finished()
        url = first_url(done)
        wait_until(lambda: simulator.get(url).status_code == 403, what="the link's expiry")
        wait_until(lambda: simulator.get(first_url(simulator.poll(done["id"]).json())).status_code == 200)


def test_a_restart_keeps_the_bill_and_cuts_a_torn_line(tmp_path: Path) -> None:
    with running(tmp_path, "--speed", "60") as simulator:
        simulator.script()
        first = simulator.finished()["id"]
    with (tmp_path / "bill.jsonl").open("a") as bill:
        bill.write('{"kind":"price","ta')
    with running(tmp_path, "--speed", "60") as simulator:
        simulator.script()
        second = simulator.finished()["id"]
        assert simulator.bill().usd_by_task == {first: Decimal("0.10"), second: Decimal("0.10")}
        assert simulator.admin("state")["films"] == {"rendered": 0, "reused": 1, "waiting": 0}


def test_a_task_in_progress_outlives_a_kill(tmp_path: Path) -> None:
    params = {"prompt": "a canary [pan left]", "aigc_watermark": True}
    with running(tmp_path, "--speed", "1") as simulator:
        simulator.script({"poll": {"latency_s": 60, "cost_form": "number"}})
        task = simulator.create(key="sk-canary-key", **params).json()["id"]
        assert simulator.poll(task, key="sk-canary-key").json()["status"] == "in_progress"
        simulator.process.kill()
        simulator.process.wait(timeout=10)
    record = (tmp_path / "data" / "tasks" / f"{task}.json").read_text()
    assert "canary" not in record
    with running(tmp_path, "--speed", "1000") as simulator:
        assert simulator.poll(task).status_code == 404, "of another key"
        done = wait_until(lambda: _completed(simulator.poll(task, key="sk-canary-key").json()))
        assert done["usage"] == {"cost": 0.1, "discount": 1}, "as the scenario of its create says"
        with av.open(io.BytesIO(simulator.get(first_url(done)).content)) as container:
            assert container.duration == 6_000_000
        assert simulator.admin("state")["open"] == {key_alias("sk-canary-key"): 0}
        bill = simulator.bill()
        assert [line.task for line in bill.creates] == [task]
        assert [line.task for line in bill.prices] == [task]
        assert [line.task for line in bill.deliveries] == [task]


def _completed(body: dict[str, Any]) -> dict[str, Any] | None:
    return body if body["status"] == "completed" else None


def test_an_ended_task_is_known_after_a_restart_with_a_fresh_link_and_one_price(tmp_path: Path) -> None:
    with running(tmp_path, "--speed", "60") as simulator:
        simulator.script({"match": {"nth": 2}, "poll": {"outcome": "failed", "code": "010004095", "latency_s": 0}})
        done, failed = simulator.finished(), simulator.finished()
        film = simulator.get(first_url(done)).content
    with running(tmp_path, "--speed", "60") as simulator:
        again = simulator.poll(done["id"]).json()
        assert {**again, "output": None} == {**done, "output": None}
        assert first_url(again) != first_url(done)
        assert simulator.get(first_url(again)).content == film
        assert simulator.poll(failed["id"]).json() == failed
        assert [line.task for line in simulator.bill().prices] == [done["id"]]
        assert simulator.admin("state")["films"]["rendered"] == 0


def test_open_places_stay_taken_over_a_restart(tmp_path: Path) -> None:
    for expected in (200, 429):
        with running(tmp_path, "--speed", "1", "--open-limit", "1") as simulator:
            assert simulator.create().status_code == expected


def test_a_broken_scenario_file_is_named_and_nothing_starts(tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.json"
    scenario.write_text('[{"poll": {"outcome": "odd"}}]')
    command = [sys.executable, "-m", "ops.simulator", "--bill", str(tmp_path / "b"), "--scenario", str(scenario)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 2
    assert "rules[0].poll.outcome" in ended.stderr
