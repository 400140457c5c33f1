"""Exit codes, and the sentence for each error a command can meet. Refuses tracebacks, and texts that may be secret."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final

import click

from schemas.errors import IdempotencyConflict, NotSubmitted, Problem, ReelworksError, RequestInvalid, WaitTimeout
from workers.cli.missing import foreign_package, missing

OK: Final = 0
FAILED: Final = 1
INVALID: Final = 2
UNCONFIGURED: Final = 3
UNREACHABLE: Final = 4
INTERRUPTED: Final = 130

MEANINGS: Final = {
    OK: "all is well",
    FAILED: "what was asked about failed: a job, a check of doctor, the demo, a drain whose time was up",
    INVALID: "wrong usage, or an invalid request",
    UNCONFIGURED: "settings are invalid or missing, or the database's schema is outdated",
    UNREACHABLE: "something that is needed can't be reached: Redis, the database",
    INTERRUPTED: "interrupted",
}

_START_REDIS: Final = "Start the stack with `python -m workers up`, or set REELWORKS_REDIS_URL."
_DOCTOR: Final = "`python -m workers doctor` looks at everything."


class Failure(click.ClickException):
    """Ends a command with a sentence on standard error and one of the exit codes above."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # a default of the class, and read from the instance

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the sentence, on standard error unless `file` is given."""
        click.echo(f"Error: {self.message}", file=file, err=file is None)


def explained(error: Exception) -> Failure:
    """The failure that says what happened and what to do next.

    Texts of errors that are not ours stay out: they can quote addresses with passwords, statements and requests.
    """
    if isinstance(error, ImportError) and (package := foreign_package(error)) is not None:
        return Failure(missing(package), UNCONFIGURED)
    if isinstance(error, ReelworksError):
        return _of_request(error)
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        return Failure(f"{error.strerror}{where}.")
    return _of_dependency(error) or _unexpected(error)


def _of_request(error: ReelworksError) -> Failure:
    if isinstance(error, RequestInvalid):
        return Failure(problem_list(error.problems), INVALID)
    if isinstance(error, IdempotencyConflict):
        return Failure(f"{error}.", INVALID)
    if isinstance(error, NotSubmitted):
        return Failure(f"{error}. {_START_REDIS} {_DOCTOR}", UNREACHABLE)
    if isinstance(error, WaitTimeout):
        return Failure(f"{error}: `python -m workers watch {error.job_id}`.")
    return Failure(f"{error}.")


def problem_list(problems: Sequence[Problem]) -> str:
    """Every problem of a request on a line of its own, by field."""
    count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
    lines = [f"  {each.field}: {each.message} [{each.code}]" for each in problems]
    return "\n".join([f"the request has {count}; nothing was submitted:", *lines])


def _of_dependency(error: Exception) -> Failure | None:
    # Imported when there is an error to explain: whoever asks for --help need not wait for them.
    import redis

    from tasks.ledger import LedgerError, SchemaMismatch
    from tasks.ledger.copies import CopyUnusable, LedgerInUse
    from tasks.operating import NotPossible
    from workers.settings import SettingsInvalid
    from workers.stackchecks import RedisNotReached, StoreNotWritable
    from workers.stackplan import ProviderKeyMissing
    from workers.supervisor import PartFailed, SupervisorError

    kind = type(error).__name__
    match error:
        case NotPossible() | CopyUnusable() | LedgerInUse():
            return Failure(f"{error}.")
        case SettingsInvalid():
            lines = [f"  {name}: {problem}" for name, problem in error.problems.items()]
            return Failure("\n".join(["settings can't be used; mend them in the environment:", *lines]), UNCONFIGURED)
        case SchemaMismatch() | ProviderKeyMissing() | StoreNotWritable():
            return Failure(f"{error}.", UNCONFIGURED)
        case RedisNotReached():
            return Failure(f"{error}.", UNREACHABLE)
        case PartFailed():
            return Failure(str(error))  # ends with the last lines of a log
        case SupervisorError():
            return Failure(f"{error}.")
        case redis.RedisError():
            return Failure(f"Redis does not answer as it should ({kind}). {_START_REDIS} {_DOCTOR}", UNREACHABLE)
        case LedgerError():
            hint = "Look at REELWORKS_DATABASE_URL, and whether the database runs."
            return Failure(f"the database does not answer as it should ({kind}). {hint} {_DOCTOR}", UNREACHABLE)
    return None


def _unexpected(error: Exception) -> Failure:
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return Failure(f"this should not have happened: {type(error).__name__}{where}. {_DOCTOR}")
