"""Brings a database to the schema this version needs, and refuses to work on any other."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from .database import Ledger

_MIGRATIONS = Path(__file__).parent / "migrations"
# Any number that nothing else in the database uses: two processes that migrate at once take turns.
_ADVISORY_LOCK = 7_284_411


class SchemaOutdated(RuntimeError):
    """The database's schema is not this version's. Run `python -m workers migrate`, then start again."""

    def __init__(self, found: str | None, needed: str) -> None:
        self.found, self.needed = found, needed
        super().__init__(
            f"the database is at schema {found or 'none'}, this version needs {needed}: run `python -m workers migrate`"
        )


def upgrade(ledger: Ledger) -> str:
    """Apply every migration that is missing, in one transaction; gives the revision that the schema has now."""
    config = _config()
    with ledger.engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            # A migration may take as long as it takes.
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            connection.execute(sa.text("SET LOCAL lock_timeout = 0"))
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return _head()


def check(ledger: Ledger) -> None:
    """Raise `SchemaOutdated` unless the database has exactly this version's schema."""
    with ledger.engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    if found != _head():
        raise SchemaOutdated(found, _head())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


def _head() -> str:
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None, "there is always a first migration"  # noqa: S101 (a fact of the tree, not of input)
    return head
