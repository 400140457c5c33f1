"""Webhooks: what is sent to whom, receivers that are away, and what messages are signed with.

No version has written to `deliveries`: it is made anew. What it did not have may be empty for one release, as everywhere.
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
    op.drop_table("deliveries")
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("job_id", sa.String(64), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=True),
        sa.Column("tenant", sa.String(64), nullable=True),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("receiver", sa.Text(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("died_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_deliveries_job_id_jobs"),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.UniqueConstraint("job_id", "seq", name="uq_deliveries_job_id_seq"),
    )
    op.create_index("ix_deliveries_due_at", "deliveries", ["due_at", "receiver"])
    op.create_index("ix_deliveries_tenant", "deliveries", ["tenant", "at", "id"])
    op.create_index("ix_deliveries_died_at", "deliveries", ["died_at", "at", "id"], **_DEAD)
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
