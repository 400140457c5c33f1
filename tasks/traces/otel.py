"""Traces by OpenTelemetry's library: the only module that imports it. Refuses to set anything process-wide."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from tasks.domain.spans import Span, Trace

log = structlog.get_logger("reelworks.traces")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_QUEUE_VARIABLE: Final = "OTEL_BSP_MAX_QUEUE_SIZE"
_QUEUE_SPANS: Final = 16_384
"""What a turn of the sweep may hand over at once is more than the library's default has room for."""
_NAME: Final = "reelworks"


class Sender:
    """Writes traces into the library's queue, from which a thread of its own exports them. For one thread at a time."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._ids = _Ids()
        # Its sampler, its limits and the rest of what is sent with each span are set by the environment.
        self._provider = TracerProvider(resource=_resource(), id_generator=self._ids, shutdown_on_exit=False)
        room = None if os.environ.get(_QUEUE_VARIABLE) else _QUEUE_SPANS
        self._provider.add_span_processor(BatchSpanProcessor(_Heard(exporter), max_queue_size=room))
        self._tracer = self._provider.get_tracer(_NAME)

    def write(self, trace: Trace) -> None:
        """Queue the spans of a trace, unless its caller or the sampler does not want it."""
        self._ids.trace_id = _trace_id(trace.job_id)
        # Never a child of what happens to be at work in this thread.
        parent = Context() if trace.traceparent is None else _remote(trace.traceparent)
        self._write(trace.root, parent, SpanKind.CONSUMER)

    def _write(self, span: Span, parent: Context, kind: SpanKind) -> None:
        made = self._tracer.start_span(span.name, parent, kind, span.attributes, start_time=_ns(span.began))
        if not made.is_recording():
            return
        if span.failed:
            made.set_status(Status(StatusCode.ERROR))
        within = set_span_in_context(made, Context())
        for child in span.children:
            self._write(child, within, SpanKind.CLIENT if child.outward else SpanKind.INTERNAL)
        made.end(_ns(span.ended))

    def close(self) -> None:
        """Export what is left. Takes as long as the server makes it."""
        self._provider.shutdown()


class _Ids(RandomIdGenerator):
    """A job's own trace has an id made of the job's, so that what it did at different times is in one trace."""

    trace_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id


class _Heard(SpanExporter):
    """Says once when traces can't be sent, and when they can again. The library would say it every time, and quote the
    address, which can hold a key.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._is_away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 (said, without its text)
            result = SpanExportResult.FAILURE
            reason = type(error).__name__
        else:
            reason = "the collector did not take them"
        is_away = result is not SpanExportResult.SUCCESS
        if is_away and not self._is_away:
            log.warning("traces_not_sent", reason=reason)
        elif self._is_away and not is_away:
            log.info("traces_sent_again")
        self._is_away = is_away
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def exporter_by_environment() -> SpanExporter:
    """OTLP over HTTP, to where `OTEL_EXPORTER_OTLP_...` says. Raises what the library makes of wrong values."""
    # `_Heard` says when it can't export. All of the library: a header that it can't read it would quote, key and all.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    return OTLPSpanExporter()


def _resource() -> Resource:
    # To the library what is given goes before what the environment says.
    env = os.environ
    is_named = env.get("OTEL_SERVICE_NAME") or "service.name=" in env.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return Resource.create({} if is_named else {"service.name": _NAME})


def _trace_id(job_id: str) -> int:
    # Hashed, although most ids are UUIDs: samplers take the last eight bytes for random.
    return int.from_bytes(hashlib.sha256(f"{_NAME}:{job_id}".encode()).digest()[:16], "big")


def _remote(traceparent: str) -> Context:
    _, trace_id, span_id, flags = traceparent.split("-")
    there = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return set_span_in_context(NonRecordingSpan(there), Context())


def _ns(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(microseconds=1) * 1000
