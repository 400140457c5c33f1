"""Traces of jobs: what they tell and what not, whose children they are, and that nothing depends on them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from schemas.jobs import Output, State
from tasks.domain.spans import Span, Trace
from tasks.forms.trace import trace_of
from tasks.ledger.reports import Attempt, Charge, JobReport, JobRow, Moment
from tasks.ledger.traces import Untraced
from tasks.traces import Traces
from tasks.traces.otel import Sender

ROOT = Path(__file__).resolve().parents[2]
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


class TestWhatIsTold:
    def test_a_job_is_a_span_a_state_and_in_it_the_work_that_was_done(self) -> None:
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

    def test_all_polls_are_one_span_with_their_number(self) -> None:
        (polls,) = [span for span in every(told(REPORT)) if span.name == "polls"]
        assert (polls.began, polls.ended, polls.attributes) == (at(4), at(64), {"reelworks.polls": 7})

    def test_a_download_begins_when_somebody_came_to_it(self) -> None:
        (download,) = [span for span in every(told(REPORT)) if span.name == "download"]
        assert (download.began, download.ended) == (at(67.5), at(70))
        assert download.attributes == {"reelworks.outputs": 1, "reelworks.output_bytes": 1000}

    def test_a_create_says_with_which_key_and_what_came_of_it(self) -> None:
        (create,) = [span for span in every(told(REPORT)) if span.name == "create"]
        assert (create.began, create.ended, create.outward, create.failed) == (at(3), at(4), True, False)
        assert create.attributes == {
            "reelworks.create": 1,
            "reelworks.key": "main",
            "reelworks.outcome": "accepted",
            "reelworks.provider_task_id": "task-1",
        }

    def test_the_job_has_its_figures(self) -> None:
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

    def failed(self) -> JobReport:
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

    def test_what_failed_is_marked_with_its_code_where_it_failed(self) -> None:
        root = told(self.failed())
        assert [span.name for span in every(root) if span.failed] == ["job", "creating", "create"]
        assert root.attributes["reelworks.error.code"] == "sensitive"
        assert root.attributes["reelworks.error.stage"] == "creating"
        (create,) = [span for span in every(root) if span.name == "create"]
        assert create.attributes["reelworks.http_status"] == 400

    def test_no_sentence_path_or_word_of_a_person_is_told(self) -> None:
        for report in (REPORT, self.failed()):
            assert CANARY not in str(told(report))

    def test_of_a_job_that_ended_before_only_what_came_since_is_told(self) -> None:
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

    def test_nothing_is_told_twice(self) -> None:
        assert trace_of(REPORT, Untraced("job-1", None, 7, 7)) is None

    def test_of_a_job_that_went_back_and_forth_the_latest_states_are_told(self) -> None:
        back_and_forth = [(n, "admit" if n % 2 else "unsent", State.QUEUED, {}) for n in range(1000)]
        root = told(replace(REPORT, timeline=moments(*back_and_forth, (1000, "expire", State.FAILED, {}))))
        assert len(root.children) == 200
        assert (root.began, root.children[-1].ended) == (at(0), at(1000))

    def test_a_clock_that_was_set_back_makes_no_span_end_before_it_began(self) -> None:
        late = replace(REPORT, timeline=(replace(WAY[0], at=at(30)), *WAY[1:]))
        assert all(span.began <= span.ended for span in every(told(late)))


TRACE = Trace("job-1", None, told(REPORT))


class TestSending:
    @pytest.fixture
    def exporter(self) -> InMemorySpanExporter:
        return InMemorySpanExporter()

    @pytest.fixture
    def traces(self, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> Iterator[Traces]:
        for name in [name for name in os.environ if name.startswith("OTEL_")]:
            monkeypatch.delenv(name)
        made = Traces(lambda: Sender(exporter))
        yield made
        made.close()

    def sent(self, traces: Traces, exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
        traces.close()
        spans = {span.name: span for span in exporter.get_finished_spans()}
        assert len(spans) == len(exporter.get_finished_spans())
        return spans

    def test_spans_have_the_instants_of_the_ledger(self, traces: Traces, exporter: InMemorySpanExporter) -> None:
        traces.send([TRACE])
        spans = self.sent(traces, exporter)
        for span in every(TRACE.root):
            sent = spans[span.name]
            assert (sent.start_time, sent.end_time) == tuple(
                int(each.timestamp()) * 10**9 + each.microsecond * 1000 for each in (span.began, span.ended)
            )
            assert sent.attributes == span.attributes
        assert spans["job"].kind is SpanKind.CONSUMER
        assert {spans[name].kind for name in ("create", "polls", "download")} == {SpanKind.CLIENT}
        assert spans["job"].resource.attributes["service.name"] == "reelworks"

    def test_the_callers_span_is_the_root(self, traces: Traces, exporter: InMemorySpanExporter) -> None:
        traces.send([replace(TRACE, traceparent=CALLER)])
        spans = self.sent(traces, exporter)
        _, trace_id, span_id, _ = CALLER.split("-")
        assert {f"{span.context.trace_id:032x}" for span in spans.values() if span.context} == {trace_id}
        parent = spans["job"].parent
        assert parent is not None
        assert (f"{parent.span_id:016x}", parent.is_remote) == (span_id, True)
        assert spans["polls"].parent == spans["generating"].context
        assert spans["generating"].parent == spans["job"].context

    def test_without_a_caller_all_that_a_job_does_is_in_one_trace_of_its_own(
        self, traces: Traces, exporter: InMemorySpanExporter
    ) -> None:
        again = Span("job again", at(200), at(210))
        traces.send([TRACE, Trace("job-2", None, replace(again, name="another"))])
        traces.send([Trace("job-1", None, again)])
        spans = self.sent(traces, exporter)
        ids = {name: span.context.trace_id for name, span in spans.items() if span.context}
        assert ids["job"] == ids["polls"] == ids["job again"] != ids["another"]
        assert spans["job"].parent is None

    def test_a_span_that_happens_to_be_at_work_here_is_not_the_callers(
        self, traces: Traces, exporter: InMemorySpanExporter
    ) -> None:
        with TracerProvider().get_tracer("foreign").start_as_current_span("turn of a lane"):
            traces.send([TRACE])
        assert self.sent(traces, exporter)["job"].parent is None

    def test_what_the_caller_does_not_record_is_not_sent(self, traces: Traces, exporter: InMemorySpanExporter) -> None:
        traces.send([replace(TRACE, traceparent=f"{CALLER[:-2]}00")])
        assert self.sent(traces, exporter) == {}

    def test_the_sampler_of_the_environment_counts_for_traces_of_its_own(
        self, traces: Traces, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
        monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
        traces.send([Trace(f"job-{n}", None, Span("job", NOON, NOON)) for n in range(400)])
        traces.close()
        assert 140 < len(exporter.get_finished_spans()) < 260  # of ids that are the same in every run

    def test_the_environment_may_name_the_service(
        self, traces: Traces, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OTEL_SERVICE_NAME", "films")
        traces.send([TRACE])
        assert self.sent(traces, exporter)["job"].resource.attributes["service.name"] == "films"

    def test_what_failed_has_that_status(self, traces: Traces, exporter: InMemorySpanExporter) -> None:
        traces.send([Trace("job-1", None, Span("job", NOON, NOON, failed=True))])
        assert self.sent(traces, exporter)["job"].status.status_code is StatusCode.ERROR

    def test_after_the_end_nothing_is_sent_and_nothing_raised(
        self, traces: Traces, exporter: InMemorySpanExporter
    ) -> None:
        traces.close()
        traces.send([TRACE])
        assert exporter.get_finished_spans() == ()

    def test_a_trace_that_the_library_does_not_take_is_logged_and_no_more(self, traces: Traces) -> None:
        broken: Any = Trace("job-1", "not judged", TRACE.root)
        with structlog.testing.capture_logs() as logs:
            traces.send([broken])
        assert [line["event"] for line in logs] == ["trace_not_written"]

    def test_values_of_the_environment_that_can_not_be_used_turn_traces_off_and_are_not_quoted(self) -> None:
        def build() -> Sender:
            raise ValueError(f"invalid header: {CANARY}")

        off = Traces(build)
        with structlog.testing.capture_logs() as logs:
            for _ in range(2):
                off.send([TRACE])
        assert [line["event"] for line in logs] == ["traces_off"]
        assert CANARY not in str(logs)


class Away(SpanExporter):
    """A collector that takes nothing until it is back."""

    def __init__(self) -> None:
        self.answers: list[SpanExportResult | Exception] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize("headers", [f"api-key: {CANARY}", CANARY, f"api-key=a,{CANARY}"])
def test_a_header_that_the_library_can_not_read_gets_into_no_log(
    headers: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from tasks.traces.otel import exporter_by_environment

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", headers)
    exporter_by_environment().shutdown()
    assert CANARY not in caplog.text


def test_a_collector_that_is_away_is_told_of_once_without_its_address() -> None:
    from tasks.traces.otel import _Heard

    away = Away()
    away.answers = [
        SpanExportResult.FAILURE,
        OSError(f"http://collector/{CANARY}"),
        SpanExportResult.SUCCESS,
        SpanExportResult.SUCCESS,
    ]
    heard = _Heard(away)
    with structlog.testing.capture_logs() as logs:
        results = [heard.export([]) for _ in range(4)]
    assert results == [SpanExportResult.FAILURE] * 2 + [SpanExportResult.SUCCESS] * 2
    assert [line["event"] for line in logs] == ["traces_not_sent", "traces_sent_again"]
    assert CANARY not in str(logs)


WITHOUT = """
import sys
if sys.argv[1] == "absent":
    sys.modules["opentelemetry"] = None  # as if the package were not there
import schemas.aio, schemas.producer, workers.app, workers.gateway.app
from datetime import UTC, datetime
from tasks.domain.spans import Span, Trace
from tasks.traces import Traces
from workers.runtime import build
from workers.settings import settings

ours = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "opentelemetry.proto")
print(settings().traces, [name for name in sys.modules if name.startswith(ours)])
if sys.argv[1] == "absent":
    traces, now = Traces(), datetime.now(UTC)
    for _ in range(2):
        traces.send([Trace("job-1", None, Span("job", now, now))])
"""


@pytest.mark.parametrize("extra", ["there", "absent"])
def test_nothing_of_the_extra_is_imported_before_a_trace_is_sent_and_without_it_none_is(
    tmp_path: Path, extra: str
) -> None:
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("REELWORKS_", "OTEL_"))},
        "REELWORKS_VAR": str(tmp_path),
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
    }
    command = [sys.executable, "-c", WITHOUT, extra]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "True []"
    assert done.stderr.count("the extra otel are not installed") == (1 if extra == "absent" else 0)
