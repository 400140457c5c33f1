"""Counting on the way of a job, for Prometheus: sums in Redis, for which nothing else waits or fails."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from schemas import keys
from tasks import operating
from tasks.domain.figures import DOWNLOAD_S, DOWNLOADS
from tasks.pulse import Pulse, PulseError
from tasks.pulse.keys import TALLY
from tests.support.bench import Bench
from tests.support.series import of, series
from tests.support.valkey import Valkey
from tests.support.waiting import wait_until


def test_what_is_counted_is_sent_by_itself_soon(bench: Bench) -> None:
    redis = bench.ctx.pulse.redis
    for number in (1, 2):
        bench.ctx.pulse.tally.add(DOWNLOADS, "stored")
        sent = str(number).encode()
        wait_until(lambda sent=sent: redis.hget(TALLY, "downloads|stored") == sent, what="the sum")


def test_what_is_counted_together_goes_together(bench: Bench) -> None:
    threads = threading.active_count()
    for _ in range(50):
        bench.ctx.pulse.tally.add(DOWNLOADS, "stored")
    assert threading.active_count() <= threads + 1


def test_what_is_counted_while_redis_is_away_is_sent_when_it_is_back(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "another"
    folder.mkdir()
    server = Valkey(folder)
    with closing(Pulse(server.url, timeout_s=0.5)) as pulse:
        pulse.tally.add(DOWNLOADS, "stored")
        with pytest.raises(PulseError):
            pulse.tally.send()
        server.start()
        try:
            pulse.tally.add(DOWNLOADS, "stored")
            wait_until(lambda: pulse.redis.hget(TALLY, "downloads|stored") == b"2", what="the sum")
        finally:
            server.client.close()
            server.stop()


def test_what_waits_when_a_process_stops_is_sent(bench: Bench, redis_url: str) -> None:
    with closing(Pulse(redis_url)) as pulse:
        pulse.tally.add(DOWNLOADS, "stored")
    assert bench.ctx.pulse.redis.hget(TALLY, "downloads|stored") == b"1"


def test_a_strangers_value_in_its_place_stops_nobody(bench: Bench) -> None:
    redis = bench.ctx.pulse.redis
    redis.set(TALLY, "a stranger's")
    job_id = bench.generating()
    bench.look()
    assert bench.view(job_id) is not None
    cancelled = bench.submit()
    assert redis.zscore(keys.line("default"), cancelled) is not None
    operating.cancel(bench.ctx, cancelled)
    assert redis.zscore(keys.line("default"), cancelled) is None
    assert series(bench)["reelworks_redis_up", ()] == 0  # whoever watches is told


def test_one_sum_that_is_no_number_holds_no_other_up(bench: Bench) -> None:
    bench.ctx.pulse.redis.hset(TALLY, mapping={"downloads|stored": "a stranger's", b"\xff": 7})
    for outcome in ("stored", "refused"):
        bench.ctx.pulse.tally.add(DOWNLOADS, outcome)
    bench.ctx.pulse.tally.send()
    assert of(series(bench), "reelworks_downloads_total") == {("refused",): 1}


def test_nothing_is_lost_or_doubled_between_threads(bench: Bench) -> None:
    tally = bench.ctx.pulse.tally

    def work(_: int) -> None:
        for _ in range(200):
            tally.add(DOWNLOADS, "stored")
            tally.took(DOWNLOAD_S, [0.1])
            tally.send()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    tally.send()
    assert bench.ctx.pulse.redis.hget(TALLY, "downloads|stored") == b"1600"
    assert bench.ctx.pulse.redis.hget(TALLY, "download_s|sum") == b"160000000"
