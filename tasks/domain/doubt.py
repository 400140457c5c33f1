"""What becomes of a create whose outcome stays unknown: held for a person, or created anew by choice. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

_FORM: Final = re.compile(r"retry_after=(?P<retry_after>\d{1,9}(?:\.\d{1,3})?)\s*,\s*max_extra=(?P<max_extra>\d{1,3})")


@dataclass(frozen=True, slots=True)
class DoubtPolicy:
    """The policy for uncertain jobs. Without `retry_after_s` they are held until somebody resolves them.

    With it, a job is created anew when it has been uncertain for `retry_after_s` seconds, at most `max_extra` times:
    each of them can be paid for in vain.
    """

    retry_after_s: float | None = None
    max_extra: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """`hold`, or `retry_after=SECONDS,max_extra=N`. Raises `ValueError` with a sentence."""
        if text.strip() == "hold":
            return cls()
        match = _FORM.fullmatch(text.strip())
        if match is None:
            raise ValueError("must be `hold`, or `retry_after=SECONDS,max_extra=N`, which can pay twice")
        retry_after_s, max_extra = float(match["retry_after"]), int(match["max_extra"])
        if retry_after_s <= 0 or max_extra < 1:
            raise ValueError("retry_after must be above 0 seconds and max_extra at least 1")
        return cls(retry_after_s, max_extra)

    def creates_anew(self, *, uncertain_s: float, doubtful: int) -> bool:
        """Whether a job that has been uncertain for so long, after `doubtful` creates in doubt, is created anew."""
        return self.retry_after_s is not None and uncertain_s >= self.retry_after_s and doubtful <= self.max_extra
