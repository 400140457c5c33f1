"""The trace that a request is part of: which texts name one, and where the producer finds it."""

from __future__ import annotations

import sys

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from schemas.errors import NotSubmitted
from schemas.tracing import submitting, traceparent_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (GIVEN, GIVEN),
        (f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-00"),
        (f"00-{TRACE}-{SPAN}-ff", GIVEN),  # of the flags one means something here
        (f"cc-{TRACE}-{SPAN}-01", GIVEN),
        (f"cc-{TRACE}-{SPAN}-01-what-a-later-version-adds", GIVEN),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"cc-{TRACE}-{SPAN}-01more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{TRACE[1:]}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}-1", None),
        (f"{GIVEN}\n", None),
        (f"{GIVEN},{GIVEN}", None),  # the header came twice
        (GIVEN.replace("4", "\u0664"), None),  # a digit, but not of ASCII
        *((given, None) for given in ("", "-", None, 7, [GIVEN], GIVEN.encode())),
    ],
)
def test_a_traceparent_is_read_as_the_w3c_says_and_anything_else_passed_over(given: object, read: str | None) -> None:
    assert traceparent_of(given) == read


@pytest.fixture
def finished(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Where the spans of a program end up that has set up OpenTelemetry."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return exporter


def test_a_submission_is_a_span_within_the_callers(finished: InMemorySpanExporter) -> None:
    with trace.get_tracer("caller").start_as_current_span("order") as order, submitting(None, 3) as traceparent:
        pass
    submitted, _ = finished.get_finished_spans()
    assert (submitted.name, submitted.kind, submitted.attributes) == (
        "reelworks submit",
        SpanKind.PRODUCER,
        {"reelworks.jobs": 3},
    )
    assert submitted.parent == order.get_span_context()
    here = submitted.get_span_context()
    assert here is not None
    assert traceparent == f"00-{here.trace_id:032x}-{here.span_id:016x}-01"


def test_a_submission_that_failed_says_so_without_a_stack(finished: InMemorySpanExporter) -> None:
    with pytest.raises(NotSubmitted), submitting(None, 1):
        raise NotSubmitted("Redis did not answer; nothing was submitted", unknown=False)
    (submitted,) = finished.get_finished_spans()
    assert (submitted.status.status_code, submitted.events) == (StatusCode.ERROR, ())


@pytest.mark.parametrize(("given", "carried"), [(GIVEN, GIVEN), ("no traceparent", None)])
def test_what_the_caller_gives_counts_alone(finished: InMemorySpanExporter, given: str, carried: str | None) -> None:
    with trace.get_tracer("caller").start_as_current_span("order"), submitting(given, 1) as traceparent:
        assert traceparent == carried
    assert [span.name for span in finished.get_finished_spans()] == ["order"]


def test_without_a_span_there_is_no_trace() -> None:
    with submitting(None, 1) as traceparent:
        assert traceparent is None


def test_the_callers_span_is_found_where_nothing_but_the_interface_is_set_up() -> None:
    """As within a server whose framework has only taken the header over."""
    with TracerProvider().get_tracer("caller").start_as_current_span("order") as order, submitting(None, 1) as found:
        here = order.get_span_context()
        assert found == f"00-{here.trace_id:032x}-{here.span_id:016x}-01"


def test_a_program_without_opentelemetry_is_not_made_to_import_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    with submitting(None, 1) as traceparent:
        assert traceparent is None
    assert "opentelemetry.trace" not in sys.modules
