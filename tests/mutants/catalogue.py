"""The mutants: each is the product without one guard, with the test that notices it missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import tasks.accept
import tasks.admitting
import tasks.answering
import tasks.create
import tasks.durably
import tasks.ending
import tasks.operating
import tasks.pausing
import tasks.poll
import tasks.settling
import tasks.sweep
from tasks import keeping
from tasks.domain import budgets, looking
from tasks.lanes import TURNS
from tasks.ledger import (
    admission,
    database,
    deliveries,
    delivery_reports,
    holding,
    jobs,
    leases,
    money,
    reports,
    resources,
    spending,
    webhook_secrets,
)
from tests.mutants.rewriting import rewrite, rewrite_script, rewrite_statement
from workers import ledgerwatch


@dataclass(frozen=True)
class Mutant:
    """`what` is then the case; `apply` takes the guard out of this process; `caught_by` is the id of a test."""

    name: str
    what: str
    apply: Callable[[], None]
    caught_by: str


def _without(function: Callable[..., Any], old: str, new: str) -> Callable[[], None]:
    return partial(rewrite, function, old, new)


def _all(*steps: Callable[[], None]) -> Callable[[], None]:
    def apply() -> None:
        for step in steps:
            step()

    return apply


_ADMISSION: Final = "tests/integration/test_admission.py::"
_STEPS: Final = "tests/integration/test_steps.py::"
_OPERATING: Final = "tests/integration/test_operating.py::"
_RESCUE: Final = "tests/integration/test_rescue.py::"
_LEDGER: Final = "tests/integration/test_ledger.py::"
_PULSE: Final = "tests/integration/test_pulse.py::"
_LATE_WORKERS: Final = "tests/integration/test_late_workers.py::"
_TOGETHER: Final = "tests/integration/test_together.py::"
_PAUSING: Final = "tests/integration/test_pausing.py::"
_GUARDS: Final = "tests/integration/test_guards.py::"
_RESTORED: Final = (
    "tests/integration/test_backup.py::"
    "test_nothing_that_was_created_since_is_created_again_and_what_redis_knows_of_is_delivered[sqlite]"
)
_OF_HELD: Final = "tests/integration/test_held.py::"
_TENANTS: Final = "tests/integration/test_two_tenants.py::"
_STRANGER: Final = _TENANTS + "TestByTheGateway::test_a_stranger_sees_nothing_and_changes_nothing[sqlite]"

_HELD: Final = "globals().setdefault('_held', {})"

MUTANTS: Final = (
    Mutant(
        "attempt-after-answer",
        "the attempt is written after the answer, not before the request",
        _all(
            _without(money.begin_attempt, "tx.execute(_BEGIN, {**row", f"{_HELD}.__setitem__(attempt_id, {{**row"),
            _without(
                money.end_attempt,
                "    begun_at: datetime | None = tx.execute(",
                f"    if attempt_id in {_HELD}:\n"
                f"        tx.execute(_BEGIN, {_HELD}.pop(attempt_id))\n"
                "    begun_at: datetime | None = tx.execute(",
            ),
        ),
        _STEPS + "TestCreate::test_the_attempt_is_committed_before_the_provider_is_asked[sqlite]",
    ),
    Mutant(
        "retry-on-time-out",
        "a create of unknown outcome is sent again at once",
        _without(
            tasks.create._ask,
            "    outcome = provider.create(body)\n",
            "    outcome = provider.create(body)\n"
            "    if isinstance(outcome, Unknown):\n        outcome = provider.create(body)\n",
        ),
        _STEPS + "TestCreate::test_an_unknown_outcome_is_parked_with_its_evidence_and_never_repeated[sqlite]",
    ),
    Mutant(
        "create-under-way-queued-again",
        "who lacks a key queues a job whose create is under way",
        _without(
            tasks.create._back,
            "move_read(tx, job, Event.UNSENT, mine=_is_claimed(job)",
            "move_read(tx, get(tx, job.id), Event.UNSENT",
        ),
        _LATE_WORKERS + "test_a_worker_that_can_not_create_a_job_takes_it_from_nobody_who_can"
        "[sqlite-without the key-unknown]",
    ),
    Mutant(
        "lost-create-queued-again",
        "a create whose worker is gone counts as not sent",
        _without(tasks.sweep._park, "Event.UNKNOWN,\n            lease_s=ctx.policy.handover_s,", "Event.UNSENT,"),
        _STEPS + "TestCreate::test_a_worker_that_dies_during_a_create_leaves_an_uncertain_job[sqlite]",
    ),
    Mutant(
        "unsent-not-spooled",
        "where the word of its commit is lost, an attempt that sent nothing stays in doubt",
        _without(tasks.create._begin, "if begun is not None and attempt_id is not None:", "if False:"),
        _RESCUE + "TestLateAnswers::"
        "test_an_attempt_of_which_no_word_came_back_is_known_to_have_sent_nothing[sqlite-True]",
    ),
    Mutant(
        "forked-in-the-middle",
        "a child is forked while a thread of its parent asks the database",
        partial(rewrite, ledgerwatch.LedgerWatch._watch, "with apart_from_forks(), ", "with "),
        "tests/unit/workers/test_forking.py::test_what_a_worker_does_beside_its_tasks_is_kept_apart[LedgerWatch]",
    ),
    Mutant(
        "sent-late",
        "a worker that slept after its commit sends all the same",
        _without(tasks.create._ask, "if time.monotonic() > send_by:", "if False:"),
        _RESCUE + "TestLateAnswers::test_a_worker_that_slept_after_its_commit_sends_nothing[sqlite]",
    ),
    Mutant(
        "any-event-in-any-state",
        "a change of state does not look at the state",
        _without(
            jobs.move_read,
            "next_state(job.state, event)",
            "next((to for each in State for to in [next_state(each, event)] if to), None)",
        ),
        _LEDGER + "test_an_event_out_of_order_changes_nothing[sqlite]",
    ),
    Mutant(
        "no-compare-and-set",
        "a change of state does not look whether somebody was first",
        partial(
            rewrite_statement,
            jobs,
            "_MOVE",
            'where(UNMOVED, jobs.c.state == _this("this_state"))',
            'where(jobs.c.id == _this("this_id"), (sa.literal(1) == 1) | UNMOVED'
            ' | (jobs.c.state == _this("this_state")))',
        ),
        _GUARDS + "test_of_two_that_read_the_same_state_one_changes_it[postgresql]",
    ),
    Mutant(
        "claim-not-looked-at",
        "whoever has lost a claim goes on with the job that another has by now",
        partial(
            rewrite_statement,
            jobs,
            "_MOVE_MINE",
            'jobs.c.tries == _this("this_tries"), jobs.c.claimed',
            '(sa.literal(1) == 1) | (jobs.c.tries == _this("this_tries"))',
        ),
        _LATE_WORKERS + "test_outputs_of_a_worker_that_stalled_do_not_win_over_whoever_is_at_it_now[sqlite]",
    ),
    Mutant(
        "no-sweep",
        "nobody looks for what was left behind",
        _without(TURNS["sweep"], "left = lapsed(tx, ctx.policy.sweep_batch)", "left = []"),
        _STEPS + "TestSweep::test_a_lost_message_is_sent_again[sqlite]",
    ),
    Mutant(
        "no-refill",
        "a wiped Redis stays empty",
        _without(TURNS["sweep"], "if not ctx.pulse.timetable.is_whole():", "if False:"),
        _STEPS + "TestSweep::test_whoever_waits_for_a_job_that_ended_is_told_in_the_end[sqlite-True]",
    ),
    Mutant(
        "look-without-lease",
        "a claimed look is taken off the timetable, not leased",
        partial(
            rewrite_script,
            "claim_due",
            "redis.call('ZADD', KEYS[1], unpack(moved))",
            "for i = 2, #moved, 2 do redis.call('ZREM', KEYS[1], moved[i]) end",
        ),
        _PULSE + "TestTimetable::test_a_claim_is_a_lease_that_falls_due_again",
    ),
    Mutant(
        "deaths-of-bystanders",
        "what goes wrong with one of the jobs that go together is a death of each",
        _without(keeping.given_back, " or len(jobs) > 1", ""),
        _TOGETHER + "TestDownload::test_nothing_is_still_fetched_when_others_may_have_the_jobs[sqlite]",
    ),
    Mutant(
        "claim-without-lease",
        "a job that somebody is at work on is claimed again",
        partial(
            rewrite_statement, leases, "_CLAIM", 'sa.not_(jobs.c.claimed) | (jobs.c.lease_until <= _this("now")),', ""
        ),
        _LEDGER + "test_of_many_claims_one_holds_until_its_lease_runs_out[sqlite]",
    ),
    Mutant(
        "claim-for-good",
        "the claim of a dead worker never runs out",
        partial(rewrite_statement, leases, "_CLAIM", ' | (jobs.c.lease_until <= _this("now"))', ""),
        _LEDGER + "test_of_many_claims_one_holds_until_its_lease_runs_out[sqlite]",
    ),
    Mutant(
        "no-fsync-before-rename",
        "a file is given its name before its bytes are on disk",
        _without(tasks.durably.publish, "    sync(part)\n", ""),
        "tests/unit/media/test_folderstore.py::test_file_is_synced_before_the_rename_and_its_folder_after",
    ),
    Mutant(
        "charge-each-time",
        "a charge has a key of its own each time",
        _without(
            money.charge,
            '"provider_task_id": job.provider_task_id,',
            '"provider_task_id": f"{job.provider_task_id}#{uuid.uuid4()}",',
        ),
        _LEDGER + "test_a_provider_task_is_charged_once_however_often_it_is_recorded[sqlite]",
    ),
    Mutant(
        "slots-not-counted",
        "the slots of a key are always free",
        _without(admission.open_tasks, "row.tasks,", "0,"),
        _STEPS + "TestAdmit::test_no_more_are_admitted_than_a_key_may_have_open[sqlite]",
    ),
    Mutant(
        "holds-not-counted",
        "what is held for jobs under way does not count against a budget",
        _without(spending.budgets_now, " + _of(row.tenant, held_usd)", ""),
        _ADMISSION + "TestRacingLanes::test_sixteen_lanes_at_once_overdraw_neither_slots_nor_budgets[sqlite]",
    ),
    Mutant(
        "charges-not-summed",
        "what was charged does not count against a budget",
        _without(money.charge, "spending.add(tx, job.tenant, tx.now, price.amount_usd)", "pass"),
        _ADMISSION + "TestRacingLanes::test_lanes_charges_and_new_jobs_at_once_keep_to_the_budget[sqlite]",
    ),
    Mutant(
        "purse-not-emptied",
        "a round of turns spends what it has spent already",
        _without(budgets.Purse.hold, "-= cost_usd", "-= 0"),
        _ADMISSION + "TestRacingLanes::test_sixteen_lanes_at_once_overdraw_neither_slots_nor_budgets[sqlite]",
    ),
    Mutant(
        "pace-not-kept",
        "a round of turns leaves no word of when the key's pace allows the next create",
        _without(tasks.admitting._write, "if creates else None", "if False else None"),
        _ADMISSION + "TestKeys::test_creates_come_at_the_pace_of_the_key[sqlite]",
    ),
    Mutant(
        "no-turns-in-admission",
        "two lanes count the same free slots at once",
        _without(database.Transaction.take_turns, 'if self.dialect == "postgresql":', "if False:"),
        _STEPS + "TestAdmit::test_no_more_are_admitted_than_a_key_may_have_open[postgresql]",
    ),
    Mutant(
        "pause-of-all-not-read",
        "whoever admits does not ask whether all is paused",
        _without(tasks.admitting.fill, "if EVERYONE in paused:", "if False:"),
        _PAUSING + "TestWhatStops::test_while_all_is_paused_jobs_are_accepted_and_wait[sqlite]",
    ),
    Mutant(
        "pause-of-tenant-not-read",
        "whoever admits does not ask whose jobs are paused",
        _without(tasks.admitting._decide, " if line.tenant not in paused", ""),
        _PAUSING + "TestWhatStops::test_a_tenants_pause_stops_its_jobs_alone[sqlite]",
    ),
    Mutant(
        "pause-out-of-turn",
        "a pause is committed before an admission that has not seen it",
        _without(tasks.pausing.pause, 'tx.take_turns("admit")', "pass"),
        _PAUSING + "TestNoCreateFollows::test_a_pause_waits_for_who_is_just_admitting_and_takes_that_back[postgresql]",
    ),
    Mutant(
        "pause-takes-nothing-back",
        "what was admitted before a pause is created after it",
        _without(tasks.pausing.pause, "_take_back(tx, scope, name)", "[]"),
        _PAUSING + "TestNoCreateFollows::test_whoever_has_a_slot_and_no_create_waits_again[sqlite]",
    ),
    Mutant(
        "late-answer-ignored",
        "an answer that comes after its job was parked is dropped",
        _without(
            tasks.answering.commit_answer,
            "if latest_attempt(tx, answer.job_id) == answer.attempt_id else",
            "if (job := get(tx, answer.job_id)) is not None and job.state is State.CREATING else",
        ),
        _STEPS + "TestCreate::test_an_answer_that_comes_after_the_job_was_parked_is_still_bound[sqlite]",
    ),
    Mutant(
        "answer-not-spooled",
        "an answer that the database cannot take is gone",
        _without(tasks.create._spooled, "ctx.spool.keep(answer.attempt_id, answer.to_json())", "pass"),
        _RESCUE + "TestLateAnswers::test_an_answer_that_the_ledger_can_not_take_is_spooled_and_replayed[sqlite]",
    ),
    Mutant(
        "strays-not-settled",
        "nobody asks what a provider task cost that no job follows",
        _without(tasks.settling.settle_strays, "due = strays(tx, limit)", "due = []"),
        _OPERATING + "TestUncertain::test_created_anew_both_tasks_are_paid_for_when_the_first_turns_up[sqlite]",
    ),
    Mutant(
        "cancel-forgets-the-cost",
        "a finished film that nobody wants is not charged",
        _without(tasks.operating.cancel, "charge_task(tx, job, answer.usage, answer.metadata)", "pass"),
        _OPERATING + "TestCancel::test_a_finished_film_that_nobody_wants_is_charged_and_left[sqlite]",
    ),
    Mutant(
        "cancelled-look-forgets-the-cost",
        "a cancelled job whose provider task ends is not charged",
        _without(
            tasks.ending._write,
            "event = Event.CANCEL\n            charges.append(_Charge(job, answer.usage, answer.metadata))",
            "event = Event.CANCEL",
        ),
        _OPERATING + "TestCancel::test_a_generating_job_is_followed_to_its_end_charged_and_not_delivered[sqlite]",
    ),
    Mutant(
        "404-ends-the-job",
        "the first 404 of a poll is believed",
        _without(looking.decide, "if missing_s is not None and missing_s >= policy.lost_after_s:", "if True:"),
        _RESCUE + "TestLost::test_a_task_that_is_not_found_for_too_long_parks_the_job_and_keeps_its_id[sqlite]",
    ),
    Mutant(
        "poison-not-counted",
        "workers that die over a job are not counted",
        _all(
            partial(rewrite_statement, leases, "_CLAIM", "deaths=_DEATHS, ", ""),
            _without(leases.renew_lapsed, '"deaths": _DEATHS, ', ""),
        ),
        _RESCUE + "TestPoison::test_a_request_that_kills_three_workers_is_parked_unsent[sqlite]",
    ),
    Mutant(
        "request-acked-first",
        "a request leaves the stream before it is committed",
        _without(
            TURNS["accept"],
            "    new, refused = _sort(ctx, entries)\n",
            "    ctx.pulse.intake.done([entry.id for entry in entries])\n    new, refused = _sort(ctx, entries)\n",
        ),
        _GUARDS + "test_a_request_stays_in_the_stream_until_it_is_committed[sqlite]",
    ),
    Mutant(
        "doubled-lane-goes-on",
        "a lane that is not the newest renews all the same",
        partial(rewrite_script, "renew_lane", "if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end", ""),
        _PULSE + "TestLanes::test_only_the_newest_epoch_keeps_a_lane_alive",
    ),
    Mutant(
        "settles-without-taking-back",
        "what was charged as a guess stays when the task comes to light",
        _without(
            money.settled,
            "take_back_estimate(tx, attempt_id)",
            "pass",
        ),
        _OPERATING
        + "TestUncertain::test_an_id_that_comes_after_the_write_off_replaces_the_estimate_by_the_price[sqlite]",
    ),
    Mutant(
        "binds-without-taking-back",
        "what was charged as a guess stays when a job is given its task late",
        _without(tasks.answering.commit_answer, "take_back_estimate(tx, answer.attempt_id)", "pass"),
        _GUARDS + "test_what_was_written_off_is_not_charged_beside_the_answer_that_comes_late[sqlite-answer0]",
    ),
    Mutant(
        "policy-creates-what-is-held",
        "after a restore a policy creates anew what may have been created",
        _without(jobs.doubtful, ", sa.not_(IS_HELD))", ")"),
        _OF_HELD + "test_no_policy_decides_it_also_where_redis_has_lost_its_task[sqlite]",
    ),
    Mutant(
        "queued-is-not-held",
        "after a restore what was queued is created all the same",
        partial(rewrite_statement, holding, "MAY_BE_CREATED", "State.QUEUED, ", ""),
        _RESTORED,
    ),
    Mutant(
        "admitted-is-not-held",
        "after a restore what was admitted is created all the same",
        partial(rewrite_statement, holding, "MAY_BE_CREATED", "State.ADMITTED, ", ""),
        _RESTORED,
    ),
    Mutant(
        "takes-up-what-is-not-held",
        "a job in doubt is given a task of the timetable, held or not",
        _without(tasks.ending._taken_up, "not is_held(tx, job.id) or ", ""),
        _OF_HELD + "test_a_job_in_doubt_that_is_not_held_is_not_taken_up[sqlite]",
    ),
    Mutant(
        "takes-up-anothers-task",
        "a held job is given a task of the timetable, another's or not",
        _without(tasks.ending._taken_up, " or owner_of_task(tx, task) is not None", ""),
        _OF_HELD + "test_another_jobs_task_is_not_taken_up[sqlite]",
    ),
    Mutant(
        "goes-past-the-timetable",
        "a held job is created anew although Redis has its task",
        _without(tasks.operating._heed_timetable, "if noted is not None and", "if False and"),
        _OF_HELD + "test_nobody_goes_past_the_task_that_redis_has_of_it[anew-sqlite]",
    ),
    Mutant(
        "shows-anybodys-job",
        "a job is shown, cancelled and tried again for whoever names its id",
        _without(resources.resources_of, 'if tenant in (None, row["tenant"])', "if True"),
        _STRANGER,
    ),
    Mutant(
        "lists-everybodys-jobs",
        "a page of jobs is of all tenants",
        _without(resources.page_of, ".where(owner == tenant)", ""),
        _STRANGER,
    ),
    Mutant(
        "lists-everybodys-webhooks",
        "a page of webhooks is of all tenants",
        _without(delivery_reports.page_of, "(tenant, webhooks.c.tenant)", "(None, webhooks.c.tenant)"),
        _STRANGER,
    ),
    Mutant(
        "replays-anybodys-webhook",
        "a webhook is sent again for whoever names its id",
        _without(deliveries.replay, "sa.true() if tenant is None else webhooks.c.tenant == tenant", "sa.true()"),
        _STRANGER,
    ),
    Mutant(
        "forgives-anybodys-receiver",
        "receivers of webhooks are tried again for whoever names a webhook",
        _without(deliveries.replay, "select(webhooks.c.receiver).where(chosen)", "select(webhooks.c.receiver)"),
        _TENANTS + "TestByTheCommandLine::test_a_verb_for_one_tenant_is_about_no_other[sqlite]",
    ),
    Mutant(
        "sums-everybodys-charges",
        "what was charged to all tenants is summed up for one",
        _without(reports.costs, "if tenant is not None:", "if False:"),
        _STRANGER,
    ),
    Mutant(
        "shows-everybodys-secrets",
        "the secrets of all tenants' webhooks are shown to one",
        _without(webhook_secrets.secrets_of, ".where(table.c.tenant == tenant, living)", ".where(living)"),
        _STRANGER,
    ),
    Mutant(
        "ends-everybodys-secrets",
        "a new secret of one tenant ends the secrets of all",
        _without(webhook_secrets.rotate, ".where(table.c.tenant == tenant, longer)", ".where(longer)"),
        _STRANGER,
    ),
)

BY_NAME: Final = {mutant.name: mutant for mutant in MUTANTS}
