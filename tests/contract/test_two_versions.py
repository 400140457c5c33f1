"""Workers of two versions share a database while one replaces the other: the older one loses nothing by it.

What else they share is in `test_own_forms.py`; messages that the version before sent are replayed to real workers in
`tests/integration/test_workers_die.py`.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory

from tasks.ledger.migrate import _config

REVISIONS = [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()][::-1]


def schema(folder: Path, revision: str) -> sa.MetaData:
    """The tables as they are at a revision."""
    engine = sa.create_engine(f"sqlite:///{folder}/{revision}.db")
    found, config = sa.MetaData(), _config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    found.reflect(engine)
    engine.dispose()
    return found


@pytest.mark.parametrize(("before", "after"), list(pairwise(REVISIONS)))
def test_a_migration_leaves_the_statements_of_the_version_before_as_good_as_they_were(
    tmp_path: Path, before: str, after: str
) -> None:
    old, new = schema(tmp_path, before), schema(tmp_path, after)
    assert set(old.tables) <= set(new.tables)
    for name, table in old.tables.items():
        there = new.tables[name]
        for column in table.columns:
            assert str(there.c[column.name].type) == str(column.type)
            assert there.c[column.name].nullable >= column.nullable
        added = [column for column in there.columns if column.name not in table.columns]
        assert all(column.nullable or column.server_default is not None for column in added)
        # A rule that the older version does not know of would refuse what it writes.
        assert rules(there) == rules(table)


@pytest.mark.parametrize(("before", "after"), list(pairwise(REVISIONS))[-3:])
def test_the_latest_migrations_can_be_taken_back(tmp_path: Path, before: str, after: str) -> None:
    old, engine = schema(tmp_path, before), sa.create_engine(f"sqlite:///{tmp_path}/taken_back.db")
    found, config = sa.MetaData(), _config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, after)
        command.downgrade(config, before)
    found.reflect(engine)
    engine.dispose()
    assert {name: set(table.columns.keys()) for name, table in found.tables.items()} == {
        name: set(table.columns.keys()) for name, table in old.tables.items()
    }


def rules(table: sa.Table) -> set[tuple[str, tuple[str, ...]]]:
    kinds = (sa.UniqueConstraint, sa.CheckConstraint, sa.ForeignKeyConstraint, sa.PrimaryKeyConstraint)
    constraints = {
        (type(rule).__name__, tuple(column.name for column in rule.columns))
        for rule in table.constraints
        if isinstance(rule, kinds)
    }
    return constraints | {("index", tuple(c.name for c in index.columns)) for index in table.indexes if index.unique}
