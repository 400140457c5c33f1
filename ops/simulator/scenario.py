"""Scenarios: which creates are treated how, as rules that a JSON file or the admin endpoint gives.

Owns the form of rules and their matching; refuses unknown words, so that a misspelt scenario never passes for a calm
one. What the words do stands in `ops.simulator`'s docstring.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, TypeVar

from . import faults
from .bill import key_alias


class ScenarioError(ValueError):
    """The scenario is not in the form that the simulator understands; nothing of it was taken over."""


@dataclass(frozen=True, slots=True)
class CreatePlan:
    """How a create is answered."""

    status: int | None = None
    body: Any = "message"
    retry_after: str | int | None = None
    fault: str | None = None
    finished: bool = False


@dataclass(frozen=True, slots=True)
class PollPlan:
    """How the task goes and what its polls say."""

    outcome: str = "completed"
    code: Any = 10004095
    message: str = "Internal generation error"
    error_form: str = "error_message"
    latency_s: float | None = None
    never: bool = False
    cost_usd: str | None = None
    cost_form: str = "string"
    discount: Any = 1
    usage_extra: Mapping[str, Any] = field(default_factory=dict)
    usage: str = "by_outcome"
    metadata: str = "plain"
    words: Mapping[str, str] = field(default_factory=dict)
    progress: str = "fraction"
    goes_back: int = 0
    fault: str | None = None
    fault_times: int | None = 1


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """What there is to download."""

    count: int | None = 1
    contents: int = 1
    cover: bool = False
    duration_s: int | None = None
    resolution: str | None = None
    say_duration: bool = False
    url: str | None = None
    ranges: str = "served"
    redirect_to: str | None = None
    fault: str | None = None
    fault_times: int | None = 1


@dataclass(frozen=True, slots=True)
class CallbackPlan:
    """How a task's callback URL is used."""

    strict: bool = False
    form: str = "upstream"
    silent: bool = False
    copies: int = 1
    early: bool = False
    forged: str = "none"


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a scenario says about one create. Without a matching rule: all defaults. `rules`: those that decided it,
    by name or place."""

    create: CreatePlan = CreatePlan()
    poll: PollPlan = PollPlan()
    output: OutputPlan = OutputPlan()
    callback: CallbackPlan = CallbackPlan()
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """What rules can look at, beside the create's number: its prompt, model, resolution and its key's alias."""

    prompt: str = field(repr=False)
    key: str
    model: str = ""
    resolution: str = ""


_GROUPS: Final = {"create": CreatePlan, "poll": PollPlan, "output": OutputPlan, "callback": CallbackPlan}
_MATCHES: Final = {"nth": int, "every": int, "prompt_contains": str, "key": str, "model": str, "resolution": str}
_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "outcome": ("completed", "failed"),
    "error_form": ("error_message", "message", "string"),
    "cost_form": (
        *("string", "number", "empty", "null", "missing", "garbage"),
        *("negative", "negative_number", "nan", "nan_number", "huge", "huge_number"),
    ),
    "usage": ("by_outcome", "present", "missing"),
    "metadata": ("plain", "full", "missing"),
    "progress": ("fraction", "missing"),
    "form": ("upstream", "task"),
    "ranges": ("served", "ignored"),
    "forged": ("none", "unknown_id", "other_id", "status"),
    "resolution": ("512P", "720P", "768P", "1080P"),
}
_BOUNDS: Final = {"duration_s": (1, 60), "status": (400, 599)}
_MONEY: Final = re.compile(r"\d{1,6}(\.\d{1,6})?")
_Group = TypeVar("_Group")


class Scenario:
    """A list of rules, with how often each has been used. The first rule that matches a create and speaks about a group
    (create, poll, output, callback) decides that group. Creates are numbered from 1, from when the scenario was set."""

    def __init__(self, rules: Any = (), *, seed: int = 0) -> None:
        """`rules`: decoded JSON, a list of rules or an object that holds one under `rules`. Raises `ScenarioError`."""
        listed = rules.get("rules") if isinstance(rules, dict) else rules
        if not isinstance(listed, list | tuple):
            raise ScenarioError("a scenario is a list of rules, or an object that holds one under 'rules'")
        self._rules = [_Rule.read(raw, f"rules[{n}]") for n, raw in enumerate(listed)]
        self._seed = seed
        self._calls = 0

    def plan(self, call: Call) -> Plan:
        """How to treat this create. Counts the use of the rules that decide something."""
        self._calls += 1
        chosen: dict[str, Any] = {}
        deciding: list[str] = []
        for n, rule in enumerate(self._rules):
            die = random.Random(f"{self._seed}:{n}:{self._calls}")  # noqa: S311 - a repeatable die, not a secret
            if rule.used_up or not (rule.groups.keys() - chosen.keys()) or not rule.matches(call, self._calls, die):
                continue
            rule.used += 1
            chosen = {**rule.groups, **chosen}
            deciding.append(rule.name)
        return Plan(**chosen, rules=tuple(deciding))

    def as_json(self) -> dict[str, Any]:
        """The rules as given (keys as aliases), each with its number of uses under `used`."""
        return {"rules": [{**rule.raw, "used": rule.used} for rule in self._rules]}


@dataclass(slots=True)
class _Rule:
    name: str
    raw: dict[str, Any]
    match: dict[str, Any]
    groups: dict[str, Any]
    times: int | None
    used: int = 0

    @classmethod
    def read(cls, raw: Any, where: str) -> _Rule:
        allowed = {"name", "match", "times", "used", *_GROUPS}
        if not isinstance(raw, dict) or raw.keys() - allowed:
            raise ScenarioError(f"{where}: a rule is an object of {', '.join(sorted(allowed))}")
        name = raw.get("name", where)
        if not isinstance(name, str):
            raise ScenarioError(f"{where}.name: a string is needed")
        match = _read_match(raw.get("match", {}), f"{where}.match")
        times = raw.get("times")
        if times is not None and not (_is(times, int) and times >= 0):
            raise ScenarioError(f"{where}.times: a whole number is needed")
        groups: dict[str, Any] = {}
        for group, kind in _GROUPS.items():
            if group in raw:
                groups[group] = _read_group(kind, raw[group], f"{where}.{group}")
        return cls(name, {**raw, "match": match}, match, groups, times)

    @property
    def used_up(self) -> bool:
        return self.times is not None and self.used >= self.times

    def matches(self, call: Call, nth: int, die: random.Random) -> bool:
        match = self.match
        return (
            match.get("nth", nth) == nth
            and nth % match.get("every", 1) == 0
            and match.get("prompt_contains", "") in call.prompt
            and match.get("key", call.key) == call.key
            and match.get("model", call.model) == call.model
            and match.get("resolution", call.resolution) == call.resolution
            and die.random() < match.get("chance", 1.0)
        )


def read_plan(raw: Any) -> Plan:
    """The plan in decoded JSON, an object of all its groups and maybe its rules. Raises `ScenarioError`."""
    if not isinstance(raw, dict) or raw.keys() - {"rules"} != _GROUPS.keys():
        raise ScenarioError(f"a plan is an object of {', '.join(_GROUPS)}")
    groups: dict[str, Any] = {name: _read_group(kind, raw[name], f"plan.{name}") for name, kind in _GROUPS.items()}
    return Plan(**groups, rules=tuple(str(name) for name in raw.get("rules", ())))


def _read_match(raw: Any, where: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise ScenarioError(f"{where}: an object is needed")
    match = dict(raw)
    for name, value in raw.items():
        if name == "chance":
            if not _is(value, float) or not 0 <= value <= 1:
                raise ScenarioError(f"{where}.chance: a number from 0 to 1 is needed")
        elif name not in _MATCHES:
            raise ScenarioError(f"{where}: unknown condition {name!r}; known: chance, {', '.join(sorted(_MATCHES))}")
        elif not _is(value, _MATCHES[name]) or (_MATCHES[name] is int and value < 1):
            needed = "a whole number from 1" if _MATCHES[name] is int else "a string"
            raise ScenarioError(f"{where}.{name}: {needed} is needed")
    if "key" in match and not match["key"].startswith("key-"):
        match["key"] = key_alias(match["key"])
    return match


def _read_group(kind: type[_Group], raw: Any, where: str) -> _Group:
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]  # only the plans above come here
    if not isinstance(raw, dict):
        raise ScenarioError(f"{where}: an object is needed")
    for name, value in raw.items():
        if name not in known:
            raise ScenarioError(f"{where}: unknown word {name!r}; known: {', '.join(sorted(known))}")
        _check_value(name, value, known[name].type, where)
    if raw.get("redirect_to") is not None and raw.get("fault") != "redirect":
        raise ScenarioError(f"{where}.redirect_to: the fault 'redirect' is needed with it")
    return kind(**raw)


# Annotations as written above -> the JSON values they take.
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "int | None": (int, type(None)),
    "float | None": (float, type(None)),
    "str | None": (str, type(None)),
    "str | int | None": (str, int, type(None)),
    "Mapping[str, Any]": (dict,),
    "Mapping[str, str]": (dict,),
    "Any": (object,),
}


def _check_value(name: str, value: Any, annotation: Any, where: str) -> None:
    if not any(_is(value, kind) for kind in _KINDS[annotation]):
        raise ScenarioError(f"{where}.{name}: {annotation} is needed")
    if value is None:
        return
    if name in _CHOICES and value not in _CHOICES[name]:
        raise ScenarioError(f"{where}.{name}: one of {', '.join(_CHOICES[name])} is needed")
    low, high = _BOUNDS.get(name, (0, 10**9))
    if annotation != "Any" and _is(value, float) and not low <= value <= high:
        raise ScenarioError(f"{where}.{name}: a number from {low} to {high} is needed")
    if name == "cost_usd" and not _MONEY.fullmatch(value):
        raise ScenarioError(f"{where}.{name}: an amount such as '0.28' is needed")
    if name == "fault":
        stage = where.rpartition(".")[2]
        usable = sorted(fault for fault, row in faults.FAULTS.items() if stage in row.stages)
        if value not in usable:
            raise ScenarioError(f"{where}.fault: unknown fault {value!r}; known here: {', '.join(usable)}")


def _is(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind in (bool, object)
    return isinstance(value, (int, float)) if kind is float else isinstance(value, kind)
