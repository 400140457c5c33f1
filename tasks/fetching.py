"""Fetches what the provider made into the store: for several jobs at a time, with fresh URLs where they are needed."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from concurrent.futures import wait
from contextvars import copy_context
from dataclasses import replace
from typing import Final

import structlog

from schemas.jobs import Output
from tasks.context import Context
from tasks.domain.answers import Completed, FinalAnswer, RemoteOutput
from tasks.domain.figures import DOWNLOAD_BYTES, DOWNLOAD_S, DOWNLOADS
from tasks.domain.finishing import ExpectedFilm, expected_film
from tasks.domain.job import Job
from tasks.ledger.jobs import refresh_answer
from tasks.media.errors import FetchExpired, FetchInterrupted, FetchRefused, MediaError, NoRoom, NotPlayable, StoreAway

log = structlog.get_logger("reelworks.finish")

_HAND_OVER_S: Final = 0.25
"""So long do outputs that are here wait for those of other jobs, that they may be worked together."""

_OUTCOMES: Final[dict[type[MediaError], str]] = {
    FetchExpired: "expired",
    FetchInterrupted: "interrupted",
    FetchRefused: "refused",
    NoRoom: "no_room",
    NotPlayable: "not_playable",
    StoreAway: "store_away",
}
"""How what came of a download is counted; anything else is `failed`."""

Fetched = tuple[Job, list[Output] | Exception]
"""A job with its outputs, all of them in the store; or why they are not."""


def fetch_together(ctx: Context, jobs: Sequence[Job]) -> Generator[list[Fetched], None, None]:
    """Fetch the outputs of these jobs at the same time; gives them in groups, as they come: none waits for one that is
    long in coming. Closed before its end, it ends when none of them is at work any more."""
    if len(jobs) == 1:
        yield [_fetched(ctx, jobs[0])]
        return
    left = {ctx.threads.submit(copy_context().run, _fetched, ctx, job) for job in jobs}
    try:
        while left:
            done, left = wait(left, timeout=_HAND_OVER_S)
            if done:
                yield [each.result() for each in done]
    finally:
        # Whoever wants no more of it may give the jobs to others: nothing of theirs may still be written then.
        wait([each for each in left if not each.cancel()])


def _fetched(ctx: Context, job: Job) -> Fetched:
    with structlog.contextvars.bound_contextvars(job_id=job.id):
        try:
            return job, _fetch_all(ctx, job)
        except Exception as error:  # noqa: BLE001 (whoever asked says what becomes of it)
            return job, error


def _fetch_all(ctx: Context, job: Job) -> list[Output]:
    kept = final_answer(job).outputs
    # From the second try on the URLs are asked for anew: they may be what failed.
    remote = kept if kept and job.tries == 1 else _refresh(ctx, job) or kept
    if not remote:
        raise FetchRefused("the provider completed the task without an output")
    return [_fetch(ctx, job, index, output) for index, output in enumerate(remote)]


def _fetch(ctx: Context, job: Job, index: int, remote: RemoteOutput) -> Output:
    expected = expected_film(job.request)
    name = f"{job.tenant}/{job.id}/{index}"
    try:
        return _keep(ctx, remote, name, index, expected)
    except FetchExpired:
        fresh = _refresh(ctx, job)
        if index >= len(fresh):
            raise
        return _keep(ctx, fresh[index], name, index, expected)


def _keep(ctx: Context, remote: RemoteOutput, name: str, index: int, expected: ExpectedFilm) -> Output:
    """Have one fetched, and count what came of it."""
    tally, begun_at, outcome = ctx.pulse.tally, time.monotonic(), "failed"
    try:
        kept = ctx.fetcher.keep(remote, name, index, expected)
        outcome = "stored"
        tally.add(DOWNLOAD_BYTES, amount=kept.size_bytes)
        tally.took(DOWNLOAD_S, [time.monotonic() - begun_at])
    except MediaError as error:
        outcome = _OUTCOMES.get(type(error), outcome)
        raise
    finally:
        tally.add(DOWNLOADS, outcome)
    return kept


def _refresh(ctx: Context, job: Job) -> tuple[RemoteOutput, ...]:
    """Fresh URLs for the outputs of a completed task: asking again costs nothing, creating again would."""
    provider = ctx.providers.get(job.key_alias or "")
    answer = None if provider is None else provider.poll(job.provider_task_id or "")
    if not isinstance(answer, Completed):
        return ()
    log.info("output_urls_refreshed", job_id=job.id)
    # What it costs was said when it ended; only where that could not be read is a later word of use.
    first = final_answer(job)
    fresh = FinalAnswer.of(answer) if first.usage.cost_usd is None else replace(first, outputs=answer.outputs)
    with ctx.ledger.begin("download.refreshed") as tx:
        refresh_answer(tx, job, fresh.to_json())
    return answer.outputs


def final_answer(job: Job) -> FinalAnswer:
    """The provider's final word on a job that is past it."""
    if job.answer is None:
        raise ValueError(f"job {job.id} is past its provider's answer without one")
    return FinalAnswer.from_json(job.answer)
