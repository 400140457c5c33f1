"""Troubles of the provider, its keys, and what it bills."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from schemas.jobs import State
from tests.support.waiting import wait_until
from tests.watch.faults import Fault, Place
from tests.watch.scene import Scene, SlowCreates

_STEP_S: Final = 60.0
_CROWD: Final = 10

# --- the provider -----------------------------------------------------------------------------------------------------


def _some_at_the_provider(scene: Scene) -> None:
    scene.works.script({"match": {"prompt_contains": " endless "}, "poll": {"never": True}})
    scene.reached(scene.submit(15, "endless"), State.GENERATING)


def _one_more(scene: Scene) -> None:
    """There is always something to create, and never a crowd that is in the way of what comes next."""
    if scene.count(State.QUEUED) + scene.count(State.ADMITTED) < _CROWD:
        scene.submit(1)


def _answering(status: int) -> Callable[[Scene], None]:
    return lambda scene: scene.edge.answer_all(status)


def _provider_again(scene: Scene) -> None:
    scene.edge.mend()


def _key_again(scene: Scene) -> None:
    """Its pause, longer with each refusal, is ended as well."""
    scene.edge.mend()
    scene.command("keys", "open", "main")


def _all_paused(scene: Scene) -> None:
    scene.command("pause", "--all", "--reason", "it is tried who notices")


def _all_resumed(scene: Scene) -> None:
    scene.command("resume", "--all")


@dataclass
class _Slow:
    """Creates that take long, for as long as it is not ended. `for_s`: a little longer than the alert allows."""

    for_s: float
    running: SlowCreates | None = None

    def begin(self, scene: Scene) -> None:
        self.running = SlowCreates(scene.works.gate, self.for_s)
        scene.submit(8)

    def end(self, _scene: Scene) -> None:
        assert self.running is not None
        self.running.end()


def slow_fault(threshold_s: float) -> Fault:
    """Creates that take longer than the alert allows, however much it is shortened."""
    slow = _Slow(threshold_s * 1.3 + 1.0)
    return Fault(
        f"answers to creates held back for {slow.for_s:.0f} s",
        ("ReelworksProviderSlow",),
        slow.begin,
        slow.end,
        keep_up=_one_more,
    )


def provider_place(slow_s: float) -> Place:
    """`slow_s`: above how many seconds a create is slow."""
    return Place(
        "provider",
        (
            slow_fault(slow_s),
            Fault(
                "the provider's port closed while 15 jobs generate",
                ("ReelworksProviderDown",),
                lambda scene: scene.edge.refuse(),
                _provider_again,
                before=_some_at_the_provider,
                keep_up=_one_more,
            ),
            Fault(
                "the only key refused: every call answered 401",
                ("ReelworksKeyRefused", "ReelworksKeyStopped", "ReelworksAllKeysStopped"),
                _answering(401),
                _key_again,
                keep_up=_one_more,
            ),
            Fault(
                "every call of a key answered 429",
                ("ReelworksThrottled",),
                _answering(429),
                _provider_again,
                keep_up=_one_more,
            ),
            Fault(
                "all paused (`pause --all`) without an end",
                ("ReelworksPausedLong",),
                _all_paused,
                _all_resumed,
            ),
        ),
        {"http_create_read_s": "60", "http_create_total_s": "90", "create_lease_s": "120"},
    )


# --- jobs and money ---------------------------------------------------------------------------------------------------

_RULES: Final[tuple[dict[str, Any], ...]] = (
    {"match": {"prompt_contains": " failing "}, "poll": {"outcome": "failed"}},
    {"match": {"prompt_contains": " priceless "}, "poll": {"cost_form": "missing"}},
    {"match": {"prompt_contains": " doubtful "}, "create": {"fault": "accept_then_reset"}},
    {"match": {"prompt_contains": " long "}, "poll": {"latency_s": 3000}},
)
_BUDGET: Final = ("budgets", "set", "day")


def _all_that_costs(scene: Scene) -> None:
    scene.submit(10, "failing")
    scene.submit(10, "priceless")
    scene.submit(2, "doubtful")
    scene.submit(10, tenant="thrifty")


def _resolved(scene: Scene) -> None:
    scene.command(*_BUDGET, "100", "--tenant", "thrifty")
    for job in scene.uncertain():
        scene.command("uncertain", "write-off", job, "--paid", "0.10")


def _before_costs(scene: Scene) -> None:
    """One of each before: what grows is counted from the first value of its series on."""
    scene.works.script(*_RULES)
    some = [*scene.submit(1, "failing"), *scene.submit(1, "priceless"), *scene.submit(1)]
    scene.reached(some, State.COMPLETED, State.FAILED)
    scene.command(*_BUDGET, "1.05", "--tenant", "thrifty")


def _forgotten(scene: Scene) -> None:
    """The provider does not know a task any more, for so long that it is believed; the job is then created anew."""
    scene.submit(1, "long")
    wait_until(lambda: scene.count(State.GENERATING) == 1, within_s=_STEP_S, what="a job at the provider")
    scene.edge.answer_all(404)
    wait_until(lambda: scene.count(State.UNCERTAIN) == 1, within_s=_STEP_S, what="a lost task")
    (job,) = scene.uncertain()
    scene.command("uncertain", "anew", job)


def _told_in_vain(scene: Scene) -> None:
    scene.receiver.answers += [500] * 1000
    scene.submit(2, callback_url=f"{scene.receiver.url}/watch")


MONEY: Final = Place(
    "money",
    (
        Fault(
            "10 jobs fail, 10 have no cost in the answer, 2 creates are reset after they were sent, a budget of $1.05 "
            "is used for 10 films of $0.10",
            (
                "ReelworksJobsFail",
                "ReelworksCostsEstimated",
                "ReelworksJobsUncertain",
                "ReelworksBudgetNearlyUsed",
            ),
            _all_that_costs,
            _resolved,
            before=_before_costs,
        ),
        Fault(
            "a receiver answers 500 until its messages are given up (here after 3 s)",
            ("ReelworksWebhooksDead",),
            _told_in_vain,
            lambda scene: scene.receiver.answers.clear(),
        ),
        Fault(
            "a task answered 404 until it was lost, its job created anew, and 404 ever since",
            ("ReelworksStrays",),
            _forgotten,
            lambda scene: scene.edge.mend(),
        ),
    ),
    {"webhook_give_up_s": "3"},
)
