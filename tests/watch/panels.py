"""What the dashboards ask for: every query of every panel, as Grafana would send it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ops.grafana.__main__ import FOLDER

# With scrapes each 15 s Grafana puts a minute there, unless somebody looks at more than a day.
_VARIABLES: Final = {"$__rate_interval": "1m"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One query of a panel."""

    board: str
    panel: str
    expr: str

    @property
    def name(self) -> str:
        return f"{self.board}: {self.panel}: {self.expr}"


def all_asked() -> list[Asked]:
    """The queries in the files that Grafana is given."""
    found = []
    for file in sorted(FOLDER.glob("*.json")):
        board: dict[str, Any] = json.loads(file.read_text())
        found += [
            Asked(board["title"], panel["title"], filled(target["expr"]))
            for panel in board["panels"]
            for target in panel["targets"]
        ]
    return found


def filled(expression: str) -> str:
    """An expression with its variables filled in. Raises `ValueError` for one that is not known here."""
    for name, value in _VARIABLES.items():
        expression = expression.replace(name, value)
    left = re.findall(r"\$\w+", expression)
    if left:
        raise ValueError(f"no value is known for {', '.join(left)}")
    return expression


def without_data(asked: list[Asked], has_data: Callable[[str], bool]) -> list[Asked]:
    """Those that give nothing."""
    return [each for each in asked if not has_data(each.expr)]
