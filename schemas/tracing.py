"""The trace that a request is part of, as the W3C's `traceparent` names it: found, judged and carried along.

Refuses to import OpenTelemetry: a program that has a span has imported it by itself, and one that has none gets along
without. What is no `traceparent` is passed over and never refused, as the W3C asks for: a job is worth more than its
trace.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

FIELD: Final = "traceparent"
"""Its name, as a header and as a field of a stream entry."""
_FORM: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII | re.DOTALL
)
_SAMPLED: Final = 1


def traceparent_of(given: object) -> str | None:
    """What was given, in the form of version 00 (55 characters); `None` when it is no `traceparent`.

    A later version is read as far as version 00 goes, and may have more behind that.
    """
    match = _FORM.fullmatch(given) if isinstance(given, str) else None
    if match is None or (match[1] == "00" and match[5] is not None):
        return None
    return _text(match[2], match[3], int(match[4], 16))


@contextmanager
def submitting(given: str | None, jobs: int) -> Iterator[str | None]:
    """The `traceparent` of the jobs that the block submits: as given, or of a span of its own around the block.

    The span is a child of the caller's, and goes where the program has its spans sent. `None` where a program has
    nothing to do with OpenTelemetry.
    """
    # Not there while another thread has only begun to import it, either.
    get_tracer: Any = getattr(sys.modules.get("opentelemetry.trace"), "get_tracer", None)
    if given is not None or get_tracer is None:
        yield traceparent_of(given)
        return
    kind = sys.modules["opentelemetry.trace"].SpanKind.PRODUCER
    named = {"reelworks.jobs": jobs}
    opened = get_tracer("reelworks").start_as_current_span(
        "reelworks submit", None, kind, named, record_exception=False
    )
    with opened as span:
        here = span.get_span_context()
        yield _text(f"{here.trace_id:032x}", f"{here.span_id:016x}", here.trace_flags) if here.is_valid else None


def _text(trace_id: str, span_id: str, flags: int) -> str:
    return f"00-{trace_id}-{span_id}-{flags & _SAMPLED:02x}"
