"""The tables. What each row means, and which constraint makes a promise hold, is said beside it."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TextClause,
    UniqueConstraint,
    text,
)

from .types import HighestFirst, Instant, MicroUSD

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# As words of SQL, so that both databases see that a query with the same words may use an index of these rows alone.
IS_QUEUED: Final = text("state = 'queued'")
IS_IN_BATCH: Final = text("batch_id IS NOT NULL")
HAS_DIED: Final = text("died_at IS NOT NULL")
IS_OPEN: Final = text("state IN ('admitted', 'creating', 'uncertain', 'generating', 'downloading', 'recording')")
# Said the other way round: SQLite would look for three states in another index, and sort all jobs that ever ended.
IS_KEPT: Final = text(
    "state NOT IN ('queued', 'admitted', 'creating', 'uncertain', 'generating', 'downloading', 'recording')"
    " AND pruned_at IS NULL"
)


def partial(where: TextClause) -> dict[str, Any]:
    """The arguments of an index of those rows alone."""
    return {"sqlite_where": where, "postgresql_where": where}


jobs = Table(
    "jobs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("idempotency_key", String(255)),
    Column("fingerprint", String(64), nullable=False),
    Column("model", String(64), nullable=False),
    Column("resolution", String(16)),
    Column("duration_s", Integer),
    Column("request", JSON, nullable=False),  # as validated; images as `input:` references or public URLs
    Column("rank", HighestFirst, key="priority", nullable=False),  # the priority, negated: lower goes first
    Column("turn_at", Instant),  # its place in its tenant's line: accepted_at, earlier by its priority's head start
    Column("estimate_usd", MicroUSD, nullable=False),  # by the price list
    Column("max_cost_usd", MicroUSD),  # what its owner is willing to pay at most
    Column("hold_usd", MicroUSD),  # what is held for it in the budgets while it is under way; set when it is admitted
    Column("state", String(16), nullable=False),
    Column("version", Integer, nullable=False),  # number of changes of state; the compare-and-set compares it
    Column("accepted_at", Instant, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("deadline_at", Instant),
    Column("not_before", Instant),  # not to be admitted, or tried, earlier
    Column("lease_until", Instant),  # when it has passed, the sweep makes sure of what had to follow; then NULL
    Column("claimed", Boolean, nullable=False),  # somebody is at work; false: only a message is on its way
    Column("tries", Integer, nullable=False),  # claims in this state, counted before the work
    Column("deaths", Integer, nullable=False, server_default=text("0")),  # of those, how many were never given back
    Column("cancel_requested_at", Instant),  # its owner wants no output any more; what it costs is still recorded
    Column("key_alias", String(64)),
    Column("provider_task_id", String(255)),
    Column("generating_at", Instant),
    Column("answer", JSON(none_as_null=True)),  # the provider's final answer: outputs (signed URLs), usage, metadata
    Column("error_code", String(64)),
    Column("error_message", Text),
    Column("error_stage", String(16)),
    Column("batch_id", String(36)),  # whose jobs were asked for together
    Column("door", String(16)),  # by which it came, where that decides how it is shown
    Column("pruned_at", Instant),  # since when its files are not kept any more
    Column("traceparent", String(55)),  # of the caller's span, whose children its own are
    Column("traced_version", Integer),  # up to which its trace was given out; NULL: nothing of it was
    UniqueConstraint("tenant", "idempotency_key"),  # the same key is the same job, for as long as that is kept
    UniqueConstraint("provider_task_id"),
    # The lines of those that wait, and what is under way: as long as these are, however many jobs have ended.
    Index("ix_jobs_waiting", "tenant", "turn_at", "priority", "accepted_at", "id", **partial(IS_QUEUED)),
    Index("ix_jobs_deadline", "deadline_at", **partial(IS_QUEUED)),
    Index("ix_jobs_open", "key_alias", "tenant", "state", "changed_at", "hold_usd", **partial(IS_OPEN)),
    Index("ix_jobs_lease", "lease_until"),
    Index("ix_jobs_accepted_at", "accepted_at"),
    Index("ix_jobs_tenant", "tenant", "accepted_at", "id"),
    Index("ix_jobs_batch", "batch_id", **partial(IS_IN_BATCH)),
    Index("ix_jobs_changed_at", "state", "changed_at", "id"),
    Index("ix_jobs_kept", "changed_at", "id", **partial(IS_KEPT)),
)

# Write-ahead of every POST: a row here before the request leaves, its outcome afterwards.
attempts = Table(
    "attempts",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("job_id", ForeignKey("jobs.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("key_alias", String(64), nullable=False),
    Column("begun_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("outcome", String(16)),  # NULL: never heard of again
    Column("http_status", Integer),
    Column("reason", Text),  # evidence: class of error, provider's sentence; never a body
    Column("provider_task_id", String(255)),
    # When to ask what its provider task cost, which no job follows (any more). NULL: its job sees to it, or it is done.
    Column("settle_at", Instant),
    UniqueConstraint("job_id", "number"),  # two workers can't begin the same attempt
    Index("ix_attempts_settle_at", "settle_at"),
    Index("ix_attempts_provider_task_id", "provider_task_id"),
    Index("ix_attempts_key_alias", "key_alias", "begun_at"),
)

# One charge a provider task, whatever is repeated. It outlives its job.
charges = Table(
    "charges",
    metadata,
    Column("provider_task_id", String(255), primary_key=True),
    Column("job_id", ForeignKey("jobs.id"), index=True),  # NULL: its job is not kept any more
    Column("pruned_job_id", String(64)),  # the id of that job, which may be another one's by now
    Column("tenant", String(64), nullable=False),
    Column("model", String(64), nullable=False),
    Column("resolution", String(16)),
    Column("duration_s", Integer),
    Column("key_alias", String(64), nullable=False),
    Column("amount_usd", MicroUSD, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("discount", Text),
    Column("usage", JSON, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("charged_at", Instant, nullable=False, index=True),
    Index("ix_charges_shape", "model", "resolution", "duration_s", "charged_at"),
)

# What was charged, summed up a tenant and a day (UTC), in the transaction that charges: what budgets are compared with.
spending = Table(
    "spending",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("amount_usd", MicroUSD, nullable=False),
)

# What a person allows to be spent. No row: no limit.
budgets = Table(
    "budgets",
    metadata,
    Column("tenant", String(64), primary_key=True),  # "": all tenants together
    Column("period", String(8), primary_key=True),
    Column("limit_usd", MicroUSD, nullable=False),
    Column("when_used_up", String(8), nullable=False),
)

# A tenant's share of the turns. No row: the defaults, and no turn yet.
tenants = Table(
    "tenants",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("weight", Float, nullable=False, server_default=text("1")),
    Column("open_limit", Integer),  # provider tasks open at once; NULL: as many as there are slots
    Column("tag", Float, index=True),  # of its last turn (`tasks.domain.admission`)
    Column("last_turn_at", Instant),
    Column("turn_gap_s", Float),  # seconds from turn to turn while jobs wait, smoothed
    Column("requests_per_minute", Float),  # at the gateway; NULL: as many as its settings say
    Column("jobs_limit", Integer),  # jobs that have not ended, before the gateway takes no more; NULL: any number
)

# A provider key's limits as a person has set them, and what the provider's answers have made of it.
provider_keys = Table(
    "provider_keys",
    metadata,
    Column("alias", String(64), primary_key=True),
    Column("open_limit", Integer),
    Column("creates_per_minute", Float),
    Column("closed", Boolean, nullable=False, server_default=text("false")),
    Column("paused_until", Instant),
    Column("pause_reason", Text),
    Column("refusals", Integer, nullable=False, server_default=text("0")),
    Column("refused_at", Instant),
    Column("slowed_at", Instant),
    Column("slowed_to", Float),
    Column("next_create_at", Instant),
    # Who closed it, since when and why; from `closed_until` on it is open again by itself.
    Column("closed_at", Instant),
    Column("closed_by", String(128)),
    Column("closed_reason", Text),
    Column("closed_until", Instant),
)

# For whom a person wants nothing new created. A key that is paused is closed, in its own row.
pauses = Table(
    "pauses",
    metadata,
    Column("tenant", String(64), primary_key=True),  # "": all tenants together
    Column("paused_at", Instant, nullable=False),
    Column("paused_by", String(128), nullable=False),
    Column("reason", Text),
    Column("ends_at", Instant),  # NULL: when somebody says so
)

# Who may call the gateway, and as which tenant.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(16), primary_key=True),  # the part of a key that may be shown
    Column("tenant", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("scopes", String(64), nullable=False),  # words, with spaces between them
    Column("secret_hash", String(64), nullable=False),  # SHA-256 (hex): enough for a secret of 256 random bits
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("revoked_at", Instant),
)

outputs = Table(
    "outputs",
    metadata,
    Column("job_id", ForeignKey("jobs.id"), primary_key=True),
    Column("index", Integer, primary_key=True),
    Column("type", String(64), nullable=False),
    Column("path", String(255), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("width", Integer),
    Column("height", Integer),
    Column("duration_s", Float),
    Column("mismatch", Text),
    Column("stored_at", Instant, nullable=False),
)

# One row a change of state, written in the same transaction as the change.
timeline = Table(
    "timeline",
    metadata,
    Column("job_id", ForeignKey("jobs.id"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("event", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("at", Instant, nullable=False),
    Column("detail", JSON, nullable=False),
)

# Webhooks to send to callers: written with the change of state that they tell. Due, or arrived, or dead.
webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String(36), primary_key=True),  # the same for every try: by it receivers know a repetition
    Column("job_id", ForeignKey("jobs.id"), nullable=False),
    Column("seq", Integer, nullable=False),  # of the change, in the job's timeline
    Column("tenant", String(64), nullable=False),
    Column("event", String(16), nullable=False),  # the state that began
    Column("at", Instant, nullable=False),
    Column("url", Text, nullable=False),
    Column("receiver", Text, nullable=False),  # whose messages fail as one
    Column("tries", Integer, nullable=False),
    Column("since", Instant, nullable=False),  # from when on it is tried, before it is given up
    Column("due_at", Instant),  # when it is tried next, or taken for lost with whoever sends it; NULL: it is not
    Column("delivered_at", Instant),
    Column("died_at", Instant),
    Column("last_error", Text),
    UniqueConstraint("job_id", "seq"),
    Index("ix_webhooks_due_at", "due_at", "receiver"),
    Index("ix_webhooks_tenant", "tenant", "at", "id"),
    Index("ix_webhooks_died_at", "died_at", "at", "id", **partial(HAS_DIED)),
)

# Receivers that have failed, and are not heard of since.
receivers = Table(
    "receivers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("failures", Integer, nullable=False),  # in a row
    Column("failed_at", Instant),
    Column("paused_until", Instant),
)

# What webhooks are signed with: known to their receivers, so they can't be hashed.
webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("secret", String(64), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("ends_at", Instant),
)

# Which input images a job may still need. An image that no row names is removed from the store in the end.
inputs = Table(
    "inputs",
    metadata,
    Column("name", String(80), primary_key=True),  # sha256.ext
    Column("job_id", ForeignKey("jobs.id"), primary_key=True, index=True),
)

# What is to be removed from the store. A row goes when the files are gone, so none is forgotten.
removals = Table(
    "removals",
    metadata,
    Column("name", String(160), primary_key=True),  # tenant/job: all its outputs; sha256.ext: an input image
    Column("tenant", String(64)),
    Column("job_id", String(64), index=True),  # not a key of jobs: it may outlive its job
    Column("due_at", Instant, nullable=False, index=True),
    Column("claimed_until", Instant, index=True),  # somebody is at it, or died of it: what is left is not known
    Column("failed", Boolean, nullable=False, server_default=text("false")),  # nobody is at it: it is tried again then
)

# Of the first schema, and never written to: it stays for one release.
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("job_id", ForeignKey("jobs.id"), nullable=False, index=True),
    Column("event", String(16), nullable=False),
    Column("url", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("due_at", Instant),
    Column("delivered_at", Instant),
    Column("last_error", Text),
    UniqueConstraint("job_id", "event"),
    Index("ix_deliveries_due_at", "due_at"),
)

# What came through a door and could not be accepted: put aside with its reason, never lost.
rejected = Table(
    "rejected",
    metadata,
    Column("id", String(64), primary_key=True),  # id of the stream entry
    Column("job_id", String(64)),
    Column("reason", Text, nullable=False),
    Column("entry", JSON, nullable=False),
    Column("at", Instant, nullable=False),
)
