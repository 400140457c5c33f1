"""Saved samples of every variant of the provider's answers, replayed. What once could be read stays readable."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.domain import answers
from tasks.vtrix.outcomes import Reply, create_outcome, poll_answer

SAMPLES = sorted((Path(__file__).parent / "samples" / "vtrix").glob("*.json"))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
TASK_ID = "d758n65e878c73cmdg20"


def _answer_to(sample):
    body = sample["text"] if "text" in sample else json.dumps(sample["json"])
    reply = Reply(sample["http_status"], body.encode(), sample["headers"].get("Retry-After"))
    return create_outcome(reply, now=NOW) if sample["call"] == "create" else poll_answer(reply, TASK_ID, now=NOW)


def _seen(answer):
    seen = {"outcome": type(answer).__name__}
    for name in ("provider_task_id", "code", "message", "retry_after_s", "key_refused", "progress", "status_known"):
        if hasattr(answer, name):
            seen[name] = getattr(answer, name)
    if hasattr(answer, "usage"):
        seen["cost_usd"] = None if answer.usage.cost_usd is None else str(answer.usage.cost_usd)
        seen["discount"] = None if answer.usage.discount is None else str(answer.usage.discount)
        seen["metadata"] = answer.metadata
    if hasattr(answer, "outputs"):
        seen["types"] = [output.type for output in answer.outputs]
        seen["durations_s"] = [output.duration_s for output in answer.outputs]
    return seen


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_sample_is_read_as_it_was_when_it_was_saved(path):
    sample = json.loads(path.read_text())
    seen = _seen(_answer_to(sample))
    assert {name: seen.get(name) for name in sample["expect"]} == sample["expect"]


def test_samples_cover_every_outcome_that_a_reply_can_have():
    outcomes = {json.loads(path.read_text())["expect"]["outcome"] for path in SAMPLES}
    possible = {kind.__name__ for union in (answers.CreateOutcome, answers.PollAnswer) for kind in union.__args__}
    assert outcomes == possible - {"Unsent"}
