"""A rule that did not hold for some input, and what kind of promise that breaks."""

from __future__ import annotations

KINDS = ("crash", "stuck", "wrong_charge", "wrong_outcome", "leak", "unstorable")


class Broken(AssertionError):
    """`kind` is one of `KINDS`; `reason` says the rule in words."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(f"{kind}: {reason}")
        self.kind, self.reason = kind, reason


def require(holds: bool, kind: str, reason: str) -> None:
    if not holds:
        raise Broken(kind, reason)
