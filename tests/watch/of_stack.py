"""Troubles of the stack's own: parts that go away, pools that are gone, a disk that fills up."""

from __future__ import annotations

from typing import Final

from schemas.jobs import State
from tasks.pulse.keys import SPOOLS
from tests.support.waiting import wait_until
from tests.watch.faults import Fault, Place
from tests.watch.scene import Scene
from workers import pools

_STEP_S: Final = 60.0

# --- parts that go away -----------------------------------------------------------------------------------------------


def _no_redis(scene: Scene) -> None:
    scene.works.broker.stop()


def _redis_again(scene: Scene) -> None:
    scene.works.broker.start()


def _answered_in_vain(scene: Scene) -> None:
    """A create is answered while the database is away, and when that is back no worker of the machine is."""
    scene.works.gate.shut(b"POST ")
    scene.submit(1)
    wait_until(lambda: scene.works.gate.held, within_s=_STEP_S, what="a create under way")
    scene.postgres.stop("immediate")
    scene.works.gate.let_go()
    wait_until(lambda: scene.works.broker.client.hvals(SPOOLS), within_s=_STEP_S, what="an answer in the spool")
    for name in pools.POOLS:
        scene.kill_pool(name)
    scene.postgres.start()


PARTS: Final = Place(
    "parts",
    (
        Fault(
            "PostgreSQL killed (`immediate`)",
            ("ReelworksDatabaseAway",),
            lambda scene: scene.postgres.stop("immediate"),
            lambda scene: scene.postgres.start(),
        ),
        Fault("Valkey stopped", ("ReelworksRedisAway",), _no_redis, _redis_again),
        Fault(
            "the gateway killed",
            ("ReelworksNotSeen",),
            lambda scene: scene.kill_gateway(),
            lambda scene: scene.start_gateway(),
        ),
        Fault(
            "PostgreSQL killed while a create is under way, and back when all pools are killed",
            ("ReelworksSpoolWaits",),
            _answered_in_vain,
            lambda scene: scene.start_pools(),
        ),
    ),
    on_postgres=True,
)

# --- pools that are gone ----------------------------------------------------------------------------------------------

_GENERATING: Final = 240
_TOLD: Final = 5


def _busy_lanes(scene: Scene) -> None:
    """More jobs generate than a sweep takes at a time, and some callers' receiver answers 500."""
    scene.works.script({"match": {"prompt_contains": " endless "}, "poll": {"never": True}})
    scene.receiver.answers += [500] * 100_000
    told = scene.submit(_TOLD, "endless", callback_url=f"{scene.receiver.url}/watch")
    jobs = [*told, *scene.submit(_GENERATING, "endless")]
    scene.reached(jobs, State.GENERATING)
    wait_until(lambda: scene.receiver.calls, within_s=_STEP_S, what="a webhook")


def _lanes_gone(scene: Scene) -> None:
    scene.kill_pool("lanes")
    scene.submit(3)


def _lanes_again(scene: Scene) -> None:
    scene.receiver.answers.clear()
    scene.works.crew.start("lanes")


def _lanes_gone_and_wiped(scene: Scene) -> None:
    scene.kill_pool("lanes")
    scene.works.broker.client.flushall()


LANES: Final = Place(
    "lanes",
    (
        Fault(
            "pool `lanes` killed while 245 jobs generate, 3 requests wait in the stream and a receiver fails",
            (
                "ReelworksLaneSilent",
                "ReelworksIntakeStands",
                "ReelworksPollsLate",
                "ReelworksJobsLapsed",
                "ReelworksWebhooksLate",
            ),
            _lanes_gone,
            _lanes_again,
            before=_busy_lanes,
        ),
        Fault(
            "pool `lanes` killed and Redis wiped (`FLUSHALL`)",
            ("ReelworksTimetableNotFilled",),
            _lanes_gone_and_wiped,
            _lanes_again,
        ),
    ),
    {"open_tasks_per_key": "400", "confirm_s": "5"},
)


def _create_gone(scene: Scene) -> None:
    scene.kill_pool("create")
    scene.submit(30)


def _create_again(scene: Scene) -> None:
    scene.works.crew.start("create")
    scene.settled(State.QUEUED)


def _finish_gone(scene: Scene) -> None:
    scene.kill_pool("finish")
    scene.submit(5)


def _finish_again(scene: Scene) -> None:
    scene.works.crew.start("finish")


POOLS: Final = Place(
    "pools",
    (
        Fault(
            "pool `create` killed, 30 jobs submitted for 10 slots",
            ("ReelworksNothingCreated", "ReelworksJobsWaitLong", "ReelworksJobsStand"),
            _create_gone,
            _create_again,
        ),
        Fault("pool `finish` killed, 5 jobs submitted", ("ReelworksFilmsNotFetched",), _finish_gone, _finish_again),
    ),
    {"open_tasks_per_key": "10"},
)

# --- the disk ---------------------------------------------------------------------------------------------------------

_DISK_BYTES: Final = 64_000_000
_LOW_BYTES: Final = 16_000_000
_FILLER: Final = "filler"


def _disk_full(scene: Scene) -> None:
    scene.submit(3, "late")
    wait_until(lambda: scene.count(State.GENERATING) == 3, within_s=_STEP_S, what="3 jobs at the provider")
    (scene.store / _FILLER).write_bytes(bytes(_DISK_BYTES - _LOW_BYTES))


def _disk_nearly_full(scene: Scene) -> None:
    (scene.store / _FILLER).write_bytes(bytes(_DISK_BYTES - 2 * _LOW_BYTES))


def _room_again(scene: Scene) -> None:
    (scene.store / _FILLER).unlink()


DISK: Final = Place(
    "disk",
    (
        Fault(
            "all but 32 MB of the store's disk (a tmpfs of 64 MB) taken, where 16 have to stay free",
            ("ReelworksDiskNearlyFull",),
            _disk_nearly_full,
            _room_again,
        ),
        Fault(
            "the store's disk (a tmpfs of 64 MB) filled up to below 16 MB free while 3 jobs generate",
            ("ReelworksDiskFull",),
            _disk_full,
            _room_again,
            before=lambda scene: scene.works.script(
                {"match": {"prompt_contains": " late "}, "poll": {"latency_s": 500}}
            ),
        ),
    ),
    {"disk_low_bytes": str(_LOW_BYTES)},
    disk_bytes=_DISK_BYTES,
)
