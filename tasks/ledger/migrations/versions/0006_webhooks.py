"""Webhooks: what is sent to whom, receivers that are away, and what messages are signed with.

In a table of their own: the first schema's `deliveries`, which no version has written to, allows a job one message of a
kind, and keeps its rules for as long as the version before may run.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_HAS_DIED = sa.text("died_at IS NOT NULL")
_DEAD: Any = {"sqlite_where": _HAS_DIED, "postgresql_where": _HAS_DIED}


def upgrade() -> None:
    op.add_column("jobs", sa.Column("door", sa.String(16), nullable=True))
    op.create_table(
        "webhooks",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("job_id", sa.String(64), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("receiver", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("died_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_webhooks_job_id_jobs"),
        sa.PrimaryKeyConstraint("id", name="pk_webhooks"),
        sa.UniqueConstraint("job_id", "seq", name="uq_webhooks_job_id_seq"),
    )
    op.create_index("ix_webhooks_due_at", "webhooks", ["due_at", "receiver"])
    op.create_index("ix_webhooks_tenant", "webhooks", ["tenant", "at", "id"])
    op.create_index("ix_webhooks_died_at", "webhooks", ["died_at", "at", "id"], **_DEAD)
    op.create_table(
        "receivers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_receivers"),
    )
    op.create_table(
        "webhook_secrets",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("secret", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "number", name="pk_webhook_secrets"),
    )
