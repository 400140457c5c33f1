"""Comparing the ledger with the provider, task by task, on both databases."""

from __future__ import annotations

from decimal import Decimal

import sqlalchemy as sa

from tasks import operating
from tasks.domain.answers import Completed, Failed, Usage
from tasks.ledger import tables
from tasks.reconciling import reconcile
from tests.support.bench import Bench
from tests.support.situations import amounts


def test_an_estimate_is_corrected_once_the_provider_names_the_price(bench: Bench) -> None:
    job_id = bench.generating()
    operating.cancel(bench.ctx, job_id)
    bench.provider.polls.append(Completed((), Usage(None)))
    bench.look()
    assert [row.estimated for row in bench.rows(tables.charges)] == [True]
    later = Completed((), Usage(Decimal("0.25"), raw={"cost": "0.25"}))
    bench.provider.polls.append(later)
    (difference,) = reconcile(bench.ctx).differences
    assert difference.missing_usd == Decimal("-0.03")
    bench.provider.polls.append(later)
    reconcile(bench.ctx, mend=True)
    assert [(row.amount_usd, row.estimated) for row in bench.rows(tables.charges)] == [(Decimal("0.25"), False)]
    assert reconcile(bench.ctx).differences == ()


def test_a_failure_that_was_charged_after_all_is_found_and_charged(bench: Bench) -> None:
    bench.generating()
    bench.provider.polls.append(Failed("010004095", "no"))
    bench.look()
    assert amounts(bench) == {}
    bench.provider.polls += [Failed("010004095", "no", Usage(Decimal("0.10")))] * 2
    assert [each.missing_usd for each in reconcile(bench.ctx).differences] == [Decimal("0.10")]
    reconcile(bench.ctx, mend=True)
    assert amounts(bench) == {"task-1": Decimal("0.10")}


def test_ledger_and_provider_that_agree_have_no_difference(bench: Bench) -> None:
    bench.generating()
    compared = reconcile(bench.ctx)
    assert (compared.asked, compared.differences) == (1, ())


def test_a_task_of_a_key_that_is_not_here_is_not_counted_as_asked_about(bench: Bench) -> None:
    job_id = bench.generating()
    with bench.ctx.ledger.begin() as tx:
        tx.execute(sa.update(tables.jobs).where(tables.jobs.c.id == job_id).values(key_alias="elsewhere"))
    compared = reconcile(bench.ctx)
    assert (compared.asked, [each.job_id for each in compared.differences]) == (0, [job_id])
