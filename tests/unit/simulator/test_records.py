"""What stands on record about a task, and what is made of records that cannot be used."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ops.simulator.camera import parse
from ops.simulator.records import KEPT_S, Records, from_record, to_record
from ops.simulator.scenario import CallbackPlan, CreatePlan, OutputPlan, Plan, PollPlan
from ops.simulator.tasks import Task
from ops.simulator.validation import Order, Picture

NOW_S = 1_700_000_000.0
PLAN = Plan(
    create=CreatePlan(fault="accept_then_reset"),
    poll=PollPlan(cost_form="garbage", latency_s=9.5, words={"completed": "done"}, usage_extra={"quantity": 1}),
    output=OutputPlan(count=None, cover=True, fault="not_a_video", fault_times=2),
    callback=CallbackPlan(form="task", copies=2),
    rules=("lost", "rules[2]"),
)


def task(task_id: str = "one", plan: Plan = PLAN, prompt: str = "") -> Task:
    first, last = Picture(data=b"\xff\xd8 bytes"), Picture(url="http://localhost/last.png")
    order = Order("m", first, last, prompt, 10, "768P", "http://localhost/told", watermark=True)
    return Task(task_id, "key-1", order, plan, 9.5, "here:1", NOW_S, 50.0)


def through_json(kept: Task, status: str) -> Task:
    return from_record(kept.id, json.loads(json.dumps(to_record(kept, status))))


def test_a_running_task_comes_back_as_it_was() -> None:
    kept = task()
    back = through_json(kept, "in_progress")
    assert (back.order, back.plan) == (kept.order, kept.plan)
    for name in ("id", "key", "latency_s", "host", "created_s", "status", "ended_s", "cost_usd", "error", "film"):
        assert getattr(back, name) == getattr(kept, name), name


def test_a_task_without_a_picture_comes_back_without_one() -> None:
    kept = task()
    kept.order = replace(kept.order, first=None, last=None)
    assert through_json(kept, "in_progress").order == kept.order
    kept.forget_pictures()
    assert kept.order.first is None


def test_a_record_written_before_rules_and_newer_words_is_read() -> None:
    record = json.loads(json.dumps(to_record(task(), "in_progress")))
    del record["plan"]["rules"], record["plan"]["poll"]["goes_back"]
    back = from_record("one", record)
    assert (back.plan.rules, back.plan.poll) == ((), PLAN.poll)


def test_an_ended_task_comes_back_with_its_end() -> None:
    kept = task()
    kept.ended_s, kept.cost_usd, kept.error, kept.film = NOW_S + 3, Decimal("0.56"), ("010004095", "it broke"), "abc"
    kept.forget_pictures()
    back = through_json(kept, "failed")
    assert back.status == "failed"
    assert (back.ended_s, back.cost_usd, back.error, back.film) == (NOW_S + 3, kept.cost_usd, kept.error, "abc")
    assert back.order.first == Picture()


def test_a_prompt_is_kept_as_its_instructions_alone() -> None:
    prompt = "a secret [Pan Left, zoom in] of [prose] more [shake]"
    kept = task(prompt=prompt)
    assert "secret" not in json.dumps(to_record(kept, "in_progress"))
    assert parse(through_json(kept, "in_progress").order.prompt) == parse(prompt)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path)


def write(folder: Path, name: str, record: Any, age_s: float = 0.0) -> Path:
    path = folder / name
    path.write_text(record if isinstance(record, str) else json.dumps(record))
    os.utime(path, (NOW_S - age_s, NOW_S - age_s))
    return path


def ids(records: Records, *accepted: str) -> list[str]:
    return [each.id for each in records.load(set(accepted), NOW_S)]


@pytest.mark.parametrize(
    "broken",
    [
        "",
        '{"form":1,"id"',
        "[]",
        "null",
        "[" * 100_000,
        {"form": 0},
        {**to_record(task("bad"), "in_progress"), "form": 2},
        to_record(task("another"), "in_progress"),
        to_record(task("bad"), "odd"),
        {**to_record(task("bad"), "failed"), "error": ["secret"]},
        {**to_record(task("bad"), "failed"), "cost_usd": "secret"},
        {**to_record(task("bad"), "failed"), "plan": {"poll": {"outcome": "secret"}}},
        {**to_record(task("bad"), "failed"), "order": None},
    ],
    ids=lambda broken: str(broken)[:20],
)
def test_a_broken_record_is_passed_over_with_one_line(
    tmp_path: Path, records: Records, capsys: pytest.CaptureFixture[str], broken: Any
) -> None:
    write(tmp_path, "bad.json", broken)
    write(tmp_path, "good.json", to_record(task("good"), "in_progress"))
    assert ids(records, "bad", "good") == ["good"]
    said = capsys.readouterr().err
    assert said.startswith("simulator: task record bad.json passed over (")
    assert said.count("\n") == 1
    assert "secret" not in said


def test_a_task_that_is_not_on_the_bill_is_unknown_and_its_record_stays_for_its_own_bill(
    tmp_path: Path, records: Records, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "one.json", to_record(task(), "in_progress"))
    assert ids(records) == []
    assert path.exists()
    assert capsys.readouterr().err == ""


def test_records_that_nobody_will_ask_for_are_dropped_and_unended_ones_never(tmp_path: Path, records: Records) -> None:
    never = replace(PLAN, poll=PollPlan(never=True))
    old = KEPT_S + 1
    for name, kept, status in (
        ("running", task("running"), "in_progress"),
        ("ended", task("ended"), "completed"),
        ("never", task("never", never), "in_progress"),
        ("unbilled", task("unbilled"), "in_progress"),
    ):
        write(tmp_path, f"{name}.json", to_record(kept, status), old)
    write(tmp_path, "torn.part", "{", old)
    write(tmp_path, "new.json", to_record(task("new"), "completed"), KEPT_S - 1)
    assert ids(records, "running", "ended", "never", "new") == ["new", "running"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.json", "running.json"]
