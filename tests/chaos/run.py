"""One chaos run from start to end: stage, producers, harm, operator, reckoning."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from schemas.jobs import TERMINAL, State
from schemas.producer import WEEK_S
from tasks.domain.budgets import Budget, Period, WhenUsedUp
from tasks.ledger import tables
from tasks.ledger.spending import set_budget
from tasks.ledger.tables import attempts, jobs
from tasks.ledger.webhook_secrets import secrets_of
from tests.chaos import account, books, provider, turns, webhooks
from tests.chaos.account import Breach, Result
from tests.chaos.books import Books
from tests.chaos.harm import Done, Harm
from tests.chaos.operator import Operator, cancel
from tests.chaos.orders import TENANTS, THRIFTY
from tests.chaos.plan import Plan
from tests.chaos.producers import Producers, Submitted
from tests.chaos.racing import Racers
from tests.chaos.stage import Stage, staged, write_scenario
from tests.chaos.turns import Turns
from tests.chaos.webhooks import Webhooks, told_by

APP: Final = "workers.app"
_AT_REST: Final = sorted({*TERMINAL, State.UNCERTAIN})
_ROUNDS: Final = 10
# What the last fuses may take to burn once all else is done.
_BURN_S: Final = 20.0


@dataclass(frozen=True)
class Outcome:
    """What a run came to, and what of the plan was done."""

    result: Result
    books: Books
    turns: Turns
    webhooks: Webhooks
    counts: dict[str, int]
    unburnt: list[str]
    seed: int
    database: str
    breaches: tuple[Breach, ...]
    harm: tuple[Done, ...] = ()

    @property
    def well(self) -> bool:
        return not self.breaches

    def closing_line(self) -> str:
        r, counts = self.result, self.counts
        return (
            f"chaos: jobs={r.jobs} kills={counts.get('kill', 0)} redis_wipes={counts.get('wipe', 0)} "
            f"broker_restarts={counts.get('broker', 0)} lost={r.lost} paid_twice={r.paid_twice} "
            f"uncertain={r.uncertain} rescue_p99_s={r.rescue_p99_s:.1f} "
            f"bill_matches={'yes' if r.bill_matches else 'no'} doors={r.doors} "
            f"webhooks_lost={len(self.webhooks.lost)} "
            f"seed={self.seed} database={self.database}"
        )


def run(
    plan: Plan,
    folder: Path,
    *,
    database: str,
    within_s: float,
    say: Callable[[str], None],
    app: str = APP,
    keep_s: int = WEEK_S,
    watch: Callable[[Stage], None] = lambda _stage: None,
) -> Outcome:
    """Carry out a plan in `folder`, and reckon up.

    `within_s` bounds the whole, once the stack is up; `keep_s` is for how long Redis keeps what is only looked at
    (views, records of idempotency keys). `watch` is called again and again while it goes on.
    """
    scenario = write_scenario(folder / "scenario.json")
    with staged(
        folder,
        plan,
        database=database,
        app=app,
        scenario=scenario,
        keep_s=keep_s,
    ) as stage:
        deadline = time.monotonic() + within_s
        say(f"the stack is up in {folder}")
        _allow(stage, plan)
        racers = Racers(stage, plan.seed)
        harm = Harm(stage, plan)
        producers = Producers(stage, plan.orders, lambda: harm.wipes)
        try:
            producers.start()
            harm.start()
            if plan.scale.racing:
                racers.start()
            _go_on(stage, producers, harm, deadline, say, watch)
        finally:
            racers.stop()
            harm.stop()
            producers.stop()
        say(f"racing admit lanes died {racers.deaths} times")
        if racers.failed:
            raise RuntimeError(f"the racing admit lanes ended by themselves: see {folder}/logs/racing.log")
        say(f"harm is over: {dict(harm.counts)}, not burnt: {harm.unburnt or 'none'}")
        _end(stage, producers, deadline, say)
        stage.stack.check()
        return _reckoned(plan, stage, producers, harm, database)


def _allow(stage: Stage, plan: Plan) -> None:
    """Give the thrifty tenant its budget."""
    if plan.allowed_usd is not None:
        with stage.context.ledger.begin() as tx:
            set_budget(tx, Budget(THRIFTY, Period.MONTH, plan.allowed_usd, WhenUsedUp.REFUSE))


def _go_on(
    stage: Stage,
    producers: Producers,
    harm: Harm,
    deadline: float,
    say: Callable[[str], None],
    watch: Callable[[Stage], None],
) -> None:
    """Until all orders were accepted and all harm is done; meanwhile some jobs are cancelled."""
    to_cancel = [one for one in producers.submitted if one.order.cancelled_by == "operator"]
    say_at, burn_by = time.monotonic(), None
    while time.monotonic() < deadline:
        stage.stack.check()
        to_cancel = [one for one in to_cancel if not _cancelled(stage, one)]
        done, ended = producers.done, harm.ended
        if done and ended:
            return
        watch(stage)
        if done and harm.only_fuses_left:
            burn_by = burn_by or time.monotonic() + _BURN_S
            if time.monotonic() > burn_by:
                return
        if time.monotonic() >= say_at:
            say_at += 15
            say(f"{standing(stage)} {dict(harm.counts)}, laid: {harm.unburnt}")
        time.sleep(0.1)


def _cancelled(stage: Stage, one: Submitted) -> bool:
    if one.to_be_cancelled_now:
        cancel(stage.context, one.job_id)
    return one.to_be_cancelled_now


def standing(stage: Stage) -> dict[str, int]:
    """How many jobs there are in each state."""
    with stage.context.ledger.read() as tx:
        counted = sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state)
        return dict(tx.execute(counted).all())


def _end(stage: Stage, producers: Producers, deadline: float, say: Callable[[str], None]) -> None:
    """Wait until nothing moves by itself, then play the operator until nothing waits for one either."""
    operator = Operator(stage.context, {one.job_id: one.order.mark for one in producers.submitted})
    rounds = 0
    while _wait(lambda: not _moving(stage), deadline):
        if rounds == 0:
            say(f"at rest: {standing(stage)}")
            _script(stage, "[]")  # what is created anew from here on meets no fault
        # Only the first round creates anew: what is in doubt after that is settled by what the provider has.
        # What is not possible at the moment (the provider does not answer the operator either) is tried again.
        if not operator.resolve(provider.witnessed(stage.simulator), anew=rounds == 0) or rounds > _ROUNDS:
            break
        rounds += 1
    say(
        f"the operator bound {len(operator.bound)}, wrote off {len(operator.written_off)}, created "
        f"{len(operator.created_anew)} anew, retried {len(operator.retried)}; now {standing(stage)}"
    )


def _wait(condition: Callable[[], bool], deadline: float) -> bool:
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.3)
    return False


def _moving(stage: Stage) -> bool:
    """Whether something is still to happen without anybody's help: to jobs, spooled answers, tasks, or webhooks."""
    moving = sa.select(jobs.c.id).where(jobs.c.state.not_in(_AT_REST)).limit(1)
    unsettled = sa.select(attempts.c.id).where(attempts.c.settle_at.is_not(None)).limit(1)
    unsent = sa.select(tables.webhooks.c.id).where(tables.webhooks.c.due_at.is_not(None)).limit(1)
    with stage.context.ledger.read() as tx:
        found = tx.execute(moving).first() or tx.execute(unsettled).first() or tx.execute(unsent).first()
    return bool(found or stage.context.spool.waiting())


def _script(stage: Stage, rules: str) -> None:
    request = urllib.request.Request(f"{stage.provider_url}/admin/scenario", data=rules.encode(), method="PUT")
    urllib.request.urlopen(request, timeout=10).close()


def _reckoned(plan: Plan, stage: Stage, producers: Producers, harm: Harm, database: str) -> Outcome:
    submitted = [(one.job_id, one.order, one.confirmed_at) for one in producers.submitted if one.confirmed_at]
    store = Path(str(stage.stack.addresses["store"]))
    orders = {one.job_id: one.order for one in producers.submitted}
    calls = list(stage.receiver.calls)
    found = books.read(
        stage.context.ledger,
        stage.simulator,
        store,
        submitted,
        unanswered={one.job_id: one.order for one in producers.submitted if one.confirmed_at is None},
        cancelled=harm.cancelled,
        most_open=_most_open(stage),
        told=told_by(calls, orders, _secrets(stage)),
    )
    result = account.reckon(found, harm.done)
    admission = turns.turns(found, slots=plan.scale.slots, allowed_usd=plan.allowed_usd)
    hooks = webhooks.webhooks(found, calls)
    breaches = [*result.breaches, *admission.breaches(), *hooks.lost]
    breaches += [
        Breach("duplicate", one.job_id, f"one key, several jobs: {sorted(one.ids)}")
        for one in producers.submitted
        if len(one.ids) > 1
    ]
    if len(submitted) < len(plan.orders):
        breaches.append(Breach("run", "", f"only {len(submitted)} of {len(plan.orders)} jobs could be submitted"))
    if result.doors < (planned := len({order.door for order in plan.orders})):
        breaches.append(Breach("run", "", f"only {result.doors} of {planned} doors brought a job that completed"))
    scale = plan.scale
    for kind, least in (("kill", scale.fuses + scale.kills), ("wipe", scale.wipes), ("broker", scale.broker_restarts)):
        if (done := harm.counts[kind]) < least:
            breaches.append(Breach("run", "", f"only {done} of {least} of kind {kind} were done: {harm.unburnt}"))
    return Outcome(
        result,
        found,
        admission,
        hooks,
        dict(harm.counts),
        harm.unburnt,
        plan.seed,
        database,
        tuple(breaches),
        tuple(harm.done),
    )


def _secrets(stage: Stage) -> dict[str, list[str]]:
    """What webhooks are signed with, by tenant."""
    with stage.context.ledger.read() as tx:
        return {tenant: [each.text for each in secrets_of(tx, tenant)] for tenant in TENANTS}


def _most_open(stage: Stage) -> int:
    with urllib.request.urlopen(f"{stage.provider_url}/admin/state", timeout=10) as answer:
        return max(json.load(answer)["max_open"].values(), default=0)
