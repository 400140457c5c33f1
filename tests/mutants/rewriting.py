"""Takes one guard out of a function, a statement or a script, in this process alone: the files stay as they are."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from tasks.pulse import scripts

_undo: list[Callable[[], None]] = []


def undo_all() -> None:
    """Put every guard back."""
    while _undo:
        _undo.pop()()


class Stale(Exception):
    """The guard is not there (any more) as the mutant knows it. Look at the code, and write the mutant anew."""


def rewrite(function: Callable[..., Any], old: str, new: str) -> None:
    """Put `new` in the place of `old`, which must be there once, in the source of a function.

    The function stays the same object with other code, so whoever has imported it by name gets the mutant as well.
    """
    plain: Any = inspect.unwrap(function)
    source = textwrap.dedent(inspect.getsource(plain))
    source = source[source.index("def ") :]  # decorators have done their work
    text = _replaced(source, old, new, plain.__qualname__)
    code = compile(text, f"<mutant of {plain.__qualname__}>", "exec", annotations.compiler_flag)
    made: dict[str, Any] = {}
    exec(code, plain.__globals__, made)
    _undo.append(partial(setattr, plain, "__code__", plain.__code__))
    plain.__code__ = made[plain.__name__].__code__


def rewrite_statement(module: ModuleType, name: str, old: str, new: str) -> None:
    """The same for a value that a module makes when it is imported, such as a SQL statement."""
    source = inspect.getsource(module)
    made = next(
        node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name
    )
    text = _replaced(ast.get_source_segment(source, made) or "", old, new, f"{module.__name__}.{name}")
    _undo.append(partial(setattr, module, name, getattr(module, name)))
    setattr(module, name, eval(f"({text})", vars(module)))


def rewrite_script(name: str, old: str, new: str) -> None:
    """The same for a Lua script; for every Redis that is connected to from now on."""
    folder = scripts._FOLDER
    _undo.append(partial(setattr, scripts, "_FOLDER", folder))
    path = folder / f"{name}.lua"
    text = _replaced(path.read_text(), old, new, path.name)
    scripts._FOLDER = _Overlay(folder, {path.name: text})  # type: ignore[assignment]


class _Overlay:
    """A folder of scripts in which some have another text."""

    def __init__(self, folder: Path, texts: dict[str, str]) -> None:
        self._folder, self._texts = folder, texts

    def __truediv__(self, name: str) -> Any:
        return _Text(self._texts[name]) if name in self._texts else self._folder / name


class _Text:
    def __init__(self, text: str) -> None:
        self._text = text

    def read_text(self, encoding: str = "utf-8") -> str:
        return self._text


def _replaced(source: str, old: str, new: str, where: str) -> str:
    if source.count(old) != 1:
        raise Stale(f"{where}: {old!r} stands there {source.count(old)} times")
    return source.replace(old, new)
