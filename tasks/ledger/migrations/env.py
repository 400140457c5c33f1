"""Runs migrations over the connection that `tasks.ledger.migrate` hands in."""

from alembic import context

from tasks.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite can't alter most things in place
    compare_type=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
