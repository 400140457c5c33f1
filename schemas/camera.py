"""Camera instructions: the words inside `[...]` in a prompt that move the camera.

Owns the rule that tells an instruction from a bracket that is merely text. Refuses to change a prompt.

Source: the provider's API reference; all its models know the same ones. Instructions within one bracket act together,
brackets that follow one another act in sequence.

The rule. A bracket is `[`, text without brackets, `]`; its parts are separated by commas; upper and lower case and the
amount of white space do not matter, and nothing else is forgiven: the provider knows no full stop, hyphen or "and".

A bracket holds **instructions** when

1. at least one of its parts is a known instruction (`[pan left, wobble]`), or
2. every part has the form of one, and at least one part *resembles* one. The form: at most 40 characters, one to four
   Latin words, joined by spaces, dashes or `_ ; / + & |`, perhaps with `. ! ? : ;` at the end. A part resembles an
   instruction when it has a word for a movement, in this model's words or others' (`[zoom]`, `[pan to the left]`,
   `[panning left]`, `[dolly in]`), or is spelt nearly as one and begins like it (`[zom in]`, `[tlit up]`, `[panleft]`).

What is not known in such a bracket is an error rather than text, because the film would be paid for without the
movement: `[pan lft]`, `[pan-left]`, `[pan left.]`. Whoever means a short note writes it in round brackets.

Any other bracket is **text** and left alone: `[]`, `[1]`, `[laughs]`, `[John Smith]`, `[red car]`, `[a man opens the
door]`. Text that has the words of a known instruction in it is left alone too, but **mentioned**, for a warning that
says the exact form: `[slowly pan left and zoom in]`, `[zoom in 2x]`, `[camera: pan left]`, and a bracket that is never
closed (`[pan left`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
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

# A bracket ends at its `]`, or unclosed at the next `[` or the end of the prompt.
_BRACKET: Final = re.compile(r"\[([^\[\]]*)(\]?)")
_JOINT: Final = r"[\s_;/+&|\u2010-\u2015\u2212-]+"
_FORM: Final = re.compile(rf"[A-Za-z]+(?:{_JOINT}[A-Za-z]+){{0,3}}[\s.!?:;\u2026]*")
_MAX_CHARS: Final = 40
_WORD: Final = re.compile(r"[^\W_]+")
# Above it lie a slip or two of the finger; below it other words (`snake` and `shake`, `statue` and `static`).
_ALIKE: Final = 0.81
_SLIPS: Final = 3


def _forms(*verbs: str) -> dict[str, str]:
    """Every form of the verbs that stands in prompts (`pan`, `pans`, `panning`), with its verb."""
    return {
        form: verb
        for verb in verbs
        for form in (verb, f"{verb}s", f"{verb.removesuffix('e')}ing", f"{verb}{verb[-1]}ing")
    }


# What moves a camera: in this model's words, and in those that people bring along from film sets and other models.
_MOVEMENTS: Final = _forms(
    *sorted({instruction.split()[0] for instruction in INSTRUCTIONS}), "camera", "dolly", "orbit", "rotate", "pedestal"
)
# These are things as well (`[red truck]`), and movements only where they come first (`[truck left]`).
_MOVEMENTS_IF_FIRST: Final = _forms("arc", "crane", "jib", "roll", "spin", "track", "truck")
_MOVEMENT_OF: Final = _MOVEMENTS | _MOVEMENTS_IF_FIRST
# What others call what this model can do, the more exact before the less.
_CALLED_ELSEWHERE: Final = (
    *((f"{word} {way}", "pull back") for word in ("dolly", "push", "pull") for way in ("out", "back", "away")),
    *((f"{word} up", "rise") for word in ("crane", "jib", "pedestal")),
    *((f"{word} down", "lower") for word in ("crane", "jib", "pedestal")),
    *((f"{word} {way}", f"pan {way}") for word in ("truck", "track", "arc", "orbit") for way in ("left", "right")),
    ("dolly", "push in"),
    ("track", "follow"),
    ("orbit", "pan right"),
)


@dataclass(frozen=True, slots=True)
class Bracket:
    """One bracket of instructions: the known ones, and what was written in place of one."""

    known: tuple[str, ...]
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mention:
    """The known instructions whose words stand in a bracket that is text; `closed` is whether the bracket ends."""

    words: tuple[str, ...]
    closed: bool


def instructions(prompt: str) -> tuple[tuple[str, ...], ...]:
    """The known instructions of a prompt: in sequence, and within each step (`[tilt left, rise]`) acting together."""
    return tuple(found.known for found in read(prompt) if isinstance(found, Bracket) and found.known)


def nearest(part: str, known: Set[str] = INSTRUCTIONS) -> str:
    """The known instruction to propose for `part`: what others call so, else the one that shares most words with it,
    and of those the one that is spelt most like it."""
    words = [_MOVEMENT_OF.get(word, word) for word in _WORD.findall(part[:_MAX_CHARS].lower())]
    for phrase, ours in _CALLED_ELSEWHERE:
        if ours in known and set(phrase.split()) <= set(words):
            return ours
    text = " ".join(words)

    def likeness(instruction: str) -> tuple[int, float]:
        return len(set(instruction.split()) & set(words)), SequenceMatcher(None, instruction, text).ratio()

    return max(sorted(known), key=likeness)


def read(prompt: str, known: Set[str] = INSTRUCTIONS) -> Iterator[Bracket | Mention]:
    """The brackets of a prompt that hold instructions, and those that only mention some, in order."""
    if "[" not in prompt or not known:
        return
    for match in _BRACKET.finditer(prompt):
        text, closed = match[1], bool(match[2])
        parts = [part for raw in text.lower().split(",") if (part := " ".join(raw.split()))]
        if closed and _holds_instructions(parts, known):
            yield Bracket(
                tuple([part for part in parts if part in known]), tuple([part for part in parts if part not in known])
            )
        elif words := _mentioned(text, known):
            yield Mention(words, closed)


def _holds_instructions(parts: list[str], known: Set[str]) -> bool:
    if not known.isdisjoint(parts):
        return True
    in_form = all(len(part) <= _MAX_CHARS and _FORM.fullmatch(part) for part in parts)
    return in_form and any(_resembles_an_instruction(_WORD.findall(part), known) for part in parts)


def _resembles_an_instruction(words: list[str], known: Set[str]) -> bool:
    if words[0] in _MOVEMENTS_IF_FIRST or any(word in _MOVEMENTS for word in words):
        return True
    text = " ".join(words)
    # A slip seldom takes the first letter, and other words differ in it (`flower`, `[man left]`, `[room in]`).
    begins_alike = [
        each
        for each in known
        if (text[0] == each[0] or text[:2] == each[1::-1]) and abs(len(text) - len(each)) <= _SLIPS
    ]
    return bool(begins_alike and get_close_matches(text, begins_alike, n=1, cutoff=_ALIKE))


def _mentioned(text: str, known: Set[str]) -> tuple[str, ...]:
    spaced = f" {' '.join(_WORD.findall(text.lower()))} "
    places = {instruction: spaced.find(f" {instruction} ") for instruction in known}
    return tuple(sorted((each for each, at in places.items() if at >= 0), key=places.__getitem__))
