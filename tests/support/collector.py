"""Spans as an OpenTelemetry collector is sent them: OTLP over HTTP, which `tests.support.receiver` takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.receiver import Receiver


@dataclass(frozen=True)
class Sent:
    """A span as it came. Ids are hexadecimal; a root has no parent."""

    name: str
    service: str
    trace_id: str
    id: str
    parent_id: str
    attributes: Mapping[str, Any]


def spans_at(collector: Receiver) -> list[Sent]:
    """All spans that the collector has taken so far."""
    return [span for call in collector.taken() for span in _spans(call.body)]


def tree(spans: Sequence[Sent], parent_id: str) -> dict[str, Any]:
    """Names of spans below one, in the order in which they were sent."""
    return {span.name: tree(spans, span.id) for span in spans if span.parent_id == parent_id}


def _spans(body: bytes) -> Iterator[Sent]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = _values(resource.resource.attributes).get("service.name", "")
        for scope in resource.scope_spans:
            for span in scope.spans:
                ids = [each.hex() for each in (span.trace_id, span.span_id, span.parent_span_id)]
                yield Sent(span.name, service, *ids, _values(span.attributes))


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
