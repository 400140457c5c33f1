"""The programs that the README shows, as it shows them, with what it says that they print."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from workers.stackplan import ROOT

_SHOWN: Final = re.compile(
    r"```(?:js|python)\n(?P<text>(?:(?!```).)*?)```\s+"
    r"```\n\$ (?P<runs>node|python) (?P<name>\S+) \$REDIS\n(?P<prints>.*?)```",
    re.DOTALL,
)
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Program:
    """One that is given the address of Redis. `runs`: what runs it. `prints`: with `ID` for an id that is made up."""

    name: str
    runs: str
    text: str
    prints: str


def programs() -> dict[str, Program]:
    """Those that are shown with the line that runs them, by their names."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = [Program(each["name"], each["runs"], each["text"], alike(each["prints"])) for each in _SHOWN.finditer(text)]
    return {each.name: each for each in shown}


def alike(printed: str) -> str:
    """What was printed, with `ID` for each id that is another one in each run."""
    return _ID.sub("ID", printed)


def words_of_xadd() -> list[str]:
    """The command by which any client asks for a film, with `ID` and `JSON` where they go."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"`(XADD [^`]*)`", text)
    return str(shown).split()
