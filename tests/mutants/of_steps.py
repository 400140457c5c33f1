"""Without one of these a job goes a way that there is not, has two at work on it, or is left where somebody died."""

from __future__ import annotations

from functools import partial
from typing import Final

import tasks.accept
import tasks.durably
import tasks.sweep
from tasks import keeping
from tasks.domain import looking
from tasks.lanes import TURNS  # which has those of the lanes imported above
from tasks.ledger import jobs, leases
from tests.mutants.mutant import Mutant, all_of, without
from tests.mutants.rewriting import rewrite, rewrite_script, rewrite_statement
from workers import ledgerwatch

_SWEEP: Final = "tests/integration/test_sweep.py::"
_RESCUE: Final = "tests/integration/test_rescue.py::"
_LEDGER: Final = "tests/integration/test_ledger.py::"
_PULSE: Final = "tests/integration/test_pulse.py::"
_LATE_WORKERS: Final = "tests/integration/test_late_workers.py::"
_TOGETHER: Final = "tests/integration/test_together.py::"
_GUARDS: Final = "tests/integration/test_guards.py::"

STEPS: Final = (
    Mutant(
        "any-event-in-any-state",
        "a change of state does not look at the state",
        without(
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
        "no-sweep",
        "nobody looks for what was left behind",
        without(TURNS["sweep"], "left = lapsed(tx, ctx.policy.sweep_batch)", "left = []"),
        _SWEEP + "test_a_lost_message_is_sent_again[sqlite]",
    ),
    Mutant(
        "no-refill",
        "a wiped Redis stays empty",
        without(TURNS["sweep"], "if not ctx.pulse.timetable.is_whole():", "if False:"),
        _SWEEP + "test_whoever_waits_for_a_job_that_ended_is_told_in_the_end[sqlite-True]",
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
        "doubled-lane-goes-on",
        "a lane that is not the newest renews all the same",
        partial(rewrite_script, "renew_lane", "if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end", ""),
        _PULSE + "TestLanes::test_only_the_newest_epoch_keeps_a_lane_alive",
    ),
    Mutant(
        "request-acked-first",
        "a request leaves the stream before it is committed",
        without(
            TURNS["accept"],
            "    new, refused = _sort(ctx, entries)\n",
            "    ctx.pulse.intake.done([entry.id for entry in entries])\n    new, refused = _sort(ctx, entries)\n",
        ),
        _GUARDS + "test_a_request_stays_in_the_stream_until_it_is_committed[sqlite]",
    ),
    Mutant(
        "no-fsync-before-rename",
        "a file is given its name before its bytes are on disk",
        without(tasks.durably.publish, "    sync(part)\n", ""),
        "tests/unit/media/test_folderstore.py::test_file_is_synced_before_the_rename_and_its_folder_after",
    ),
    Mutant(
        "404-ends-the-job",
        "the first 404 of a poll is believed",
        without(looking.decide, "if missing_s is not None and missing_s >= policy.lost_after_s:", "if True:"),
        _RESCUE + "TestLost::test_a_task_that_is_not_found_for_too_long_parks_the_job_and_keeps_its_id[sqlite]",
    ),
    Mutant(
        "poison-not-counted",
        "workers that die over a job are not counted",
        all_of(
            partial(rewrite_statement, leases, "_CLAIM", "deaths=_DEATHS, ", ""),
            without(leases.renew_lapsed, '"deaths": _DEATHS, ', ""),
        ),
        _RESCUE + "TestPoison::test_a_request_that_kills_three_workers_is_parked_unsent[sqlite]",
    ),
    Mutant(
        "deaths-of-bystanders",
        "what goes wrong with one of the jobs that go together is a death of each",
        without(keeping.given_back, " or len(jobs) > 1", ""),
        _TOGETHER + "TestDownload::test_nothing_is_still_fetched_when_others_may_have_the_jobs[sqlite]",
    ),
    Mutant(
        "forked-in-the-middle",
        "a child is forked while a thread of its parent asks the database",
        partial(rewrite, ledgerwatch.LedgerWatch._watch, "with apart_from_forks(), ", "with "),
        "tests/unit/workers/test_forking.py::test_what_a_worker_does_beside_its_tasks_is_kept_apart[LedgerWatch]",
    ),
)
