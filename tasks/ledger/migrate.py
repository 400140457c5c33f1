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


class SchemaMismatch(RuntimeError):
    """The database's schema is not this version's: nothing may work on it. The message says which side to bring up."""

    def __init__(self, found: str | None, needed: str, *, newer: bool = False) -> None:
        self.found, self.needed, self.newer = found, needed, newer
        remedy = "deploy the version that made it" if newer else "run `python -m workers migrate`"
        super().__init__(f"the database is at schema {found or 'none'}, this version needs {needed}: {remedy}")


def upgrade(ledger: Ledger) -> str:
    """Apply every migration that is missing, in one transaction; gives the revision that the schema has now.

    Raises `SchemaMismatch` when the schema is newer than this version: it is never taken back.
    """
    config = _config()
    mismatch = _mismatch(ledger)
    if mismatch is not None and mismatch.newer:
        raise mismatch
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
    """Raise `SchemaMismatch` unless the database has exactly this version's schema."""
    mismatch = _mismatch(ledger)
    if mismatch is not None:
        raise mismatch


def _mismatch(ledger: Ledger) -> SchemaMismatch | None:
    with ledger.read() as tx:
        found = MigrationContext.configure(tx.connection).get_current_revision()
    if found == _head():
        return None
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    return SchemaMismatch(found, _head(), newer=found is not None and found not in known)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


def _head() -> str:
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None, "there is always a first migration"  # noqa: S101 (a fact of the tree, not of input)
    return head
