"""What is counted while jobs are worked on, because no row tells it: what there is, and how each is told apart. Pure.

Everything is added up as whole numbers of the smallest unit, so that sums stay exact wherever they are made. Labels are
words of our own, aliases of keys and names of models: there are few of each, and never a job's or a tenant's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .answers import Completed, Failed, LookAgain, NotFound, PollAnswer, Running

_SEPARATOR: Final = "|"
_SUM: Final = "sum"
_MICRO: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Count:
    """A sum that only grows. `per_unit`: how many of what is added make one of its unit.

    `words`: what its one label can say, where all of that is known. It is shown from the start then: of what begins at
    its first value, that value is no growth, and who watches does not see what happens once.
    """

    name: str
    labels: tuple[str, ...] = ()
    per_unit: int = 1
    words: tuple[str, ...] = ()

    def field(self, *labels: str) -> str:
        """The name under which it is kept with these labels."""
        return _SEPARATOR.join((self.name, *labels))


@dataclass(frozen=True, slots=True)
class Spread:
    """How long something takes: how often it took up to each of the bounds (seconds), or longer, and the sum."""

    name: str
    bounds_s: tuple[float, ...]
    labels: tuple[str, ...] = ()

    def fields(self, took_s: Sequence[float], *labels: str) -> Iterator[tuple[str, int]]:
        """What to add where for some that took so long; the sum is in microseconds."""
        kept, bounds_s = _SEPARATOR.join((self.name, *labels)), self.bounds_s
        for place, number in Counter([bisect_left(bounds_s, each) for each in took_s]).items():
            yield f"{kept}{_SEPARATOR}{place}", number
        yield f"{kept}{_SEPARATOR}{_SUM}", round(sum(each for each in took_s if each > 0) * _MICRO)


REQUESTS: Final = Count("requests", ("call", "key", "outcome"))
REQUEST_S: Final = Spread("request_s", (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0), ("call",))
LOOK_LATE_S: Final = Spread("look_late_s", (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0))
DETECTION_S: Final = Spread("detection_s", (0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 60.0), ("model",))
GENERATION_S: Final = Spread(
    "generation_s", (10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0), ("model",)
)
DOWNLOADS: Final = Count("downloads", ("outcome",))
DOWNLOAD_BYTES: Final = Count("download_bytes")
DOWNLOAD_S: Final = Spread("download_s", (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0))
CHARGES: Final = Count("charges", ("model", "key", "estimated"))
CHARGED_USD: Final = Count("charged_usd", ("model", "key", "estimated"), per_unit=_MICRO)
ENDED: Final = Count("ended", ("state", "model"))
DISK_LOW: Final = Count("disk_low", ("work",), words=("accept", "create", "download"))
DELIVERIES: Final = Count("deliveries", ("outcome",), words=("arrived", "put_off", "gone", "dead"))


@dataclass(frozen=True, slots=True)
class Spreading:
    """A spread as it stands: how many took up to each bound but longer than the one before it, the last without an
    upper bound; and the sum in seconds."""

    counts: tuple[int, ...]
    sum_s: float


def counted(count: Count, kept: Mapping[str, int]) -> dict[tuple[str, ...], float]:
    """How a count stands, by its labels, in its unit. What else is kept is passed over."""
    found = _of(count.name, len(count.labels), kept)
    return {labels: amount / count.per_unit for labels, amount in found.items()}


def spread(what: Spread, kept: Mapping[str, int]) -> dict[tuple[str, ...], Spreading]:
    """How a spread stands, by its labels."""
    found: dict[tuple[str, ...], dict[str, int]] = {}
    for (*labels, place), amount in _of(what.name, len(what.labels) + 1, kept).items():
        found.setdefault(tuple(labels), {})[place] = amount
    places = range(len(what.bounds_s) + 1)
    return {
        labels: Spreading(tuple(amounts.get(str(place), 0) for place in places), amounts.get(_SUM, 0) / _MICRO)
        for labels, amounts in found.items()
    }


def _of(name: str, parts: int, kept: Mapping[str, int]) -> dict[tuple[str, ...], int]:
    split = ((field.split(_SEPARATOR), amount) for field, amount in kept.items())
    return {tuple(rest): amount for (first, *rest), amount in split if first == name and len(rest) == parts}


_UNREADABLE: Final = frozenset({"unreadable answer", "answer about another task", "answer without status"})


def outcome_of(answer: PollAnswer) -> str:
    """What a look came to, in one of a dozen words."""
    match answer:
        case Running():
            return "running"
        case Completed():
            return "completed"
        case Failed():
            return "failed"
        case NotFound():
            return "not_found"
        case LookAgain(throttled=True):
            return "throttled"
        case LookAgain(key_refused=True):
            return "key_refused"
        case LookAgain(reason=reason) if reason.startswith("HTTP "):
            return f"http_{reason[5:6]}xx"
        case LookAgain(reason=reason):
            return "unreadable" if reason in _UNREADABLE else "no_answer"
