"""Who is the living lane: a heartbeat that expires and an epoch that makes a doubled lane fall silent."""

from __future__ import annotations

from collections.abc import Sequence

from redis import Redis

from . import keys
from .scripts import load


class LaneBeats:
    """Heartbeats of the lanes."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._seed = load(redis, "seed_lane")
        self._renew = load(redis, "renew_lane")

    def seed(self, lane: str, ttl_s: float) -> int | None:
        """A new epoch for a lane that has fallen silent; `None` when it is alive."""
        args: list[int | str] = [int(ttl_s * 1000), keys.LANE_SEEDED]
        epoch = self._seed(keys=[keys.lane_beat(lane), keys.lane_epoch(lane)], args=args)
        return int(epoch) if epoch else None

    def living(self, lanes: Sequence[str]) -> list[str]:
        """Those of these lanes whose heartbeat is there."""
        beats = self._redis.mget([keys.lane_beat(lane) for lane in lanes])
        return [lane for lane, beat in zip(lanes, beats, strict=True) if beat is not None]

    def renew(self, lane: str, epoch: int, ttl_s: float) -> bool:
        """Keep a lane alive for `ttl_s` seconds more; false when this epoch is not the one that counts (any more)."""
        args = [epoch, int(ttl_s * 1000)]
        return bool(self._renew(keys=[keys.lane_beat(lane), keys.lane_epoch(lane)], args=args))
