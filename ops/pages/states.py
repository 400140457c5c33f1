"""The state table as a drawing and as tables, made from the table that the ledger applies."""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from schemas.jobs import TERMINAL, State
from tasks.domain.transitions import ASKED_FOR, TABLE, Event

_BIRTH: Final = Event.ACCEPT


def drawing() -> str:
    """A Mermaid state diagram: an arrow for each pair of states, with the events that lead along it."""
    arrows: defaultdict[tuple[State, State], list[Event]] = defaultdict(list)
    for (state, event), after in TABLE.items():
        arrows[state, after].append(event)
    lines = [f"    {before} --> {after}: {', '.join(events)}" for (before, after), events in arrows.items()]
    ends = [f"    {state} --> [*]" for state in State if state in TERMINAL]
    return "\n".join(["```mermaid", "stateDiagram-v2", f"    [*] --> {State.QUEUED}: {_BIRTH}", *lines, *ends, "```"])


def table() -> str:
    """A row for each state: which events lead where."""
    rows = []
    for state in State:
        ways: defaultdict[State, list[Event]] = defaultdict(list)
        for (before, event), after in TABLE.items():
            if before is state:
                ways[after].append(event)
        rows.append(f"| `{state}` | {'; '.join(f'{_named(events)} → `{after}`' for after, events in ways.items())} |")
    return "\n".join(["| state | event → state |", "|---|---|", *rows]).replace("|  |", "| |")


def events() -> str:
    """A row for each event: what has happened when it stands in a job's timeline."""
    said = _sentences()
    by = dict.fromkeys(ASKED_FOR, "a person, or a policy that somebody chose")
    rows = [f"| `{event}` | {said[event.name]} | {by.get(event, '')} |" for event in Event]
    return "\n".join(["| event | means | only by |", "|---|---|---|", *rows]).replace("|  |", "| |")


def section() -> str:
    """All three, as ops/architecture.md has them."""
    return "\n\n".join([drawing(), table(), events()])


def _named(events: Iterable[Event]) -> str:
    return ", ".join(f"`{event}`" for event in events)


def _sentences() -> dict[str, str]:
    """What stands in the code below each event. Python keeps no docstring of a member, but its source does."""
    (definition,) = ast.parse(inspect.getsource(Event)).body
    found: dict[str, str] = {}
    name = ""
    for statement in definition.body if isinstance(definition, ast.ClassDef) else ():
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)]):
                pass
            case ast.Expr(value=ast.Constant(value=str(text))) if name:
                found[name] = " ".join(text.split())
    return found
