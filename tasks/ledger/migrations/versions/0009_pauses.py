"""Pauses: for whom nothing new is created by a person's word, with who said so, why, and until when.

Workers of the version before know of no pause but a closed key, and take it for one without an end: pause once all of
them are replaced. Their `keys close` leaves an end that stands in the row, and one that is past has the key taken for
open; the sweep removes such ends within seconds.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pauses",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("paused_by", sa.String(128), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("tenant", name="pk_pauses"),
    )
    op.add_column("provider_keys", sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("provider_keys", sa.Column("closed_by", sa.String(128), nullable=True))
    op.add_column("provider_keys", sa.Column("closed_reason", sa.Text(), nullable=True))
    op.add_column("provider_keys", sa.Column("closed_until", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    for column in ("closed_until", "closed_reason", "closed_by", "closed_at"):
        op.drop_column("provider_keys", column)
    op.drop_table("pauses")
