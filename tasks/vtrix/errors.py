"""The provider's error codes: one table with their names and what each asks of us. Refuses to guess about others.

Source: the provider's API reference for minimax_hailuo_02_i2v (nine-digit codes) and the documentation of the model
behind it (four-digit codes, which can surface in errors and inside messages).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

UNKNOWN_CODE: Final = "unknown"


class Reaction(StrEnum):
    """What an error code asks of us, on a create that was refused. A task that failed is final whatever its code."""

    FAIL_JOB = "fail_job"
    """Fail the job. The same request may succeed when submitted anew; that is its owner's choice: it costs again."""
    FAIL_REQUEST = "fail_request"
    """Fail the job: the same request will be refused again. It has to be changed."""
    PAUSE_KEY = "pause_key"
    """Keep the job, pause the key: the fault is the key's or the account's."""
    SLOW_DOWN = "slow_down"
    """Keep the job, try again later: too many requests on this key."""


@dataclass(frozen=True, slots=True)
class ProviderCode:
    """One error code: `code` as shown everywhere, a stable `name`, its `meaning` for people, and the `reaction`."""

    code: str
    name: str
    meaning: str
    reaction: Reaction


CODES: Final = (
    ProviderCode("010004095", "internal_generation_error", "Internal generation error.", Reaction.FAIL_JOB),
    ProviderCode("010004096", "result_parsing_error", "The provider could not parse its result.", Reaction.FAIL_JOB),
    ProviderCode(
        "010004097", "http_error_response", "The provider's backend answered with an error.", Reaction.FAIL_JOB
    ),
    ProviderCode(
        "010004098", "status_check_error", "The provider could not check the task's state.", Reaction.FAIL_JOB
    ),
    ProviderCode("010004099", "task_creation_error", "The provider could not create the task.", Reaction.FAIL_JOB),
    ProviderCode("1002", "rate_limit", "Rate limit reached.", Reaction.SLOW_DOWN),
    ProviderCode("1004", "not_authorised", "The key is not authorised.", Reaction.PAUSE_KEY),
    ProviderCode("1008", "insufficient_balance", "The account's balance is too low.", Reaction.PAUSE_KEY),
    ProviderCode("1026", "input_sensitive", "The input was judged sensitive.", Reaction.FAIL_REQUEST),
    ProviderCode("1027", "output_sensitive", "The output was judged sensitive.", Reaction.FAIL_REQUEST),
    ProviderCode("1033", "system_error", "System error at the provider.", Reaction.FAIL_JOB),
    ProviderCode("1039", "token_limit", "Token limit reached.", Reaction.SLOW_DOWN),
    ProviderCode("1041", "connection_limit", "Connection limit reached.", Reaction.SLOW_DOWN),
    ProviderCode("2013", "bad_parameters", "The parameters are invalid.", Reaction.FAIL_REQUEST),
    ProviderCode("2049", "bad_key", "The key is invalid.", Reaction.PAUSE_KEY),
)

_BY_NUMBER: Final = {int(entry.code): entry for entry in CODES}
_FOUR_DIGITS: Final = "|".join(entry.code for entry in CODES if len(entry.code) == 4)

# A number alone proves nothing ("a width of 1004 px"): it has to stand where a code stands.
_CODE_IN_MESSAGE: Final = re.compile(
    rf"""(?:\b(?:code|error|errno|status_code)\b["']?\s{{0,3}}[:=\#]?\s{{0,3}}   # error code: 1008
        |^[\[(]?(?=\d{{4}}[\])]?\s?[:,\-–])                                     # [1008]: ...
        |[(\[](?=\d{{4}}[)\]])                                                  # ... (1008)
        )({_FOUR_DIGITS})(?!\w|\.\d)""",
    re.IGNORECASE | re.VERBOSE,
)
_KEY_PHRASES: Final = re.compile(
    r"\binsufficient\s+(?:account\s+)?(?:balance|credits?|funds)\b|\b(?:invalid|missing|expired|incorrect)\s+api[\s_-]?key\b",
    re.IGNORECASE,
)


def normalise(code: object) -> str:
    """The one spelling of a code that came as an integer or as text with or without leading zeros.

    Known codes become their table spelling (nine digits for the reference's five); others stay as short plain text;
    what is no code at all becomes `"unknown"`.
    """
    text = _plain(code)
    if re.fullmatch(r"[0-9]{1,18}", text) and int(text) in _BY_NUMBER:
        return _BY_NUMBER[int(text)].code
    return text if re.fullmatch(r"[A-Za-z0-9_.\-]{1,64}", text) else UNKNOWN_CODE


def describe(code: object) -> ProviderCode:
    """The table's entry for a code in any spelling; for an unlisted one an entry that fails the job."""
    spelled = normalise(code)
    known = _BY_NUMBER.get(int(spelled)) if re.fullmatch(r"[0-9]{1,18}", spelled) else None
    return known or ProviderCode(spelled, UNKNOWN_CODE, "The provider reported an error.", Reaction.FAIL_JOB)


def reaction_to(code: str, message: str) -> Reaction:
    """What a refusal asks of us: by its code, by a four-digit code inside its message, or by words about the key."""
    if len(code) == 4 and code.isascii() and code.isdigit() and int(code) in _BY_NUMBER:
        return describe(code).reaction
    head = message[:500]
    inside = _CODE_IN_MESSAGE.search(head)
    if inside:
        return describe(inside.group(1)).reaction
    if _KEY_PHRASES.search(head):
        return Reaction.PAUSE_KEY
    return describe(code).reaction


def _plain(code: object) -> str:
    match code:
        case bool():
            return ""
        case int():
            return str(code) if abs(code) < 10**18 else ""
        # Compared, not computed with: `abs` of a number with an immense exponent raises.
        case Decimal() if code.is_finite() and -(10**18) < code < 10**18 and code == code.to_integral_value():
            return str(int(code))
        case str():
            return code.strip()
        case _:
            return ""
