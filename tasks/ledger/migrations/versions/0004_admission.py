"""Turns, budgets and the pace of keys: who may spend the next slot and the next dollar.

Workers of the version before go on with the new schema until they are replaced: jobs that they accept have no place in
their tenant's line, and go first; what they charge is not in the sums until `python -m workers budgets recount`.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_QUEUED = sa.text("state = 'queued'")
_OPEN = sa.text("state IN ('admitted', 'creating', 'uncertain', 'generating', 'downloading', 'recording')")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("turn_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("jobs", sa.Column("max_cost_usd", sa.BigInteger(), nullable=True))
    op.add_column("jobs", sa.Column("hold_usd", sa.BigInteger(), nullable=True))
    jobs = sa.table("jobs", sa.column("hold_usd"), sa.column("estimate_usd"))
    op.execute(sa.update(jobs).where(_OPEN).values(hold_usd=jobs.c.estimate_usd))
    for old in ("ix_jobs_turn", "ix_jobs_deadline", "ix_jobs_slots"):
        op.drop_index(old, "jobs")
    _index("ix_jobs_waiting", ["tenant", "turn_at", "rank", "accepted_at", "id"], _QUEUED)
    _index("ix_jobs_deadline", ["deadline_at"], _QUEUED)
    _index("ix_jobs_open", ["key_alias", "tenant", "state", "changed_at", "hold_usd"], _OPEN)
    op.create_index("ix_attempts_key_alias", "attempts", ["key_alias", "begun_at"])
    op.create_index("ix_charges_shape", "charges", ["model", "resolution", "duration_s", "charged_at"])
    _new_tables()
    _sum_up_charges()


def _sum_up_charges() -> None:
    charges = sa.table("charges", *map(sa.column, ("tenant", "charged_at", "amount_usd")))
    at = charges.c.charged_at
    day = sa.func.date(sa.func.timezone("UTC", at) if op.get_bind().dialect.name == "postgresql" else at)
    sums = sa.select(charges.c.tenant, day, sa.func.sum(charges.c.amount_usd)).group_by(sa.text("1, 2"))
    spending = sa.table("spending", *map(sa.column, ("tenant", "day", "amount_usd")))
    op.execute(sa.insert(spending).from_select(["tenant", "day", "amount_usd"], sums))


def _new_tables() -> None:
    op.create_table(
        "spending",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("amount_usd", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "day", name="pk_spending"),
    )
    op.create_table(
        "budgets",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("period", sa.String(8), nullable=False),
        sa.Column("limit_usd", sa.BigInteger(), nullable=False),
        sa.Column("when_used_up", sa.String(8), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "period", name="pk_budgets"),
    )
    op.create_table(
        "tenants",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("weight", sa.Float(), server_default=sa.text("1"), nullable=False),
        sa.Column("open_limit", sa.Integer(), nullable=True),
        sa.Column("tag", sa.Float(), nullable=True),
        sa.Column("last_turn_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("turn_gap_s", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_tenants"),
    )
    op.create_index("ix_tenants_tag", "tenants", ["tag"])
    op.create_table(
        "provider_keys",
        sa.Column("alias", sa.String(64), nullable=False),
        sa.Column("open_limit", sa.Integer(), nullable=True),
        sa.Column("creates_per_minute", sa.Float(), nullable=True),
        sa.Column("closed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pause_reason", sa.Text(), nullable=True),
        sa.Column("refusals", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("refused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("slowed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("slowed_to", sa.Float(), nullable=True),
        sa.Column("next_create_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("alias", name="pk_provider_keys"),
    )


def _index(name: str, columns: list[str], where: sa.TextClause) -> None:
    op.create_index(name, "jobs", columns, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    for table in ("provider_keys", "tenants", "budgets", "spending"):
        op.drop_table(table)
    op.drop_index("ix_charges_shape", "charges")
    op.drop_index("ix_attempts_key_alias", "attempts")
    for new in ("ix_jobs_open", "ix_jobs_deadline", "ix_jobs_waiting"):
        op.drop_index(new, "jobs")
    op.create_index("ix_jobs_turn", "jobs", ["state", "rank", "accepted_at", "id"])
    op.create_index("ix_jobs_deadline", "jobs", ["state", "deadline_at"])
    op.create_index("ix_jobs_slots", "jobs", ["state", "key_alias"])
    for column in ("hold_usd", "max_cost_usd", "turn_at"):
        op.drop_column("jobs", column)
