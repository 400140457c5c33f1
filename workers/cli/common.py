"""What several verbs share: common options, settings that find a running stack, the way that answers are printed."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, is_dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource
from rich.console import Console
from rich.table import Table

from tasks.context import Context
from tasks.ledger import Ledger, Transaction, reports
from tasks.ledger.migrate import check
from workers.cli.exits import FAILED, UNCONFIGURED, Failure
from workers.folderlock import LOCK_NAME, FolderLock
from workers.logs import configure_logs
from workers.runtime import build, open_ledger
from workers.settings import Settings, read_settings
from workers.stackplan import KEY_VARIABLES

Command = TypeVar("Command", bound=Callable[..., Any])

# Lines that go into a file or a pipe are not broken at the width of a terminal that is not there.
_WIDTH_WITHOUT_TERMINAL: Final = 200
_JOINED: Final = {
    "REELWORKS_REDIS_URL": "redis_url",
    "REELWORKS_DATABASE_URL": "database_url",
    "REELWORKS_PROVIDER_URL": "provider_url",
    "REELWORKS_STORE": "store",
}


def _set_var(_ctx: click.Context, _option: click.Parameter, folder: Path | None) -> None:
    if folder is not None:
        os.environ["REELWORKS_VAR"] = str(folder)


def var_option(command: Command) -> Command:
    """Adds `--var`, the folder of all state, which then stands in the environment for whoever reads settings."""
    return click.option(
        "--var",
        type=click.Path(file_okay=False, path_type=Path),
        callback=_set_var,
        expose_value=False,
        is_eager=True,
        help="Folder of all state (REELWORKS_VAR). Default: var",
    )(command)


def json_option(help_text: str = "Print one JSON document.") -> Callable[[Command], Command]:
    """Adds `--json`, given to the command as `as_json`."""

    def add(command: Command) -> Command:
        return click.option("--json", "as_json", is_flag=True, help=help_text)(command)

    return add


def lists(context: click.Context) -> bool:
    """Whether a group is to show its list, which is so without a subverb.

    Raises click's usage error for options of the list before a subverb: it would pass over them, and a filter that is
    passed over has it do more than was asked for.
    """
    if context.invoked_subcommand is None:
        return True
    given = [each for each in context.command.params if each.expose_value and _is_typed(context, each)]
    if given:
        raise click.UsageError(
            f"{given[0].opts[0]} here is of the list: `{context.invoked_subcommand}` would pass over it."
        )
    return False


def _is_typed(context: click.Context, option: click.Parameter) -> bool:
    return context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE


def var_folder() -> Path:
    """The folder of all state, before any settings are read."""
    return Path(os.environ.get("REELWORKS_VAR") or "var").absolute()


def join_running_stack() -> bool:
    """Take the addresses of the stack that runs in the folder, where the environment names none, and with those the
    keys of its simulator. False: none runs.

    A stack that was killed leaves its addresses behind: they count only while the process that wrote them lives.
    """
    folder = var_folder()
    try:
        found = json.loads((folder / "addresses.json").read_text())
    except (OSError, ValueError):
        return False
    pids = found.get("pids") if isinstance(found, dict) else None
    supervisor = pids.get("supervisor") if isinstance(pids, dict) else None
    if supervisor is None or supervisor != FolderLock(folder / LOCK_NAME).living_holder():
        return False
    for variable, name in _JOINED.items():
        address = found.get(name)
        # A masked password is of no use; whoever set it has the variable.
        if isinstance(address, str) and "***" not in address and not os.environ.get(variable):
            os.environ[variable] = address
    keys, has_own = found.get("provider_keys"), any(os.environ.get(name) for name in KEY_VARIABLES)
    asks_it = os.environ.get("REELWORKS_PROVIDER_URL") == found.get("provider_url")
    if isinstance(keys, str) and asks_it and not has_own:
        # Those of its own simulator, which knows a task by the key that it was created with.
        os.environ["REELWORKS_PROVIDER_KEYS"] = keys
    return True


def settings() -> Settings:
    """The settings of the environment, completed by a running stack. Raises `SettingsInvalid`."""
    join_running_stack()
    return read_settings()


@contextlib.contextmanager
def opened_ledger(read: Settings) -> Iterator[Ledger]:
    """The database, if its schema is this version's. Raises `SchemaMismatch`, and Failure when there is no database."""
    ledger = open_ledger(read)
    path = sqlite_path(ledger)
    if path is not None and not path.exists():
        # Opening it would create it, empty.
        raise Failure(
            f"there is no database at {path}. Start the stack with `python -m workers up`, run "
            "`python -m workers migrate`, or name the folder with --var.",
            UNCONFIGURED,
        )
    try:
        check(ledger)
        yield ledger
    finally:
        ledger.close()


@contextlib.contextmanager
def opened_context(read: Settings) -> Iterator[Context]:
    """Everything that tasks work with, for a command that does what tasks do. Raises as `opened_ledger` does."""
    configure_logs("WARNING", "console")  # standard output is the command's own
    with opened_ledger(read):
        ctx = build(read)
    try:
        yield ctx
    finally:
        ctx.close()


def sqlite_path(ledger: Ledger) -> Path | None:
    """The file of an SQLite database; `None` for a server's."""
    url = ledger.engine.url
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def whole_id(tx: Transaction, text: str) -> str:
    """The id of the only job whose id begins with `text`, or `text` if there is none. Raises Failure for several."""
    found = reports.ids_beginning(tx, text, limit=2)
    if len(found) > 1:
        raise Failure(f"more than one job begins with {text!r}: give more of its id.", FAILED)
    return found[0] if found else text


def console(*, stderr: bool = False) -> Console:
    """The terminal, or plain wide lines where there is none."""
    made = Console(stderr=stderr, highlight=False)
    if not made.is_terminal:
        made.width = _WIDTH_WITHOUT_TERMINAL
    return made


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table; the columns named in `right` hold figures."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(columns):
        # The first one is what a row is called by: an id, for instance, stays in one piece to be copied.
        made.add_column(name, justify="right" if name in right else "left", overflow="fold", no_wrap=index == 0)
    return made


def print_json(document: Any) -> None:
    """One JSON document on one line: dataclasses as objects, money as text, instants in ISO 8601."""
    sys.stdout.write(json.dumps(document, default=_json_value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _json_value(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
