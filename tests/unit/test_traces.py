"""How traces are sent: whose children their spans are, and that nothing depends on it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tasks.domain.spans import Span, Trace
from tasks.traces import Traces
from tasks.traces.otel import Sender

ROOT = Path(__file__).resolve().parents[2]
NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CANARY = "canary"


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def every(span: Span) -> Iterator[Span]:
    yield span
    for child in span.children:
        yield from every(child)


STATES = (
    Span("creating", at(0), at(1), children=(Span("create", at(0), at(1), {"reelworks.key": "main"}, outward=True),)),
    Span("generating", at(1), at(9.5), children=(Span("polls", at(1), at(9.5), {"reelworks.polls": 7}, outward=True),)),
)
TRACE = Trace("job-1", None, Span("job", at(0), at(9.5), {"reelworks.state": "completed"}, children=STATES))


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
        assert {spans[name].kind for name in ("create", "polls")} == {SpanKind.CLIENT}
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
