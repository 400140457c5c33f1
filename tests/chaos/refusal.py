"""A database that takes no outcome of a create: begun and ended by a trigger, one time after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

_OBEYED_WITHIN_S: Final = 60.0
_AGAIN_S: Final = 0.05

# The trigger asks for a table that is not there: to the workers that is an operational error, as a full disk would be.
_REFUSAL: Final = {
    "sqlite": (
        ["CREATE TRIGGER chaos BEFORE UPDATE OF outcome ON attempts BEGIN INSERT INTO chaos_gone VALUES (1); END"],
        "DROP TRIGGER chaos",
    ),
    "postgresql": (
        [
            """CREATE OR REPLACE FUNCTION chaos() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN RAISE EXCEPTION 'chaos' USING ERRCODE = '57P03'; END $$""",
            "CREATE TRIGGER chaos BEFORE UPDATE OF outcome ON attempts FOR EACH ROW EXECUTE FUNCTION chaos()",
        ],
        "DROP TRIGGER chaos ON attempts",
    ),
}


class Refusal:
    """Whoever has it go on waits for those before, which can last longer than was meant."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._turn = threading.Lock()

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Within it the database refuses."""
        make, drop = _REFUSAL[self._engine.dialect.name]
        with self._turn:
            self._obeyed(make)
            try:
                yield
            finally:
                self._obeyed([drop])

    def _obeyed(self, statements: Sequence[str]) -> None:
        """Have the database take these, however long others hold its lock: a trigger that stays would end the run."""
        ends_at = time.monotonic() + _OBEYED_WITHIN_S
        while not self._taken(statements, last=time.monotonic() > ends_at):
            time.sleep(_AGAIN_S)

    def _taken(self, statements: Sequence[str], *, last: bool) -> bool:
        try:
            with self._engine.begin() as connection:
                for statement in statements:
                    connection.execute(sa.text(statement))
        except OperationalError:
            if last:
                raise
            return False
        return True
