"""Runs cases by number, counts what became of them, and keeps the smallest input for each rule that did not hold."""

from __future__ import annotations

import json
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.answer_rules import check_answer
from tests.fuzz.answers import AnswerCase, answer_case
from tests.fuzz.broken import KINDS, Broken
from tests.fuzz.request_rules import check_request
from tests.fuzz.requests import RequestCase, request_case

SHRINKING_STEPS = 2_000

Case = AnswerCase | RequestCase

SUBJECTS: dict[str, tuple[Callable[[Random], Any], Callable[[Any], list[str]], type]] = {
    "answer": (answer_case, check_answer, AnswerCase),
    "request": (request_case, check_request, RequestCase),
}

OUTCOMES = {
    "answer": {
        *(f"create {name}" for name in ("Accepted", "Rejected", "KeyRefused", "Throttled", "Unknown")),
        *(f"poll {name}" for name in ("Completed", "Failed", "Running", "NotFound", "LookAgain")),
        *(f"charge {name}" for name in ("reported", "estimated", "none")),
    },
    "request": {"request accepted", "request refused", "request unreadable"},
}
"""What a run has to have seen to be worth something. A reply is never `Unsent`: that is known without one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that did not hold, and an input that shows it: the `index`-th of its seed, or one made smaller."""

    kind: str
    reason: str
    subject: str
    seed: int
    index: int
    case: Case

    def save(self, folder: Path) -> Path:
        """Write the input to a file that `replay` takes."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.subject}-{self.seed}-{self.index}-{self.kind}.json"
        facts = {"subject": self.subject, "kind": self.kind, "reason": self.reason, "seed": self.seed}
        path.write_text(json.dumps({**facts, "index": self.index, "case": self.case.to_json()}, indent=1) + "\n")
        return path


@dataclass(slots=True)
class Run:
    """What a run has seen: cases by outcome, broken rules by kind, and of each rule its smallest input."""

    cases: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    findings: dict[tuple[str, str], Finding] = field(default_factory=dict)


def run(subject: str, count: int, seed: int, *, until_broken: bool = False) -> Run:
    """Put `count` cases of a seed to the test; with `until_broken` only up to the first rule that does not hold."""
    make, check, _ = SUBJECTS[subject]
    result = Run()
    for index in range(count):
        case = make(Random(seed << 32 | index))
        result.cases += 1
        broken = failure(check, case)
        if isinstance(broken, list):
            result.seen.update(broken)
            continue
        result.broken[broken[0]] += 1
        known = result.findings.get(broken)
        if known is None or case.size() < known.case.size():
            result.findings[broken] = Finding(*broken, subject, seed, index, case)
        if until_broken:
            break
    return result


def failure(check: Callable[[Any], list[str]], case: Case) -> list[str] | tuple[str, str]:
    """What became of a case, or the kind and reason of the rule that did not hold for it."""
    try:
        return check(case)
    except Broken as broken:
        return broken.kind, broken.reason
    except Exception as error:  # noqa: BLE001 (whatever comes out is what is looked for)
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return "crash", f"{type(error).__name__} in {Path(frame.filename).name}, {frame.name}"


def shrunk(finding: Finding) -> Finding:
    """The finding with a smaller input for which the same rule does not hold, as far as a bounded search gets."""
    _, check, _ = SUBJECTS[finding.subject]
    rule, case, steps = (finding.kind, finding.reason), finding.case, SHRINKING_STEPS
    candidates: Iterator[Case] = case.smaller()
    while steps:
        steps -= 1
        candidate = next(candidates, None)
        if candidate is None:
            break
        if candidate.size() < case.size() and failure(check, candidate) == rule:
            case = candidate
            candidates = case.smaller()
    return Finding(*rule, finding.subject, finding.seed, finding.index, case)


def replay(path: Path) -> list[str] | tuple[str, str]:
    """What becomes of a saved input now."""
    saved = json.loads(path.read_text())
    _, check, kind = SUBJECTS[saved["subject"]]
    return failure(check, kind.from_json(saved["case"]))


def summary(answers: Run, requests: Run, seed: int) -> str:
    """The one line that says whether the promise held."""
    counts = {kind: answers.broken[kind] + requests.broken[kind] for kind in KINDS}
    named = {"crash": "crashes", "wrong_charge": "wrong_charges", "wrong_outcome": "wrong_outcomes", "leak": "leaks"}
    broken = " ".join(f"{named.get(kind, kind)}={count}" for kind, count in counts.items())
    return f"fuzz: answers={answers.cases} requests={requests.cases} {broken} seed={seed}"
