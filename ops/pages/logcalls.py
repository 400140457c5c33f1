"""Every log line that the code can write, read from its syntax: event, level, place and fields. Runs none of it.

It refuses what it can't read: a name that is put together, fields from elsewhere, a logger by another way. Such a line
would stand in no list, and whoever is woken by it would look it up in vain.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOMS: Final = ("schemas", "tasks", "workers", "ops")
_LEVELS: Final = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "exception": "error",
    "critical": "critical",
}
_NO_FIELDS: Final = {"exc_info", "stack_info"}


class Unreadable(Exception):
    """A call of a logger that can't be listed; the message says where it stands, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Call:
    """One place that logs. `file`: from the root of the checkout. `has_traceback`: the line has a field `exception`."""

    event: str
    level: str
    file: str
    fields: tuple[str, ...]
    has_traceback: bool = False


def calls(root: Path) -> list[Call]:
    """All of them, in the order of files and lines. Raises Unreadable."""
    files = sorted(file for room in ROOMS for file in (root / room).rglob("*.py"))
    return [call for file in files for call in calls_in(file.read_text(encoding="utf-8"), str(file.relative_to(root)))]


def calls_in(source: str, file: str) -> Iterator[Call]:
    """Those of one file. Raises Unreadable."""
    if "get_logger" not in source:
        return
    tree = ast.parse(source, file)
    loggers = {
        target.id
        for statement in tree.body
        if isinstance(statement, ast.Assign) and _makes_logger(statement.value)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    if sum(_asks_for_logger(node) for node in ast.walk(tree)) != len(loggers):
        raise Unreadable(f"{file}: a logger is made by structlog.get_logger, once, and has a name of the module")
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _name_called_on(node) in loggers]
    for node in sorted(found, key=lambda each: each.lineno):
        yield _call(node, tree, file)


def _asks_for_logger(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)
    return name == "get_logger"


def _makes_logger(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and _asks_for_logger(node) and _name_called_on(node) == "structlog"


def _name_called_on(node: ast.Call) -> str | None:
    function = node.func
    return function.value.id if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) else None


def _call(node: ast.Call, tree: ast.Module, file: str) -> Call:
    place = f"{file}:{node.lineno}"
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if method not in _LEVELS:
        raise Unreadable(f"{place}: {method} is no level: an event has all of its fields where it is logged")
    match node.args:
        case [ast.Constant(value=str(event))]:
            pass
        case _:
            raise Unreadable(f"{place}: an event's name stands there as it is logged, alone; all else is a field")
    fields: list[str] = []
    for keyword in node.keywords:
        if keyword.arg is None:
            fields += _keys(keyword.value, tree, place)
        elif keyword.arg not in _NO_FIELDS:
            fields.append(keyword.arg)
    has_traceback = method == "exception" or any(keyword.arg == "exc_info" for keyword in node.keywords)
    return Call(event, _LEVELS[method], file, tuple(fields), has_traceback)


def _keys(value: ast.expr, tree: ast.Module, place: str) -> list[str]:
    """The fields of `**value`, which has to be a name that is given once in its file, to a dict of static keys."""
    given = [
        statement.value
        for statement in ast.walk(tree)
        if isinstance(statement, ast.Assign)
        and isinstance(value, ast.Name)
        and any(isinstance(target, ast.Name) and target.id == value.id for target in statement.targets)
    ]
    if len(given) == 1 and isinstance(given[0], ast.Dict):
        keys = [key.value for key in given[0].keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
        if len(keys) == len(given[0].keys):
            return keys
    raise Unreadable(f"{place}: the fields of ** can't be read: name them, or give it one dict of static names")
