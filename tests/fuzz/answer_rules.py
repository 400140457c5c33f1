"""What must hold for any reply, whatever its bytes: the rules on which money hangs, stated a second time.

Reads the JSON by itself (`tests.fuzz.rereading`). Refuses to call anything of `tasks.vtrix` but the two functions under
test.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from decimal import Decimal

from tasks.domain import answers as a
from tasks.domain.creating import Verdict, judge
from tasks.domain.looking import Fail, Finish, PollAgain, decide
from tasks.domain.polling import PollPolicy
from tasks.domain.prices import Price, price_of
from tasks.vtrix import outcomes
from tests.fuzz.answers import CALLBACK, KEY, PROMPT, SIGNED, TASK_ID, AnswerCase
from tests.fuzz.broken import Broken, require
from tests.fuzz.rereading import (
    MAX_CHARGE,
    Members,
    amount_of,
    contradicts,
    ids_in,
    is_error,
    is_listed,
    is_no_id,
    looks_like_an_id,
    number_of,
    reread,
    task_in,
    usable_id,
    word_of,
)

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
ESTIMATE = Decimal("0.56")
POLICY = PollPolicy()
RETRY_S, PAUSE_S = 10.0, 300.0
LONGEST_WAIT_S = 3600.0

SAYS_NOTHING = {408, 409, 425, 499}
AT_WORK = {"in_progress", "processing"}
DONE = {"completed", "done"}

REFUSALS = (a.Rejected, a.KeyRefused, a.Throttled, a.Unsent)


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


# --- create ---------------------------------------------------------------------------------------------------------


def _check_create(case: AnswerCase, doc: Members | None, outcome: a.CreateOutcome) -> None:
    definite = 200 <= case.status < 300
    named = [] if doc is None else ids_in(doc)
    usable = {text for text in map(usable_id, named) if text}
    require(not isinstance(outcome, a.Unsent), "wrong_outcome", "a create that was answered was sent")
    if isinstance(outcome, a.Accepted):
        require(definite, "wrong_outcome", "only a 2xx accepts")
        told = None if doc is None or contradicts(doc) else usable_id(task_in(doc).get("id"))
        require(told == outcome.provider_task_id, "wrong_outcome", "an accepted id is the one that the body names")
    elif doc is not None and definite and len(usable) == 1 and all(map(usable_id, named)) and not contradicts(doc):
        raise Broken("wrong_outcome", "a 2xx with one usable id is a task that we pay for")
    if isinstance(outcome, REFUSALS):
        require(not usable, "wrong_outcome", "a reply that names a task is no refusal")
        require(doc is not None or not looks_like_an_id(case.body), "wrong_outcome", "nor is a torn one that does")
        require(_says_no(case.status, doc), "wrong_outcome", "a refusal needs a definite no")
    verdict = judge(outcome, RETRY_S, PAUSE_S)
    for wait_s in (verdict.retry_after_s, verdict.pause_key_s):
        require(wait_s is None or 0 <= wait_s <= LONGEST_WAIT_S, "stuck", "a wait is finite and bounded")
    _check_texts(outcome, verdict, secrets=(KEY, PROMPT, CALLBACK, SIGNED), body=case.body)
    if verdict.provider_task_id is not None:
        require(len(verdict.provider_task_id) <= 255, "unstorable", "an id fits its column")


def _says_no(status: int, doc: Members | None) -> bool:
    if status in SAYS_NOTHING:
        return False
    task = {} if doc is None else task_in(doc)
    if word_of(task.get("status")) in AT_WORK | DONE:
        return False
    if 400 <= status < 500:
        return True
    if not 200 <= status < 300 or doc is None:
        return False
    envelope = doc.get("status")
    if isinstance(envelope, dict):
        number = number_of(envelope.get("code"))
        if number is not None and 400 <= number < 600:
            return int(number) < 500 and int(number) not in SAYS_NOTHING
        if is_listed(envelope.get("code")):
            return True
    return is_error(task.get("error")) or is_listed(task.get("code"))


# --- poll -----------------------------------------------------------------------------------------------------------


def _check_poll(case: AnswerCase, doc: Members | None, answer: a.PollAnswer) -> None:
    definite = 200 <= case.status < 300
    task = {} if doc is None else task_in(doc)
    word = word_of(task.get("status"))
    ours = doc is not None and not contradicts(doc) and all(usable_id(value) == TASK_ID for value in ids_in(doc))
    ended = isinstance(answer, a.Completed | a.Failed)
    if ended:
        require(definite and doc is not None, "wrong_outcome", "only a readable 2xx ends a job")
        require(word in (DONE if isinstance(answer, a.Completed) else {"failed"}), "wrong_outcome", "by its own word")
        require(
            usable_id(task.get("id")) == TASK_ID or is_no_id(task.get("id")),
            "wrong_outcome",
            "and it is about our task",
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
    usage = task_in(doc or Members([])).get("usage")
    kind, amount = amount_of(usage.get("cost") if isinstance(usage, dict) else None)
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
