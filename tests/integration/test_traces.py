"""One trace a job: from its caller's span, through every door, over lanes and tasks, to a collector that decodes it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
import sqlalchemy as sa
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, use_span

import tasks.traces
from schemas.aio import AsyncProducer
from schemas.jobs import State
from tasks import context, operating
from tasks.domain.answers import Running
from tasks.finish import download, record
from tasks.ledger import tables
from tasks.ledger.traces import take_untraced
from tasks.traces import Traces
from tests.support.bench import MODEL, URL, Bench
from tests.support.celerydoor import enqueued, message
from tests.support.collector import Sent, spans_at, tree
from tests.support.doors import Door, client, new_key
from tests.support.failing import away
from tests.support.receiver import Receiver, receiving
from tests.support.samples import sample
from tests.support.situations import FILM, completed, failed_download
from tests.support.waiting import wait_until

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
ANOTHER = "00-11111111111111111111111111111111-2222222222222222-01"
PROMPT = "[static] a canary of brass"
REQUEST = {"model": MODEL, "first_frame_image": URL}
on_one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""Where it makes no difference which."""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving() as made:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        yield made


@pytest.fixture
def traced(bench: Bench, collector: Receiver) -> Iterator[Bench]:
    """The bench, with traces as the environment has them."""
    traces = Traces()
    ctx = replace(bench.ctx, traces=traces)
    context.install(lambda: ctx)
    yield replace(bench, ctx=ctx)
    traces.close()


def order() -> Span:
    """A span of a caller, whose program has OpenTelemetry."""
    return TracerProvider().get_tracer("caller").start_span("order")


def parent_of(span: Span) -> str:
    here = span.get_span_context()
    return f"00-{here.trace_id:032x}-{here.span_id:016x}-01"


def swept(bench: Bench) -> None:
    """As long after a job's end as the sweep takes to see to it."""
    bench.lapse()
    bench.turn("sweep")


def told(collector: Receiver, roots: int = 1) -> list[Sent]:
    """The collector's spans, once so many jobs are among them: a job's own comes last of its trace."""

    def are_here() -> bool:
        return len([span for span in spans_at(collector) if span.name == "job"]) >= roots

    wait_until(are_here, what="the job's trace")
    return spans_at(collector)


def carried(bench: Bench) -> list[str | None]:
    return [row.traceparent for row in sorted(bench.rows(tables.jobs), key=lambda row: row.accepted_at)]


def test_a_job_is_one_trace_from_its_callers_span_to_its_end(
    traced: Bench, collector: Receiver, quick_films: None
) -> None:
    caller = order()
    with use_span(caller):
        job_id = traced.generating(prompt=PROMPT, metadata={"canary": "of brass"}, idempotency_key="canary-7")
    traced.provider.polls += [Running(0.4), Running(0.8), FILM]
    for _ in range(3):
        traced.look()
    download(job_id)
    record(job_id)
    assert traced.state(job_id) is State.COMPLETED
    swept(traced)
    spans = told(collector)
    _, trace_id, caller_id, _ = parent_of(caller).split("-")
    assert {(span.trace_id, span.service) for span in spans} == {(trace_id, "reelworks")}
    assert tree(spans, caller_id) == {
        "job": {
            "queued": {},
            "admitted": {},
            "creating": {"create": {}},
            "generating": {"polls": {}},
            "downloading": {"download": {}},
            "recording": {},
        }
    }
    by_name = {span.name: span.attributes for span in spans}
    assert by_name["polls"] == {"reelworks.polls": 3}
    assert by_name["create"]["reelworks.provider_task_id"] == "task-1"
    assert by_name["job"]["reelworks.job.id"] == job_id
    assert by_name["job"]["reelworks.charged_usd"] == 0.28
    for call in collector.calls:
        assert call.path == "/v1/traces"
        for secret in (b"canary", b"brass", b"example"):
            assert secret not in call.body


@on_one_database
def test_every_door_takes_the_callers_trace_along(traced: Bench) -> None:
    door = Door(client(), new_key(traced.ctx.ledger))
    traced.producer.submit_many([REQUEST] * 2, traceparent=CALLER)
    traced.turn("accept")
    traced.enter(sample("stream_entry_traced"))
    traced.turn("accept")
    enqueued(traced, message(headers={**message()["headers"], "traceparent": CALLER}))
    assert door.post("/v1/jobs", REQUEST, headers={"traceparent": CALLER}).status_code == 202
    assert door.post("/v1/batches", {"jobs": [REQUEST]}, headers={"traceparent": CALLER}).status_code == 202
    task = {"model": MODEL, "input": [{"params": {"first_frame_image": URL}}]}
    assert door.post("/model/v1/generation", task, headers={"traceparent": CALLER}).status_code == 200
    assert carried(traced) == [CALLER] * 7


@on_one_database
@pytest.mark.parametrize("given", ["00-0-0-00", "\u00e9", "x" * 10_000, f"{CALLER}, {CALLER}"])
def test_what_is_no_trace_is_passed_over_at_every_door_and_the_job_accepted(bench: Bench, given: str) -> None:
    door = Door(client(), new_key(bench.ctx.ledger))
    bench.producer.submit(**REQUEST, traceparent=given)
    bench.enter({"v": "1", "job": "job-1", "request": json.dumps(REQUEST), "traceparent": given.encode("latin-1")})
    bench.turn("accept")
    for number, value in enumerate((given, 7, None, [CALLER])):
        headers = {"lang": "py", "task": "reelworks.enqueue", "id": f"task-{number}", "traceparent": value}
        enqueued(bench, message(headers=headers))
    assert door.post("/v1/jobs", REQUEST, headers={"traceparent": given}).status_code == 202
    assert carried(bench) == [None] * 7


@on_one_database
def test_the_first_of_two_submissions_says_whose_trace_the_job_is_part_of(bench: Bench) -> None:
    for given in (CALLER, ANOTHER, None):
        bench.producer.submit(**REQUEST, idempotency_key="k", traceparent=given)
        bench.turn("accept")
    assert carried(bench) == [CALLER]
    assert bench.rows(tables.rejected) == []


@on_one_database
def test_in_asyncio_the_callers_span_is_found_as_well(bench: Bench, redis_url: str) -> None:
    callers = [order() for _ in range(3)]

    async def submit(producer: AsyncProducer, caller: Span) -> None:
        with use_span(caller):
            await producer.submit(**REQUEST)

    async def work() -> None:
        async with AsyncProducer(redis_url) as producer:
            await asyncio.gather(*(submit(producer, caller) for caller in callers))

    asyncio.run(work())
    bench.turn("accept")
    assert sorted(map(str, carried(bench))) == sorted(map(parent_of, callers))


def test_a_job_that_is_tried_again_goes_on_in_its_trace_and_nothing_is_told_twice(
    traced: Bench, collector: Receiver, request: pytest.FixtureRequest
) -> None:
    job_id = failed_download(traced)
    for _ in range(2):
        swept(traced)
    first = told(collector)
    request.getfixturevalue("quick_films")
    operating.retry(traced.ctx, job_id)
    download(job_id)
    record(job_id)
    assert traced.state(job_id) is State.COMPLETED
    for _ in range(2):
        swept(traced)
    spans = told(collector, roots=2)
    again = spans[len(first) :]
    assert len({span.trace_id for span in spans}) == 1
    assert [span.attributes["reelworks.state"] for span in spans if span.name == "job"] == ["failed", "completed"]
    assert tree(again, "") == {"job": {"downloading": {"download": {}}, "recording": {}}}


def test_of_two_sweeps_one_gives_an_end_out(bench: Bench) -> None:
    job_id = bench.submit()
    with bench.ctx.ledger.begin() as tx:
        assert take_untraced(tx, [job_id]) == []  # it has not ended
    operating.cancel(bench.ctx, job_id)
    taken, start = [], threading.Barrier(2)

    def sweep() -> None:
        start.wait(20)
        with bench.ctx.ledger.begin() as tx:
            # As in a turn, whose confirmation of the job comes first, and has the other wait.
            tx.execute(sa.update(tables.jobs).where(tables.jobs.c.id == job_id).values(lease_until=None))
            taken.extend(take_untraced(tx, [job_id]))

    sweeps = [threading.Thread(target=sweep) for _ in range(2)]
    for each in sweeps:
        each.start()
    for each in sweeps:
        each.join()
    assert [(each.id, each.after_seq, each.last_seq) for each in taken] == [(job_id, 0, 2)]


@on_one_database
def test_a_collector_that_never_answers_holds_nothing_up(
    traced: Bench, collector: Receiver, monkeypatch: pytest.MonkeyPatch, quick_films: None
) -> None:
    monkeypatch.setattr(tasks.traces, "_LAST_WORDS_S", 0.1)
    collector.answers = [0]
    for number in range(2):
        job_id = traced.submit()
        completed(traced, job_id)
        swept(traced)
        (row,) = [row for row in traced.rows(tables.jobs) if row.id == job_id]
        assert row.lease_until is None
        if number == 0:
            wait_until(lambda: bool(collector.calls), what="the first batch")
    assert traced.ctx.traces is not None
    traced.ctx.traces.close()
    assert [call.status for call in collector.calls] == [None]  # it has waited all the while


@on_one_database
def test_a_collector_that_is_not_there_holds_nothing_up(
    traced: Bench, monkeypatch: pytest.MonkeyPatch, quick_films: None
) -> None:
    monkeypatch.setattr(tasks.traces, "_LAST_WORDS_S", 0.1)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    job_id = traced.submit()
    completed(traced, job_id)
    swept(traced)
    (row,) = traced.rows(tables.jobs)
    assert (row.state, row.lease_until, row.traced_version) == ("completed", None, row.version)


@on_one_database
def test_a_ledger_that_is_away_costs_a_trace_and_no_turn(traced: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    operating.cancel(traced.ctx, traced.submit())
    monkeypatch.setattr("tasks.tracing.job_reports", away)
    with structlog.testing.capture_logs() as logs:
        swept(traced)
    assert [line["log_level"] for line in logs if line["event"] == "jobs_not_traced"] == ["warning"]
    (row,) = traced.rows(tables.jobs)
    assert (row.lease_until, row.traced_version) == (None, row.version)


@on_one_database
def test_where_no_traces_are_sent_nothing_is_written_for_them(bench: Bench) -> None:
    operating.cancel(bench.ctx, bench.submit(traceparent=CALLER))
    swept(bench)
    (row,) = bench.rows(tables.jobs)
    assert (row.lease_until, row.traceparent, row.traced_version) == (None, CALLER, None)
