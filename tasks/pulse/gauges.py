"""Reads Redis for who watches the whole: what waits in it, whether lanes live, how late looks are, for `/metrics`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis import Redis

from schemas.keys import COMMANDS, REQUESTS, TIMETABLE

from . import keys

_STREAMS: Final = {"requests": REQUESTS, "commands": COMMANDS}


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """Entries of a stream that are not done, and how long the first of them has been there; 0 without any."""

    entries: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class PulseGauges:
    """How things stand at one moment, by Redis' own clock. Durations in seconds."""

    streams: Mapping[str, StreamFigures]
    queues: Mapping[str, int]
    """Messages that no worker has taken yet."""
    looks: int
    looks_late_s: float
    """For how long the look that is due for the longest has been due; 0 when none is."""
    is_whole: bool
    """Whether the timetable holds every generating job, as far as is known."""
    lanes_left_s: Mapping[str, float | None]
    """How long each lane's last sign of life still holds; `None`: it has fallen silent. To be seeded is no sign of its
    own: while no worker takes a lane's messages, all others seed it again and again."""
    spooled: int
    """Answers that wait in all spools, as far as somebody has said so."""
    tally: Mapping[str, int]
    """What was counted so far (`tasks.domain.figures`)."""


class Gauges:
    """Refuses to change anything."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def read(self, lanes: Sequence[str], queues: Sequence[str]) -> PulseGauges:
        """Read all of it, in one go. Raises `PulseError`."""
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            for stream in _STREAMS.values():
                pipe.xlen(stream)
                pipe.xrange(stream, count=1)
            pipe.zcard(TIMETABLE)
            pipe.zrange(TIMETABLE, 0, 0, withscores=True)
            pipe.exists(keys.TIMETABLE_WHOLE)
            for queue in queues:
                pipe.llen(queue)
            for lane in lanes:
                pipe.get(keys.lane_beat(lane))
                pipe.pttl(keys.lane_beat(lane))
            pipe.hgetall(keys.SPOOLS)
            pipe.hgetall(keys.TALLY)
            answers = iter(pipe.execute())
        seconds, micros = next(answers)
        now_s = seconds + micros / 1e6
        return PulseGauges(
            streams={name: _stream(next(answers), next(answers), now_s) for name in _STREAMS},
            looks=next(answers),
            looks_late_s=_late_s(next(answers), now_s),
            is_whole=bool(next(answers)),
            queues={queue: next(answers) for queue in queues},
            lanes_left_s={lane: _left_s(next(answers), next(answers)) for lane in lanes},
            spooled=sum(int(each) for each in next(answers).values() if each.isdigit()),
            tally=_tally(next(answers)),
        )


def _stream(entries: int, oldest: Sequence[Any], now_s: float) -> StreamFigures:
    came_s = int(oldest[0][0].partition(b"-")[0]) / 1000 if oldest else now_s
    return StreamFigures(entries, max(0.0, now_s - came_s))


def _tally(sums: Mapping[bytes, bytes]) -> dict[str, int]:
    return {field.decode("utf-8", "replace"): int(amount) for field, amount in sums.items() if amount.isdigit()}


def _late_s(earliest: Sequence[Any], now_s: float) -> float:
    return max(0.0, now_s - earliest[0][1]) if earliest else 0.0


def _left_s(beat: bytes | None, pttl_ms: int) -> float | None:
    return None if beat == keys.LANE_SEEDED.encode() or pttl_ms < 0 else pttl_ms / 1000
