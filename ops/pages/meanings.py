"""What each event of the logs means, and what whoever meets it does: the one place where that is said.

`ops/events.md` shows it beside what the code says of level, fields and place. A test holds that every event of the code
stands here and that none stands here alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Meaning:
    """`says`: what has happened, and what follows by itself. `do`: what a person does. `page`: the runbook's name."""

    says: str
    do: str = ""
    page: str | None = None


_OUR_ERROR: Final = "Report it with the traceback; after a new version:"

MEANINGS: Final[dict[str, Meaning]] = {
    # Requests and commands on their way in
    "requests_accepted": Meaning(
        "A batch of the request stream was committed: new jobs, requests that were known already, ones put aside."
    ),
    "request_put_aside": Meaning(
        "A request of the stream can't be a job, for `reason`; it is kept, and its producer is told.",
        "Tell its sender; when the reason is gone, `rejected retry`:",
        "jobs-failed",
    ),
    "request_unreadable": Meaning(
        "A request of the stream met an error of our own; it is put aside like one that is wrong.",
        _OUR_ERROR,
        "bad-deploy",
    ),
    "request_put_back": Meaning("A person has a request that was put aside read again, as it came."),
    "command_put_aside": Meaning(
        "A producer's cancel or retry can't be carried out, for `reason`; nothing was changed.",
        "Do what was asked for with `cancel` or `retry`, if it is still wanted:",
        "jobs-failed",
    ),
    "command_failed": Meaning(
        "A producer's command met an error of our own; it is put aside.", _OUR_ERROR, "bad-deploy"
    ),
    "call_of_a_stranger": Meaning(
        "A call in the provider's name bears a token that was not made here; it is dropped.",
        "Nothing, unless there are many: then somebody tries the address, or `REELWORKS_GATEWAY_SECRET` was changed "
        "while creates were under way.",
    ),
    "call_not_believed": Meaning(
        "The provider named a task for a create in doubt, but could not be brought to confirm it; nothing was bound.",
        page="jobs-uncertain",
    ),
    "call_lost": Meaning(
        "A call of the provider came while Redis was away; regular looks find out the same later.", page="redis-lost"
    ),
    "provider_called": Meaning("The provider called about a job's create; what it says is looked into, not believed."),
    # Turns, slots and keys
    "job_admitted": Meaning("A job has its turn, a slot of `key` and its hold; its create comes next."),
    "job_refused": Meaning(
        "A job failed at its turn, unsent and unpaid: a budget is used up, or it may cost more than its owner allows."
    ),
    "key_refused": Meaning(
        "The provider refuses a key (401, 402, 403, or the code for no balance).",
        "All keys of an account at once: [balance-gone](runbooks/balance-gone.md). One alone:",
        "key-refused",
    ),
    "key_paused": Meaning(
        "A key takes nothing new for `for_s` seconds, for `outcome`; what it has open goes on.",
        "With `outcome` throttled, [throttled](runbooks/throttled.md); with unsent, "
        "[provider-down](runbooks/provider-down.md); else:",
        "key-refused",
    ),
    "key_not_configured": Meaning(
        "A job was admitted on a key that this worker's settings do not have; it is back in the queue.",
        "Give all pools the same `REELWORKS_PROVIDER_KEYS`, or close the key:",
        "key-refused",
    ),
    "polls_slowed": Meaning(
        "All looks of a key are slowed down after a 429, and none is made for `rest_s` seconds.", page="throttled"
    ),
    # Creates
    "create_ended": Meaning("The provider, or the lack of its answer, has ended a create with `outcome`."),
    "job_not_created": Meaning(
        "A job failed before anything was sent, for `code`: its picture or request is of no use, or it killed workers.",
        page="jobs-failed",
    ),
    "job_uncertain": Meaning(
        "A worker was lost during a create: whether there is a provider task is not known, and the job is held.",
        page="jobs-uncertain",
    ),
    "follow_up_not_sent": Meaning(
        "A create has ended and Redis did not take what follows; the sweep sees to it.", page="redis-lost"
    ),
    "provider_task_id_twice": Meaning(
        "The provider gave a create the id of another job's task; whose it is can't be known, and the job is held.",
        page="jobs-uncertain",
    ),
    "provider_task_without_job": Meaning(
        "An answer brought a task that its job does not ask for any more: it is followed as a stray, and charged.",
        "Nothing: `stray_settled` follows. If `stray_not_settled` does:",
        "jobs-uncertain",
    ),
    "provider_task_without_attempt": Meaning(
        "The database has lost the create that this task came from, of which the spool tells (`job_id`, `key`; its "
        "`.refused` file stays) or a call of the provider (`attempt`); the provider bills it. A call about a job that "
        "was pruned long ago reads the same if its task was free, or is named by its maker's id.",
        "Bind it to its job, or book its cost by hand; after a restore [so](runbooks/ledger-restored.md), else:",
        "database-away",
    ),
    # Answers that the database could not take
    "answer_spooled": Meaning(
        "The database did not take a create's answer; it is safe on this machine's disk.",
        "Keep `REELWORKS_VAR/spool`; bring the database back:",
        "database-away",
    ),
    "answer_not_spooled": Meaning(
        "Neither the database nor the disk took a create's answer; it is tried until the lease is over, and this line "
        "may be all that is left of it.",
        "Make room on the disk; bind `provider_task_id` to the job if it becomes uncertain:",
        "database-away",
    ),
    "answer_replayed": Meaning("An answer from the spool is in the database now."),
    "answer_not_needed": Meaning("The spool held the word that nothing was sent, for a create that was never begun."),
    "spool_waits": Meaning(
        "The database does not take what is in the spool yet; it is tried again every few seconds.",
        page="database-away",
    ),
    "spool_entry_set_aside": Meaning(
        "An answer in the spool can't be used; its file stays as `.refused`.",
        "Read the file: if it names a provider task, it costs money:",
        "database-away",
    ),
    "spool_not_replayed": Meaning(
        "An error of our own kept the spool from being replayed; its files stay, and it is tried again.",
        _OUR_ERROR,
        "bad-deploy",
    ),
    # Looks
    "poll_said_nothing": Meaning(
        "A look brought no answer that can be used, or a status that is not known: `reason`. The task is looked "
        "at again, later.",
        "A key refused: [key-refused](runbooks/key-refused.md). Else:",
        "provider-down",
    ),
    "poll_failed": Meaning(
        "An answer to a look met an error of our own; the task is looked at again, later.", _OUR_ERROR, "bad-deploy"
    ),
    "late_answers_lost": Meaning(
        "Answers that came after their turn's end could not be worked; these tasks fall due again.",
        "With a traceback, report it; without, look at what `error` names:",
        "stuck-lane",
    ),
    "provider_task_lost": Meaning(
        "The provider has said for `REELWORKS_POLL_LOST_AFTER_S` that it has no such task; the job is held.",
        page="jobs-uncertain",
    ),
    "timings_not_learned": Meaning(
        "How long tasks took could not be noted while Redis was away; looks go by what is known.", page="redis-lost"
    ),
    "timings_seeded": Meaning("How long tasks take was learned anew, from the jobs that ended last."),
    # Films
    "outputs_stored": Meaning("All files of a job are in the store."),
    "outputs_not_stored": Meaning(
        "A job's files could not be fetched, checked or kept, for `reason`; it is tried again unless `final`.",
        "When `final`, `retry` once the reason is gone:",
        "jobs-failed",
    ),
    "output_urls_refreshed": Meaning("The addresses of a job's files had expired, and the provider gave new ones."),
    "download_failed": Meaning(
        "A download met an error of our own; three of these park the job as `worker_killed`.", _OUR_ERROR, "jobs-failed"
    ),
    "disk_low": Meaning(
        "Less than `REELWORKS_DISK_LOW_BYTES` is free: what needs the disk waits, and no try is counted.",
        page="disk-full",
    ),
    "store_away": Meaning(
        "The store is away, or refuses, for `reason`: what needs it waits, and no try is counted.", page="store-away"
    ),
    # Money
    "job_charged": Meaning("A provider task has its charge; `estimated` when the provider's own word can't be read."),
    "job_completed": Meaning("A job is at its end: files stored, charge committed."),
    "stray_settled": Meaning(
        "A task that no job asks for any more has ended, and its cost is in the books.",
        "Nothing; many of them cost money:",
        "cost-mismatch",
    ),
    "stray_not_settled": Meaning(
        "The provider has not said for a day or longer how a stray ended: its cost is not in the books.",
        "Ask the provider about the task:",
        "cost-mismatch",
    ),
    "stray_poll_failed": Meaning(
        "The answer about a stray met an error of our own; it is asked about again.", _OUR_ERROR, "bad-deploy"
    ),
    "charge_mended": Meaning(
        "`reconcile --mend` charged what was missing, or corrected an estimate.",
        "Nothing: somebody asked for it. What it was about:",
        "cost-mismatch",
    ),
    # What people ask for
    "job_cancelled": Meaning("Somebody wants a job no more; one that the provider works on is followed to its end."),
    "job_retried": Meaning("Somebody has a failed job tried again; `anew` is another create, which costs again."),
    "job_bound": Meaning("A job in doubt has its provider task: the provider confirmed it."),
    "job_written_off": Meaning(
        "A person gave up a job in doubt; with `paid` what it cost is charged as an estimate.",
        "Nothing: somebody asked for it. What it was about:",
        "jobs-uncertain",
    ),
    "job_created_anew": Meaning(
        "A job in doubt is created once more: if the first create was accepted, both are paid for.",
        "Nothing: `by` says who chose it, a person or `REELWORKS_UNCERTAIN_POLICY`. What it is about:",
        "jobs-uncertain",
    ),
    # Webhooks
    "delivery_arrived": Meaning("A receiver took a webhook."),
    "delivery_put_off": Meaning(
        "A receiver did not take a webhook, for `reason`; it is tried again in `for_s` seconds.", page="webhooks"
    ),
    "delivery_dead": Meaning(
        "A webhook is given up: its receiver was away for too long, or wants none.",
        "Tell the receiver's owner, then `webhooks replay`:",
        "webhooks",
    ),
    "deliveries_dead": Meaning(
        "Messages were given up, for nobody had taken them by the end of their time; their jobs are what they were.",
        "See which, and send them again when their receivers answer:",
        "webhooks",
    ),
    "delivery_failed": Meaning("A webhook met an error of our own; it is given up.", _OUR_ERROR, "webhooks"),
    "delivery_not_settled": Meaning(
        "What became of a webhook could not be written; it is sent again, with the same id.", page="database-away"
    ),
    "receiver_left_alone": Meaning(
        "A receiver failed five times in a row; it gets nothing for `for_s` seconds.", page="webhooks"
    ),
    # Lanes, leases and messages
    "lane_seeded": Meaning("A lane had fallen silent, and a worker has begun it anew."),
    "lane_fell_silent": Meaning(
        "A lane could not send its next message; a worker begins it anew within seconds.", page="redis-lost"
    ),
    "lane_turn_failed": Meaning(
        "A lane's turn has ended early; the next one looks at the same rows.",
        "Without a traceback, database or Redis is away: [database-away](runbooks/database-away.md). With one:",
        "bad-deploy",
    ),
    "lane_turn_hangs": Meaning(
        "A turn has taken far longer than any should; another host takes the lane over.",
        "Restart this worker; look at its disks:",
        "stuck-lane",
    ),
    "lane_not_checked": Meaning(
        "A worker could not look whether a lane is alive; it looks again in a few seconds.", page="redis-lost"
    ),
    "lease_not_renewed": Meaning(
        "Work goes on whose lease could not be renewed; if that lasts, another worker begins it too, without harm.",
        page="database-away",
    ),
    "job_rescued": Meaning(
        "Nobody had come to work on a job in time; its message was sent again.",
        "Nothing, if there are few: workers were restarted, or messages lost. Many:",
        "stuck-lane",
    ),
    "hints_not_sent": Meaning(
        "Messages to the next step could not be sent; the sweep sends them when their leases are over.",
        page="redis-lost",
    ),
    "jobs_put_on_timetable": Meaning(
        "Generating jobs were missing on the timetable, and are back on it.",
        "Nothing, if Redis was restarted just now. Else:",
        "redis-lost",
    ),
    "timetable_refilled": Meaning(
        "The timetable was filled from the ledger after a loss; `whole` when nothing is missing."
    ),
    "view_not_published": Meaning(
        "Who waits does not see a change yet: Redis did not take it; the sweep publishes it.", page="redis-lost"
    ),
    "views_refilled": Meaning("All views that somebody may wait for were published again after a loss."),
    "message_dropped": Meaning(
        "A message on a queue was no message of ours, or not readable; it is dropped, and the sweep sends another.",
        "Nothing, if it is one. Many: somebody else writes to this Redis, or senders were upgraded before receivers:",
        "bad-deploy",
    ),
    "messages_not_put_back": Meaning(
        "A worker has ended with messages that the broker did not take back; the sweep sends them again.",
        page="redis-lost",
    ),
    "brpop_not_read": Meaning("A channel was closed while its broker was away: kombu would have ended the worker."),
    "kombu_not_repaired": Meaning(
        "The installed kombu is not the one that our repair was written for; it is left alone.",
        "Install what the lock names, or renew `workers/kombufix.py`: till then workers may end when Redis goes away:",
        "bad-deploy",
    ),
    # What stays and what goes
    "pruned": Meaning("Files or jobs that are not to be kept any longer were removed."),
    "files_not_removed": Meaning("The store did not remove files, for `reason`; it is tried again.", page="disk-full"),
    # What surrounds the work
    "database_not_reached": Meaning(
        "This worker does not reach the database, and takes no messages until it does.", page="database-away"
    ),
    "messages_taken_again": Meaning("This worker reaches the database again, and takes messages."),
    "request_answered": Meaning(
        "The gateway has answered a request; `request_id` stands in the answer's `Request-Id`."
    ),
    "gateway_unavailable": Meaning(
        "The gateway answered 503: database or store did not do what was asked; `error` names the kind.",
        "`StoreAway`: [store-away](runbooks/store-away.md). Else:",
        "database-away",
    ),
    "gateway_failed": Meaning("The gateway answered 500: an error of our own.", _OUR_ERROR, "bad-deploy"),
    "ledger_not_read": Meaning("A scrape found the database away; `reelworks_database_up` is 0.", page="database-away"),
    "redis_not_read": Meaning("A scrape found Redis away; `reelworks_redis_up` is 0.", page="redis-lost"),
    "store_not_read": Meaning("A scrape could not tell how much room the store has.", page="store-away"),
    "job_events_not_sent": Meaning(
        "Flower was not told that these jobs failed, because Redis was away; the ledger and their callers know.",
        page="redis-lost",
    ),
    # Traces
    "jobs_not_traced": Meaning(
        "What some ended jobs were doing could not be read, or not be made a trace of; these have none.",
        "The ledger was away: nothing. With a traceback, an error of our own: report it.",
    ),
    "trace_not_written": Meaning(
        "OpenTelemetry met an error with the traces of these jobs; they have none.", "Report it."
    ),
    "traces_not_sent": Meaning(
        "The collector does not take traces, for `reason`; what its queue has no room for is dropped.",
        "Look at the collector and at `OTEL_EXPORTER_OTLP_ENDPOINT`; no job waits for it ([traces](traces.md)).",
    ),
    "traces_sent_again": Meaning("The collector takes traces again."),
    "traces_off": Meaning(
        "Traces are asked for by `OTEL_...`, and this worker sends none, for `reason`.",
        "Mend what `doctor` names ([traces](traces.md)).",
    ),
    # Pauses
    "creates_paused": Meaning(
        "A person has stopped new creates `of` all, of a tenant or a key; jobs about to be created wait again.",
        "Nothing; [who said so and why](operating.md): `queues`.",
    ),
    "creates_resumed": Meaning("A person has let creates go on."),
    # A ledger that was restored
    "jobs_held": Meaning(
        "A copy of the ledger was put back; what may have been created since is held, and created by no policy.",
        "Tell what became of each:",
        "ledger-restored",
    ),
    "job_taken_up": Meaning(
        "The timetable knew the provider's task of a held job, and the provider confirmed it: the job goes on.",
        page="ledger-restored",
    ),
    "task_of_no_job": Meaning(
        "The provider has ended, or lost, a task that no job has in the restored ledger: `job_id` is not there, or has "
        "gone on without it. It was paid for all the same.",
        "Book its cost by hand:",
        "ledger-restored",
    ),
}
