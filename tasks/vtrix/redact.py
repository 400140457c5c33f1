"""The provider's sentences made fit for people and logs: short, plain, without secrets. Refuses any URL's query."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

MESSAGE_LIMIT: Final = 500
_READ_LIMIT: Final = 4_000
_RAW_LIMIT: Final = 20_000
_SHORTEST_HIDDEN: Final = 4
"""Text to hide that is shorter than this would tear holes into innocent words."""
_LONGEST_HIDDEN: Final = 2_100
"""No text to hide is longer: prompts have 2000 characters at most, URLs 2048."""

_DATA_URL: Final = re.compile(r"data:[\w.+-]*/?[\w.+;=-]{0,100},[^\s\"'<>]*", re.IGNORECASE)
_URL: Final = re.compile(
    r"\b([a-z][a-z0-9+.\-]{1,15}://)(?:[^\s/?#\"'<>@]*@)?([^\s?#\"'<>]*)(?:[?#][^\s\"'<>]*)?", re.IGNORECASE
)
# A host and path without a scheme can carry a signature too.
_QUERY: Final = re.compile(r"(?<=[\w/])\?[\w.%~+\-\[\]]+=[^\s\"'<>]*")
_BEARER: Final = re.compile(r"\b(bearer|basic)[\s:=]+[\w.~+/=\-]{4,}", re.IGNORECASE)
_KEY: Final = re.compile(r"\b(?:sk|pk|ak)[-_][\w.\-]{4,}", re.IGNORECASE)
_LABELLED: Final = re.compile(
    r"\b(api[\s_-]?key|access[\s_-]?key|secret|token|signature|authorization)(\"?'?\s{0,3}[:=]\s{0,3}\"?'?)[\w.~+/=\-]{8,}",
    re.IGNORECASE,
)
# A passage in quotation marks this long is what somebody wrote, not what the provider says about it.
_QUOTED: Final = re.compile(
    r"\"[^\"]{41,}(?:\"|$)|“[^”]{41,}(?:”|$)|‘[^’]{41,}(?:’|$)|(?<!\w)'(?:[^']|(?<=\w)'(?=\w)){41,}(?:'|$)"
)
_AFTER_PROMPT: Final = re.compile(r"(\bprompt[\"']?\s{0,3}[:=]\s{0,3}).{61,}", re.IGNORECASE)


def readable(text: str, hide: Iterable[str] = ()) -> str:
    """One line of at most 500 characters, printable, in which secrets and what people wrote are replaced by `…`.

    `hide` names what must not appear literally: the key, the prompt. Beside that, queries and user parts of URLs, data
    URLs, bearer tokens, keys, and long quotations (prompts, most likely) are removed.
    """
    line = beginning(text, _RAW_LIMIT)
    for secret in sorted((one_line(s) for s in hide), key=len, reverse=True):
        if len(secret) >= _SHORTEST_HIDDEN:
            line = line.replace(secret, "…")
    line = line[:_READ_LIMIT]
    line = _DATA_URL.sub("data:…", line)
    line = _URL.sub(r"\1\2", line)
    line = _QUERY.sub("?…", line)
    line = _BEARER.sub(r"\1 …", line)
    line = _KEY.sub("…", line)
    line = _LABELLED.sub(r"\1\2…", line)
    line = _QUOTED.sub("“…”", line)
    line = _AFTER_PROMPT.sub(r"\1…", line)
    return line if len(line) <= MESSAGE_LIMIT else line[: MESSAGE_LIMIT - 1] + "…"


def without(sentence: str, text: str) -> str:
    """A sentence that `readable` gave, and in it no `text` that it had not been told of: neither the whole, also as
    `readable` leaves it, nor the beginning of it with which a sentence was cut off."""
    whole, was_cut = one_line(text), len(sentence) == MESSAGE_LIMIT and sentence.endswith("…")
    for hidden in (whole, readable(text)):
        if len(hidden) >= _SHORTEST_HIDDEN:
            sentence = sentence.replace(hidden, "…")
    if was_cut:
        said = sentence.rstrip("…")
        begun = max((n for n in range(_SHORTEST_HIDDEN, len(whole)) if said.endswith(whole[:n])), default=0)
        sentence = said[: len(said) - begun] + "…"
    return sentence


def beginning(text: str, limit: int) -> str:
    """One line of the first `limit` characters. A text that has more loses the end of that line as well: half a secret
    could stand there, which is as bad as a whole one and which no comparison finds."""
    line = one_line(text[:limit])
    return line if len(text) <= limit else line[:-_LONGEST_HIDDEN]


def one_line(text: str) -> str:
    """The text without control, format, surrogate and private characters, white space collapsed to single spaces."""
    kept = (" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    return " ".join("".join(kept).split())
