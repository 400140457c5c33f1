"""The gateway: keys of its callers, what a tenant may ask of it, batches, and pages of a tenant's jobs.

Workers of the version before write jobs without a batch, and go on until they are replaced.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_OF_BATCH = sa.text("batch_id IS NOT NULL")
_IN_BATCH: Any = {"sqlite_where": _OF_BATCH, "postgresql_where": _OF_BATCH}


def upgrade() -> None:
    op.add_column("jobs", sa.Column("batch_id", sa.String(36), nullable=True))
    op.create_index("ix_jobs_tenant", "jobs", ["tenant", "accepted_at", "id"])
    op.create_index("ix_jobs_batch", "jobs", ["batch_id"], **_IN_BATCH)
    op.add_column("tenants", sa.Column("requests_per_minute", sa.Float(), nullable=True))
    op.add_column("tenants", sa.Column("jobs_limit", sa.Integer(), nullable=True))
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("scopes", sa.String(64), nullable=False),
        sa.Column("secret_hash", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )
