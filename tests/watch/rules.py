"""The alerts as they stand, and the same ones shortened, so that one which takes a day can be waited for.

Shortening divides every duration of a rule by one factor: its `for`, its windows, and the thresholds of ages (of
series whose name ends in `_seconds`). Counts, shares and money stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

FOLDER: Final = Path(__file__).parents[2] / "ops" / "prometheus"
ALERTS: Final = FOLDER / "alerts.yml"
PACE: Final = "pace"
"""The label by which a shortened rule is told from the one that stands."""
_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION: Final = re.compile(r"(\d+)([smhd])")
_WINDOW: Final = re.compile(r"\[([^]]+)\]")
_AGE: Final = re.compile(r"\breelworks_\w+_seconds(_bucket)?\b")
_ABOVE: Final = re.compile(r"> (\d+)$")


@dataclass(frozen=True, slots=True)
class Rule:
    """One alert as it stands in its file."""

    raw: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.raw["alert"])

    @property
    def for_s(self) -> float:
        return seconds(self.raw.get("for", "0s"))

    @property
    def threshold_s(self) -> float:
        """How old something has to be; 0 where the rule asks for no age."""
        expression = self.raw["expr"].strip()
        found = _ABOVE.search(expression)
        return float(found[1]) if found and _AGE.search(expression) else 0.0

    @property
    def window_s(self) -> float:
        """The longest time that it looks back; 0 for one that looks at this moment alone."""
        return max((seconds(each) for each in _WINDOW.findall(self.raw["expr"])), default=0.0)

    @property
    def takes_s(self) -> float:
        """From the trouble to the alarm, at least."""
        return self.for_s + self.threshold_s

    def factor(self, within_s: float) -> float:
        """By how much its durations are divided, so that it fires and is gone within so many seconds each."""
        return max(1.0, self.takes_s / within_s, self.window_s / within_s)

    def shortened(self, factor: float) -> dict[str, Any]:
        """The rule with all its durations divided, and a label that says so."""
        made = {**self.raw, "labels": {**self.raw["labels"], PACE: "shortened"}}
        expression = _WINDOW.sub(lambda found: f"[{_written(seconds(found[1]) / factor)}]", self.raw["expr"].strip())
        if self.threshold_s:
            expression = _ABOVE.sub(f"> {self.threshold_s / factor:.3f}", expression)
        made["expr"] = expression
        if "for" in self.raw:
            made["for"] = _written(self.for_s / factor)
        return made


def seconds(text: str) -> float:
    """A duration as the file writes them: one number and its unit. Raises `ValueError`."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"not a duration of one unit: {text}")
    return int(found[1]) * _SECONDS[found[2]]


def _written(duration_s: float) -> str:
    return f"{max(1, round(duration_s * 1000))}ms"


def read_rules() -> dict[str, Rule]:
    """All alerts by name, in the order of their file."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return {raw["alert"]: Rule(raw) for group in groups for raw in group["rules"]}


def write_shortened(path: Path, rules: Sequence[Rule], within_s: float) -> None:
    """A file of the rules that take longer, or look back further, than so many seconds: each within them."""
    made = [rule.shortened(rule.factor(within_s)) for rule in rules if rule.factor(within_s) > 1]
    path.write_text(yaml.safe_dump({"groups": [{"name": "shortened", "rules": made}]}, sort_keys=False, width=1000))
