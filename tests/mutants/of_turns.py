"""Without one of these more is created than slots, pace, budgets and pauses allow."""

from __future__ import annotations

from typing import Final

import tasks.admitting
import tasks.pausing
from tasks.domain import budgets
from tasks.ledger import admission, database, money, spending
from tests.mutants.mutant import Mutant, without

_ADMISSION: Final = "tests/integration/test_admission.py::"
_STEPS: Final = "tests/integration/test_steps.py::"
_PAUSING: Final = "tests/integration/test_pausing.py::"

TURNS: Final = (
    Mutant(
        "slots-not-counted",
        "the slots of a key are always free",
        without(admission.open_tasks, "row.tasks,", "0,"),
        _STEPS + "TestAdmit::test_no_more_are_admitted_than_a_key_may_have_open[sqlite]",
    ),
    Mutant(
        "holds-not-counted",
        "what is held for jobs under way does not count against a budget",
        without(spending.budgets_now, " + _of(row.tenant, held_usd)", ""),
        _ADMISSION + "TestRacingLanes::test_sixteen_lanes_at_once_overdraw_neither_slots_nor_budgets[sqlite]",
    ),
    Mutant(
        "charges-not-summed",
        "what was charged does not count against a budget",
        without(money.charge, "spending.add(tx, job.tenant, tx.now, price.amount_usd)", "pass"),
        _ADMISSION + "TestRacingLanes::test_lanes_charges_and_new_jobs_at_once_keep_to_the_budget[sqlite]",
    ),
    Mutant(
        "purse-not-emptied",
        "a round of turns spends what it has spent already",
        without(budgets.Purse.hold, "-= cost_usd", "-= 0"),
        _ADMISSION + "TestRacingLanes::test_sixteen_lanes_at_once_overdraw_neither_slots_nor_budgets[sqlite]",
    ),
    Mutant(
        "pace-not-kept",
        "a round of turns leaves no word of when the key's pace allows the next create",
        without(tasks.admitting._write, "if creates else None", "if False else None"),
        _ADMISSION + "TestKeys::test_creates_come_at_the_pace_of_the_key[sqlite]",
    ),
    Mutant(
        "no-turns-in-admission",
        "two lanes count the same free slots at once",
        without(database.Transaction.take_turns, 'if self.dialect == "postgresql":', "if False:"),
        _STEPS + "TestAdmit::test_no_more_are_admitted_than_a_key_may_have_open[postgresql]",
    ),
    Mutant(
        "pause-of-all-not-read",
        "whoever admits does not ask whether all is paused",
        without(tasks.admitting.fill, "if EVERYONE in paused:", "if False:"),
        _PAUSING + "TestWhatStops::test_while_all_is_paused_jobs_are_accepted_and_wait[sqlite]",
    ),
    Mutant(
        "pause-of-tenant-not-read",
        "whoever admits does not ask whose jobs are paused",
        without(tasks.admitting._decide, " if line.tenant not in paused", ""),
        _PAUSING + "TestWhatStops::test_a_tenants_pause_stops_its_jobs_alone[sqlite]",
    ),
    Mutant(
        "pause-out-of-turn",
        "a pause is committed before an admission that has not seen it",
        without(tasks.pausing.pause, 'tx.take_turns("admit")', "pass"),
        _PAUSING + "TestNoCreateFollows::test_a_pause_waits_for_who_is_just_admitting_and_takes_that_back[postgresql]",
    ),
    Mutant(
        "pause-takes-nothing-back",
        "what was admitted before a pause is created after it",
        without(tasks.pausing.pause, "_take_back(tx, scope, name)", "[]"),
        _PAUSING + "TestNoCreateFollows::test_whoever_has_a_slot_and_no_create_waits_again[sqlite]",
    ),
)
