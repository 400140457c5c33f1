"""A job's trace: what it tells, and what not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from schemas.jobs import Output, State
from tasks.domain.spans import Span
from tasks.forms.trace import trace_of
from tasks.ledger.reports import Attempt, Charge, JobReport, JobRow, Moment
from tasks.ledger.traces import Untraced

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CANARY = "canary"


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def moments(*told: tuple[float, str, State, dict[str, Any]]) -> tuple[Moment, ...]:
    return tuple(
        Moment(seq, event, state, at(after), detail) for seq, (after, event, state, detail) in enumerate(told, 1)
    )


WAY = moments(
    (0, "accept", State.QUEUED, {}),
    (2, "admit", State.ADMITTED, {}),
    (3, "begin", State.CREATING, {}),
    (4, "accepted", State.GENERATING, {"outcome": "accepted", "http_status": None, "reason": CANARY}),
    (64, "completed", State.DOWNLOADING, {"polls": 7, "looked_s": 58.0, "took_s": 59.5, "progress": 0.9}),
    (70, "stored", State.RECORDING, {"took_s": 2.5}),
    (71, "charged", State.COMPLETED, {"by": CANARY}),
)
ROW = JobRow(
    id="job-1",
    state=State.COMPLETED,
    tenant="film",
    model="minimax_hailuo_02_i2v",
    resolution="768P",
    duration_s=6,
    priority=0,
    key_alias="main",
    accepted_at=NOON,
    changed_at=at(71),
    estimate_usd=Decimal("0.28"),
    charged_usd=Decimal("0.28"),
    error_code=None,
)
REPORT = JobReport(
    job=ROW,
    provider_task_id="task-1",
    deadline_at=None,
    error_message=None,
    error_stage=None,
    timeline=WAY,
    attempts=(Attempt(1, "main", at(3), at(4), "accepted", None, CANARY, "task-1"),),
    outputs=(Output(0, "video", f"film/{CANARY}/0.mp4", 1000, CANARY, 1366, 768, 6.0, mismatch=CANARY),),
    charges=(Charge("task-1", "main", Decimal("0.28"), False, None, at(71)),),
)


def told(report: JobReport, after_seq: int = 0, last_seq: int | None = None) -> Span:
    last = report.timeline[-1].seq if last_seq is None else last_seq
    trace = trace_of(report, Untraced(report.job.id, CALLER, after_seq, last))
    assert trace is not None
    assert (trace.job_id, trace.traceparent) == (report.job.id, CALLER)
    return trace.root


def shape(span: Span) -> dict[str, Any]:
    return {child.name: shape(child) for child in span.children}


def every(span: Span) -> Iterator[Span]:
    yield span
    for child in span.children:
        yield from every(child)


def test_a_job_is_a_span_a_state_and_in_it_the_work_that_was_done() -> None:
    root = told(REPORT)
    assert (root.name, root.began, root.ended, root.failed) == ("job", at(0), at(71), False)
    assert shape(root) == {
        "queued": {},
        "admitted": {},
        "creating": {"create": {}},
        "generating": {"polls": {}},
        "downloading": {"download": {}},
        "recording": {},
    }
    whens = [(child.began, child.ended) for child in root.children]
    assert whens == [(at(a), at(b)) for a, b in ((0, 2), (2, 3), (3, 4), (4, 64), (64, 70), (70, 71))]
    assert [child.attributes["reelworks.event"] for child in root.children] == [each.event for each in WAY[1:]]


def test_all_polls_are_one_span_with_their_number() -> None:
    (polls,) = [span for span in every(told(REPORT)) if span.name == "polls"]
    assert (polls.began, polls.ended, polls.attributes) == (at(4), at(64), {"reelworks.polls": 7})


def test_a_download_begins_when_somebody_came_to_it() -> None:
    (download,) = [span for span in every(told(REPORT)) if span.name == "download"]
    assert (download.began, download.ended) == (at(67.5), at(70))
    assert download.attributes == {"reelworks.outputs": 1, "reelworks.output_bytes": 1000}


def test_a_create_says_with_which_key_and_what_came_of_it() -> None:
    (create,) = [span for span in every(told(REPORT)) if span.name == "create"]
    assert (create.began, create.ended, create.outward, create.failed) == (at(3), at(4), True, False)
    assert create.attributes == {
        "reelworks.create": 1,
        "reelworks.key": "main",
        "reelworks.outcome": "accepted",
        "reelworks.provider_task_id": "task-1",
    }


def test_the_job_has_its_figures() -> None:
    assert told(REPORT).attributes == {
        "reelworks.job.id": "job-1",
        "reelworks.tenant": "film",
        "reelworks.model": "minimax_hailuo_02_i2v",
        "reelworks.resolution": "768P",
        "reelworks.duration_s": 6,
        "reelworks.priority": 0,
        "reelworks.state": "completed",
        "reelworks.creates": 1,
        "reelworks.polls": 7,
        "reelworks.outputs": 1,
        "reelworks.output_bytes": 1000,
        "reelworks.estimate_usd": 0.28,
        "reelworks.charged_usd": 0.28,
    }


def failed() -> JobReport:
    way = moments(
        (0, "accept", State.QUEUED, {}),
        (1, "admit", State.ADMITTED, {}),
        (2, "begin", State.CREATING, {}),
        (3, "rejected", State.FAILED, {"outcome": "rejected", "http_status": 400, "reason": CANARY}),
    )
    row = replace(ROW, state=State.FAILED, error_code="sensitive", charged_usd=None)
    refused = Attempt(1, "main", at(2), at(3), "rejected", 400, CANARY, None)
    return replace(
        REPORT,
        job=row,
        error_message=CANARY,
        error_stage="creating",
        timeline=way,
        attempts=(refused,),
        outputs=(),
        charges=(),
    )


def test_what_failed_is_marked_with_its_code_where_it_failed() -> None:
    root = told(failed())
    assert [span.name for span in every(root) if span.failed] == ["job", "creating", "create"]
    assert root.attributes["reelworks.error.code"] == "sensitive"
    assert root.attributes["reelworks.error.stage"] == "creating"
    (create,) = [span for span in every(root) if span.name == "create"]
    assert create.attributes["reelworks.http_status"] == 400


def test_no_sentence_path_or_word_of_a_person_is_told() -> None:
    for report in (REPORT, failed()):
        assert CANARY not in str(told(report))


def test_of_a_job_that_ended_before_only_what_came_since_is_told() -> None:
    again = (
        replace(WAY[4], seq=5),
        Moment(6, "unstorable", State.FAILED, at(80), {}),
        Moment(7, "refetch", State.DOWNLOADING, at(200), {}),
        Moment(8, "stored", State.RECORDING, at(210), {"took_s": 4.0}),
        Moment(9, "charged", State.COMPLETED, at(211), {}),
    )
    report = replace(REPORT, timeline=(*WAY[:4], *again))
    root = told(report, after_seq=6)
    assert (root.began, root.ended) == (at(200), at(211))
    assert shape(root) == {"downloading": {"download": {}}, "recording": {}}
    # As it was when its end was taken, whatever has happened since.
    assert told(report, last_seq=6).ended == at(80)


def test_nothing_is_told_twice() -> None:
    assert trace_of(REPORT, Untraced("job-1", None, 7, 7)) is None


def test_of_a_job_that_went_back_and_forth_the_latest_states_are_told() -> None:
    back_and_forth = [(n, "admit" if n % 2 else "unsent", State.QUEUED, {}) for n in range(1000)]
    root = told(replace(REPORT, timeline=moments(*back_and_forth, (1000, "expire", State.FAILED, {}))))
    assert len(root.children) == 200
    assert (root.began, root.children[-1].ended) == (at(0), at(1000))


def test_a_clock_that_was_set_back_makes_no_span_end_before_it_began() -> None:
    late = replace(REPORT, timeline=(replace(WAY[0], at=at(30)), *WAY[1:]))
    assert all(span.began <= span.ended for span in every(told(late)))
