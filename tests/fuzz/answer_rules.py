"""What must hold for any reply, whatever its bytes: the rules on which money hangs, stated a second time.

Owns its own reading of the JSON, so that a mistake of the product's reader is no mistake here. Refuses to call anything
of `tasks.vtrix` but the two functions under test.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tasks.domain import answers as a
from tasks.domain.creating import Verdict, judge
from tasks.domain.looking import Fail, Finish, PollAgain, decide
from tasks.domain.polling import PollPolicy
from tasks.domain.prices import Price, price_of
from tasks.vtrix import outcomes
from tests.fuzz.answers import CALLBACK, KEY, PROMPT, SIGNED, TASK_ID, AnswerCase
from tests.fuzz.broken import Broken, require

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
ESTIMATE = Decimal("0.56")
POLICY = PollPolicy()
RETRY_S, PAUSE_S = 10.0, 300.0
LONGEST_WAIT_S = 3600.0
MAX_CHARGE = 1_000_000

LISTED = {10004095, 10004096, 10004097, 10004098, 10004099, 1002, 1004, 1008, 1026, 1027, 1033, 1039, 1041, 2013, 2049}
SAYS_NOTHING = {408, 409, 425, 499}
AT_WORK = {"in_progress", "processing"}
DONE = {"completed", "done"}

REFUSALS = (a.Rejected, a.KeyRefused, a.Throttled, a.Unsent)


class Num(str):
    """A JSON number as it was written."""

    __slots__ = ()


class Members(dict):
    """A JSON object; `pairs` has also what a later member of the same name hides."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def check_answer(case: AnswerCase) -> list[str]:
    """The classes of what the reply meant to a create and to a poll. Raises `Broken` when a rule does not hold."""
    reply = outcomes.Reply(case.status, case.body, case.retry_after)
    doc = reread(case.body)
    created = outcomes.create_outcome(reply, now=NOW, hide=(KEY, PROMPT, CALLBACK))
    _check_create(case, doc, created)
    polled = outcomes.poll_answer(reply, TASK_ID, now=NOW, hide=(KEY,))
    _check_poll(case, doc, polled)
    charged = _check_money(doc, polled)
    return [f"create {type(created).__name__}", f"poll {type(polled).__name__}", f"charge {charged}"]


def reread(body: bytes) -> Members | None:
    """The object in the bytes, or `None`."""
    try:
        doc = json.loads(body, parse_float=Num, parse_int=Num, parse_constant=Num, object_pairs_hook=Members)
    except (ValueError, RecursionError):
        return None
    return doc if isinstance(doc, Members) else None


# --- create ---------------------------------------------------------------------------------------------------------


def _check_create(case: AnswerCase, doc: Members | None, outcome: a.CreateOutcome) -> None:
    definite = 200 <= case.status < 300
    named = [] if doc is None else _ids(doc)
    usable = {text for text in map(_usable, named) if text}
    require(not isinstance(outcome, a.Unsent), "wrong_outcome", "a create that was answered was sent")
    if isinstance(outcome, a.Accepted):
        require(definite, "wrong_outcome", "only a 2xx accepts")
        told = None if doc is None or _contradicts(doc) else _usable(_task(doc).get("id"))
        require(told == outcome.provider_task_id, "wrong_outcome", "an accepted id is the one that the body names")
    elif doc is not None and definite and len(usable) == 1 and all(map(_usable, named)) and not _contradicts(doc):
        raise Broken("wrong_outcome", "a 2xx with one usable id is a task that we pay for")
    if isinstance(outcome, REFUSALS):
        require(not usable, "wrong_outcome", "a reply that names a task is no refusal")
        require(doc is not None or not _looks_like_an_id(case.body), "wrong_outcome", "nor is a torn one that does")
        require(_says_no(case.status, doc), "wrong_outcome", "a refusal needs a definite no")
    verdict = judge(outcome, RETRY_S, PAUSE_S)
    for wait_s in (verdict.retry_after_s, verdict.pause_key_s):
        require(wait_s is None or 0 <= wait_s <= LONGEST_WAIT_S, "stuck", "a wait is finite and bounded")
    _check_texts(outcome, verdict, secrets=(KEY, PROMPT, CALLBACK, SIGNED), body=case.body)
    if verdict.provider_task_id is not None:
        require(len(verdict.provider_task_id) <= 255, "unstorable", "an id fits its column")


def _ids(doc: Members) -> list[Any]:
    """Whatever stands in the place of the task's id, at the top or in `data`, but for what means that none is there."""
    holders = [doc, *(value for name, value in doc.pairs if name == "data" and isinstance(value, Members))]
    found = [value for holder in holders for name, value in holder.pairs if name == "id"]
    return [value for value in found if value is not None and value != ""]


def _contradicts(doc: Members) -> bool:
    """Whether what decides about the id stands there twice, and in two ways."""
    holders = [doc, *(value for name, value in doc.pairs if name == "data" and isinstance(value, Members))]
    pairs = [(holder[name], value) for holder in holders for name, value in holder.pairs if name in {"id", "data"}]
    return any(_plainly(last) != _plainly(value) for last, value in pairs)


def _plainly(value: Any) -> Any:
    """The value as a reader has it that keeps numbers as numbers: there `1`, `1.0` and `true` are equal."""
    number = Fraction(value) if isinstance(value, bool) else _number(value) if isinstance(value, Num) else None
    return value if number is None else number


def _usable(value: Any) -> str | None:
    """The id as a text that can stand in a URL's path, if it is one."""
    if isinstance(value, Num):
        return str(value) if re.fullmatch(r"[1-9][0-9]{0,29}", value) else None
    if not isinstance(value, str) or value in {".", ".."}:
        return None
    return value if 0 < len(value) <= 200 and all(33 <= ord(char) <= 126 for char in value) else None


def _looks_like_an_id(body: bytes) -> bool:
    return re.search(rb'"id"\s*:\s*("[!#-~]|[1-9])', body) is not None


def _says_no(status: int, doc: Members | None) -> bool:
    if status in SAYS_NOTHING:
        return False
    task = {} if doc is None else _task(doc)
    if _word(task.get("status")) in AT_WORK | DONE:
        return False
    if 400 <= status < 500:
        return True
    if not 200 <= status < 300 or doc is None:
        return False
    envelope = doc.get("status")
    if isinstance(envelope, dict):
        number = _number(envelope.get("code"))
        if number is not None and 400 <= number < 600:
            return int(number) < 500 and int(number) not in SAYS_NOTHING
        if _listed(envelope.get("code")):
            return True
    return _is_error(task.get("error")) or _listed(task.get("code"))


def _is_error(value: Any) -> bool:
    if isinstance(value, dict):
        return bool(value) and str(value.get("code")).strip() not in {"0", "200"}
    return isinstance(value, str) and not isinstance(value, Num) and _word(value) != ""


def _task(doc: Members) -> dict[str, Any]:
    """The task's own fields: those of `data` where it is wrapped, else the object itself."""
    inner = doc.get("data")
    wrapped = isinstance(inner, dict) and _no_id(doc.get("id"))
    return {**doc, **inner} if wrapped else dict(doc)


def _no_id(value: Any) -> bool:
    return value is None or value is False or value in ("", [], {}) or (isinstance(value, Num) and _number(value) == 0)


def _word(value: Any) -> str:
    if not isinstance(value, str) or isinstance(value, Num):
        return ""
    return "".join(char for char in value if char.isprintable()).strip().lower()


def _listed(value: Any) -> bool:
    number = _number(value)
    return number is not None and number in LISTED


def _number(value: Any) -> Fraction | None:
    """A numeral of reasonable size, as a JSON number or as text."""
    text = value.strip() if isinstance(value, str) else ""
    if len(text) > 200 or not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?", text):
        return None
    return Fraction(text)


# --- poll -----------------------------------------------------------------------------------------------------------


def _check_poll(case: AnswerCase, doc: Members | None, answer: a.PollAnswer) -> None:
    definite = 200 <= case.status < 300
    task = {} if doc is None else _task(doc)
    word = _word(task.get("status"))
    ours = doc is not None and not _contradicts(doc) and all(_usable(value) == TASK_ID for value in _ids(doc))
    ended = isinstance(answer, a.Completed | a.Failed)
    if ended:
        require(definite and doc is not None, "wrong_outcome", "only a readable 2xx ends a job")
        require(word in (DONE if isinstance(answer, a.Completed) else {"failed"}), "wrong_outcome", "by its own word")
        require(
            _usable(task.get("id")) == TASK_ID or _no_id(task.get("id")), "wrong_outcome", "and it is about our task"
        )
    elif definite and word in DONE | {"failed"} and ours:
        raise Broken("stuck", "a task that says that it has ended ends the job")
    if isinstance(answer, a.Running):
        require(definite, "wrong_outcome", "only a 2xx tells that a task runs")
        require(answer.progress is None or 0 <= answer.progress <= 1, "wrong_outcome", "progress is a share")
    if isinstance(answer, a.NotFound):
        require(case.status == 404 or (definite and doc is not None), "wrong_outcome", "a 404 says so")
    decision = decide(answer, POLICY, age_s=60.0, polls=3, spread=0.5)
    require(isinstance(decision, Finish | Fail) == ended, "wrong_outcome", "only a final answer ends a job")
    if isinstance(decision, PollAgain):
        require(0 < decision.delay_s <= LONGEST_WAIT_S, "stuck", "the next look comes")
    # A poll has no prompt to hide: what it repeats of one is bounded, and never holds a key or the query of a URL.
    _check_texts(answer, decision, secrets=(KEY, CALLBACK, SIGNED), body=case.body)


# --- money ----------------------------------------------------------------------------------------------------------


def _check_money(doc: Members | None, answer: a.PollAnswer) -> str:
    """What is charged and kept for a final answer: `reported`, `estimated` or `none`."""
    if not isinstance(answer, a.Completed | a.Failed):
        return "none"
    final = a.FinalAnswer.of(a.Completed(getattr(answer, "outputs", ()), answer.usage, answer.metadata))
    _check_stored(final)
    usage = _task(doc or Members([])).get("usage")
    kind, amount = _amount(usage.get("cost") if isinstance(usage, dict) else None)
    # The charge is made from what was stored, not from what was read.
    kept = a.FinalAnswer.from_json(json.loads(json.dumps(final.to_json())))
    if isinstance(answer, a.Failed) and not kept.usage.cost_usd:
        require(kind != "plain" or amount == 0, "wrong_charge", "what a failure cost is charged")
        return "none"
    price = price_of(kept.usage, ESTIMATE)
    require(not (isinstance(answer, a.Failed) and kind == "none"), "wrong_charge", "a failure without a cost is free")
    _check_price(price)
    reported = None if amount is None else Decimal(round(amount * 10**6)).scaleb(-6)
    if kind == "plain":
        require(
            not price.estimated and price.amount_usd == reported, "wrong_charge", "a plain cost is charged as it is"
        )
    elif kind == "none":
        require(price.estimated and price.amount_usd == ESTIMATE, "wrong_charge", "no cost is charged by estimate")
    else:
        require(price.estimated or price.amount_usd == reported, "wrong_charge", "an odd cost is exact or an estimate")
    return "estimated" if price.estimated else "reported"


def _amount(value: Any) -> tuple[str, Fraction | None]:
    """`plain` for an amount that anybody would read so, `none` for what is none, `odd` for what may be either."""
    text = value.strip() if isinstance(value, str) else ""
    numeral = re.fullmatch(r"([+-]?)([0-9]*)\.?([0-9]*)(?:[eE]([+-]?[0-9]+))?", text)
    if numeral is None or not numeral[2] + numeral[3]:
        return "none", None
    if not (numeral[2] + numeral[3]).strip("0"):
        return ("odd" if numeral[1] or numeral[4] or len(text) > 20 else "plain"), Fraction(0)
    if numeral[1] == "-":
        return "none", None
    if len(text) > 200 or abs(int((numeral[4] or "0")[:10])) > 100:
        return "odd", Fraction(0)  # beyond all amounts, or far below the smallest
    amount = Fraction(text)
    if amount > MAX_CHARGE:
        return "none", None
    plain = re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,20})?", text) is not None
    return ("plain" if plain else "odd"), amount


def _check_price(price: Price) -> None:
    amount = price.amount_usd
    require(amount.is_finite() and 0 <= amount <= MAX_CHARGE, "wrong_charge", "a charge is from 0 to the limit")
    micro = amount * 1_000_000
    require(micro == int(micro), "wrong_charge", "a charge is no finer than a millionth")


# --- what is stored and said ----------------------------------------------------------------------------------------


def _check_stored(final: a.FinalAnswer) -> None:
    stored = final.to_json()
    try:
        text = json.dumps(stored, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError) as error:
        raise Broken("unstorable", "a final answer is JSON of finite numbers and whole characters") from error
    require("\\u0000" not in text and "\x00" not in text, "unstorable", "PostgreSQL takes no NUL")
    back = a.FinalAnswer.from_json(json.loads(text))
    require(back == final and back.to_json() == stored, "unstorable", "a stored answer is read as it was written")
    for value in (final.usage.cost_usd, final.usage.discount):
        require(value is None or (value.is_finite() and value >= 0), "wrong_charge", "amounts are finite, not negative")
    for output in final.outputs:
        require(output.duration_s is None or math.isfinite(output.duration_s), "unstorable", "durations are finite")
        require(len(output.type) <= 64, "unstorable", "a kind of output fits its column")


def _check_texts(*values: object, secrets: tuple[str, ...], body: bytes) -> None:
    for value in values:
        limits = {"code": 64, "error_code": 64, "message": 500, "reason": 600, "alarm": 600}
        for name, limit in limits.items():
            text = getattr(value, name, None)
            if text is not None:
                require(text.isprintable() and len(text) <= limit, "unstorable", f"{name} is short and printable")
                _check_secrets(text, secrets, body)
    verdicts = [value for value in values if isinstance(value, Verdict)]
    require(all(len(verdict.outcome) <= 16 for verdict in verdicts), "unstorable", "an outcome fits its column")


def _check_secrets(text: str, secrets: tuple[str, ...], body: bytes) -> None:
    for secret in secrets:
        # Of a URL its query is secret; of the rest a long enough beginning is as bad as the whole.
        told = secret.rpartition("=")[2] if "=" in secret else secret
        if told[:9] in text and not _garbled(told, body):
            raise Broken("leak", "no message holds a key, a prompt or the query of a URL")


def _garbled(secret: str, body: bytes) -> bool:
    """Whether the secret stands in the reply in a spoilt form as well, which no comparison can be asked to find."""
    doc = reread(body)
    text = body.decode("utf-8", "replace") if doc is None else json.dumps(doc, ensure_ascii=False)
    line = " ".join("".join(c if c.isprintable() else " " * c.isspace() for c in _unescaped(text)).split())
    return line.count(secret[:9]) > line.count(secret)


def _unescaped(text: str) -> str:
    return re.sub(r"\\[nrtbf]", " ", re.sub(r"\\u0000", "", text))
