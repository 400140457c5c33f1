"""Traces: which trace a job is part of, and what of its own was given out."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("traceparent", sa.String(55), nullable=True))
    op.add_column("jobs", sa.Column("traced_version", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "traced_version")
    op.drop_column("jobs", "traceparent")
