"""Camera instructions: the words inside `[...]` in a prompt that move the camera.

Owns the rule that tells an instruction from a bracket that is merely text. Refuses to change a prompt.

Source: the provider's API reference for `minimax_hailuo_02_i2v`. Instructions within one bracket act together, brackets
that follow one another act in sequence.

The rule. A bracket is `[`, text without brackets, `]`; its parts are separated by commas; upper and lower case and the
amount of white space do not matter. A bracket holds **instructions** when

1. at least one of its parts is a known instruction (`[pan left, wobble]`), or
2. every part *looks like* one: at most 40 characters, Latin words only (joined by spaces or `- _ ; / + & |`), and
   either one or two words (`[dolly in]`, `[pann left]`), or three or four of which one is a movement
   (`[pan to the left]`).

Any other bracket is **text** and left alone: `[]`, `[1]`, `[fig. 2]`, `[a man opens the door]`, `[the red door]`. An
unknown instruction is an error rather than text, because the film would be paid for without the movement; whoever means
a short note writes it in round brackets.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Final

INSTRUCTIONS: Final = frozenset(
    {
        "pan left",
        "pan right",
        "tilt left",
        "tilt right",
        "push in",
        "pull back",
        "rise",
        "lower",
        "tilt up",
        "tilt down",
        "zoom in",
        "zoom out",
        "shake",
        "follow",
        "static",
    }
)
"""The 15 instructions that the provider documents."""

MAX_COMBINED: Final = 3
"""More than this many in one bracket are accepted, but advised against."""

_BRACKET: Final = re.compile(r"\[([^\[\]]*)\]")
_WORDS: Final = re.compile(r"[A-Za-z]+(?:[\s_;/+&|-]+[A-Za-z]+)*")
_JOINTS: Final = re.compile(r"[\s_;/+&|-]+")
_MAX_CHARS: Final = 40
_MAX_WORDS: Final = 4
_SHORT_WORDS: Final = 2
# What moves a camera, in this model's words and in those that people bring along from film sets and other models.
_MOVEMENTS: Final = frozenset(
    {word for instruction in INSTRUCTIONS for word in instruction.split()[:1]}
    | {"camera", "dolly", "truck", "pedestal", "orbit", "crane", "track", "roll", "arc"}
)


@dataclass(frozen=True, slots=True)
class Bracket:
    """One bracket of instructions: the known ones, and what was written in place of one."""

    known: tuple[str, ...]
    unknown: tuple[str, ...] = ()


def brackets(prompt: str, known: Set[str] = INSTRUCTIONS) -> Iterator[Bracket]:
    """The brackets of a prompt that hold instructions, in order; brackets that are text are passed over."""
    if "[" not in prompt or not known:
        return
    for match in _BRACKET.finditer(prompt):
        parts = [part for part in (" ".join(raw.split()).lower() for raw in match[1].split(",")) if part]
        found = tuple(part for part in parts if part in known)
        if found or (parts and all(_looks_like_an_instruction(part) for part in parts)):
            yield Bracket(found, tuple(part for part in parts if part not in known))


def instructions(prompt: str) -> tuple[tuple[str, ...], ...]:
    """The known instructions of a prompt: in sequence, and within each step (`[tilt left, rise]`) acting together."""
    return tuple(bracket.known for bracket in brackets(prompt) if bracket.known)


def nearest(word: str, known: Set[str] = INSTRUCTIONS) -> str:
    """The known instruction that is spelt most like `word`."""
    return difflib.get_close_matches(word[:_MAX_CHARS], sorted(known), n=1, cutoff=0.0)[0]


def _looks_like_an_instruction(part: str) -> bool:
    if len(part) > _MAX_CHARS or not _WORDS.fullmatch(part):
        return False
    words = _JOINTS.split(part)
    return len(words) <= _SHORT_WORDS or (len(words) <= _MAX_WORDS and not _MOVEMENTS.isdisjoint(words))
