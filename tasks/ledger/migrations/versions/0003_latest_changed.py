"""The jobs of a state in the order of their last change, page by page.

Only an index: workers of the version before go on with the new schema until they are replaced.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_jobs_changed_at", "jobs", ["state", "changed_at", "id"])


def downgrade() -> None:
    op.drop_index("ix_jobs_changed_at", "jobs")
