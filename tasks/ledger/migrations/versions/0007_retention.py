"""What is not kept for good: which pictures jobs need, what is to be removed from the store, charges without a job.

Workers of the version before accept jobs without saying which pictures they need, and go on until they are replaced:
such a job's own end gives its pictures up as well, and those of others wait for days in any case.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_OF_KEPT = sa.text(
    "state NOT IN ('queued', 'admitted', 'creating', 'uncertain', 'generating', 'downloading', 'recording')"
    " AND pruned_at IS NULL"
)
_KEPT: Any = {"sqlite_where": _OF_KEPT, "postgresql_where": _OF_KEPT}
_JOBS_AT_ONCE = 1000
_IMAGES = ("first_frame_image", "last_frame_image")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("pruned_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_jobs_kept", "jobs", ["changed_at", "id"], **_KEPT)
    with op.batch_alter_table("charges") as charges:
        charges.add_column(sa.Column("pruned_job_id", sa.String(64), nullable=True))
        charges.alter_column("job_id", existing_type=sa.String(64), nullable=True)
    inputs = op.create_table(
        "inputs",
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("job_id", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_inputs_job_id_jobs"),
        sa.PrimaryKeyConstraint("name", "job_id", name="pk_inputs"),
    )
    op.create_index("ix_inputs_job_id", "inputs", ["job_id"])
    op.create_table(
        "removals",
        sa.Column("name", sa.String(160), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=True),
        sa.Column("job_id", sa.String(64), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_removals"),
    )
    for column in ("job_id", "due_at", "claimed_until"):
        op.create_index(f"ix_removals_{column}", "removals", [column])
    _name_inputs(inputs)


def _name_inputs(inputs: sa.Table) -> None:
    jobs = sa.table("jobs", sa.column("id", sa.String), sa.column("request", sa.JSON))
    connection, after = op.get_bind(), ""
    while True:
        page = sa.select(jobs.c.id, jobs.c.request).where(jobs.c.id > after).order_by(jobs.c.id).limit(_JOBS_AT_ONCE)
        found = connection.execute(page).all()
        rows = {
            (image.split(":")[1], job_id)
            for job_id, request in found
            for image in (request.get(name) or "" for name in _IMAGES)
            if image.startswith("input:")
        }
        if rows:
            connection.execute(sa.insert(inputs), [{"name": name, "job_id": job_id} for name, job_id in sorted(rows)])
        if len(found) < _JOBS_AT_ONCE:
            return
        after = found[-1].id


def downgrade() -> None:
    op.drop_table("removals")
    op.drop_table("inputs")
    with op.batch_alter_table("charges") as charges:
        charges.alter_column("job_id", existing_type=sa.String(64), nullable=False)
        charges.drop_column("pruned_job_id")
    op.drop_index("ix_jobs_kept", "jobs")
    op.drop_column("jobs", "pruned_at")
