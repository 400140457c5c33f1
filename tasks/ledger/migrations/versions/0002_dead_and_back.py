"""What failed, was cancelled or is in doubt: deaths of workers, wishes to cancel, provider tasks that no job follows.

Only additions: workers of the version before go on with the new schema until they are replaced.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("deaths", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("jobs", sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("attempts", sa.Column("settle_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_attempts_settle_at", "attempts", ["settle_at"])
    op.create_index("ix_attempts_provider_task_id", "attempts", ["provider_task_id"])


def downgrade() -> None:
    op.drop_index("ix_attempts_provider_task_id", "attempts")
    op.drop_index("ix_attempts_settle_at", "attempts")
    op.drop_column("attempts", "settle_at")
    op.drop_column("jobs", "cancel_requested_at")
    op.drop_column("jobs", "deaths")
