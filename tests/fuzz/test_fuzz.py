"""A small share of `make fuzz`, and the proof that it notices: each guard that is taken away is missed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import fields, requests, rules, urls, wording
from tasks.domain import prices, retry_after
from tasks.domain.answers import Completed, Running
from tasks.vtrix import outcomes, redact, wire
from tests.fuzz.answer_rules import check_answer
from tests.fuzz.answers import COSTS, IDS, RETRY_AFTER, STATUSES, WORDS, AnswerCase
from tests.fuzz.images import PRIVATE
from tests.fuzz.request_rules import check_request
from tests.fuzz.requests import OFFERS, RequestCase
from tests.fuzz.run import OUTCOMES, replay, run, shrunk
from tests.fuzz.values import Raw, written

SEED = 1


@pytest.mark.parametrize(("subject", "count"), [("answer", 8_000), ("request", 1_200)])
def test_every_outcome_is_reached_and_no_rule_is_broken(subject, count):
    result = run(subject, count, SEED)
    assert not result.findings
    assert OUTCOMES[subject] <= set(result.seen)


def test_a_seed_gives_the_same_cases_again():
    assert run("answer", 300, 7).seen == run("answer", 300, 7).seen != run("answer", 300, 8).seen


# --- values that hypothesis makes up --------------------------------------------------------------------------------

_SETTINGS = settings(max_examples=150, derandomize=True, database=None)
_NAMES = ("id", "status", "data", "error", "code", "message", "error_code", "usage", "cost", "discount", "output")
_NAMES += ("content", "type", "url", "duration", "progress", "metadata")
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
_SCALARS |= st.sampled_from([each for each in (*IDS, *WORDS, *COSTS) if not isinstance(each, Raw)])


def _trees(names: tuple[str, ...]) -> st.SearchStrategy[Any]:
    keys = st.sampled_from(names) | st.text(max_size=5)
    return st.recursive(
        _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=6), max_leaves=15
    )


@_SETTINGS
@given(
    members=st.dictionaries(st.sampled_from(_NAMES), _trees(_NAMES), max_size=8),
    status=st.sampled_from(STATUSES),
    retry_after=st.none() | st.sampled_from(RETRY_AFTER) | st.text(max_size=30),
)
def test_no_made_up_answer_breaks_a_rule(members, status, retry_after):
    check_answer(AnswerCase(status, written(members).encode(), retry_after))


@_SETTINGS
@given(body=st.binary(max_size=300), status=st.sampled_from(STATUSES))
def test_no_bytes_as_an_answer_break_a_rule(body, status):
    check_answer(AnswerCase(status, body))


@_SETTINGS
@given(
    members=st.fixed_dictionaries(
        {"model": st.sampled_from([*OFFERS])},
        optional={
            "first_frame_image": st.just("https://pictures.example/a.jpg"),
            "fast_pretreatment": _SCALARS,
            "prompt": st.text(alphabet="[],pan leftzoomi\x00\ud800猫", max_size=80) | _SCALARS,
            "callback_url": st.sampled_from(PRIVATE).map("https://{}/".format)
            | st.text(max_size=60).map("http://".__add__),
            "duration": st.sampled_from((6, 10)) | _SCALARS,
            "resolution": st.sampled_from(("512p", "720P", "768P", "1080P")) | _SCALARS,
            "metadata": st.dictionaries(st.text(max_size=9), _trees(("a", "b")), max_size=5) | _SCALARS,
            "tenant": _SCALARS,
            "idempotency_key": _SCALARS,
            "priority": _SCALARS,
            "deadline_s": _SCALARS,
            "max_cost_usd": _SCALARS,
            "last_frame_image": _SCALARS,
        },
    )
)
def test_no_made_up_request_breaks_a_rule(members):
    check_request(RequestCase(json.dumps(members).encode()))


# --- the proof that it notices --------------------------------------------------------------------------------------


def _negative_money(monkeypatch):
    real = wire.money
    monkeypatch.setattr(
        wire, "money", lambda value: number if (number := wire._decimal(value) or 0) < 0 else real(value)
    )


def _float_money(monkeypatch):
    monkeypatch.setattr(prices, "MICRO_USD", prices.Decimal("0.01"))


def _refusals_with_an_id(monkeypatch):
    monkeypatch.setattr(outcomes, "_has_id", lambda _answer: False)


def _refusals_with_a_torn_id(monkeypatch):
    monkeypatch.setattr(outcomes, "may_hold_id", lambda _body: False)


def _accepted_without_an_id(monkeypatch):
    monkeypatch.setattr(wire, "_ID", wire.re.compile(r".*", wire.re.DOTALL))


def _unknown_words_complete(monkeypatch):
    real = outcomes.poll_answer

    def poll_answer(*args, **kwargs):
        answer = real(*args, **kwargs)
        return Completed(()) if isinstance(answer, Running) and not answer.status_known else answer

    monkeypatch.setattr(outcomes, "poll_answer", poll_answer)


def _unknown_creates_go_back(monkeypatch):
    monkeypatch.setattr(outcomes, "_NO_ANSWER_4XX", frozenset())


def _completed_runs_on(monkeypatch):
    monkeypatch.setattr(outcomes, "_COMPLETED", frozenset({"completed"}))


def _waits_without_end(monkeypatch):
    monkeypatch.setattr(retry_after, "MAX_RETRY_AFTER_S", float("1e300"))


def _messages_as_they_came(monkeypatch):
    monkeypatch.setattr(outcomes, "readable", lambda text, _hide: redact.one_line(text)[:500])


def _nothing_hidden(monkeypatch):
    monkeypatch.setattr(redact, "_LONGEST_HIDDEN", 0)
    monkeypatch.setattr(redact, "beginning", lambda text, limit: redact.one_line(text[:limit]))
    monkeypatch.setattr(wire, "beginning", redact.beginning)


def _characters_as_they_came(monkeypatch):
    monkeypatch.setattr(wire, "plain", lambda value: value)


def _raising_codes(monkeypatch):
    monkeypatch.setattr(wire, "normalise", lambda code: str(abs(code)) if isinstance(code, wire.Decimal) else "unknown")


def _anything_offered(monkeypatch):
    monkeypatch.setattr(rules, "_offer_problems", lambda *_args, **_kwargs: iter(()))


def _any_prompt(monkeypatch):
    monkeypatch.setattr(rules, "_prompt_problems", lambda *_args: iter(()))


def _any_field(monkeypatch):
    monkeypatch.setattr(rules, "MODEL_FIELDS", ())


def _any_text(monkeypatch):
    monkeypatch.setattr(fields, "text_problem", lambda _text: None)


def _any_address(monkeypatch):
    monkeypatch.setattr(urls, "_reached", lambda address: address)


def _whole_values_in_messages(monkeypatch):
    monkeypatch.setattr(wording, "_SHOWN_CHARS", 10**9)


def _problems_without_end(monkeypatch):
    monkeypatch.setattr(requests, "MAX_PROBLEMS", 10**9)


def _fingerprint_of_the_form(monkeypatch):
    monkeypatch.setattr(
        requests.GenerationRequest,
        "fingerprint",
        lambda self: requests.hashlib.sha256(self.to_json().encode()).hexdigest(),
    )


MUTANTS = [
    (_negative_money, "answer", "wrong_charge"),
    (_float_money, "answer", "wrong_charge"),
    (_refusals_with_an_id, "answer", "wrong_outcome"),
    (_refusals_with_a_torn_id, "answer", "wrong_outcome"),
    (_accepted_without_an_id, "answer", "wrong_outcome"),
    (_unknown_words_complete, "answer", "wrong_outcome"),
    (_unknown_creates_go_back, "answer", "wrong_outcome"),
    (_completed_runs_on, "answer", "stuck"),
    (_waits_without_end, "answer", "stuck"),
    (_messages_as_they_came, "answer", "leak"),
    (_nothing_hidden, "answer", "leak"),
    (_characters_as_they_came, "answer", "unstorable"),
    (_raising_codes, "answer", "crash"),
    (_anything_offered, "request", "wrong_outcome"),
    (_any_prompt, "request", "wrong_outcome"),
    (_any_field, "request", "wrong_outcome"),
    (_any_text, "request", "wrong_outcome"),
    (_any_address, "request", "wrong_outcome"),
    (_whole_values_in_messages, "request", "unstorable"),
    (_problems_without_end, "request", "unstorable"),
    (_fingerprint_of_the_form, "request", "unstorable"),
]


@pytest.mark.parametrize(("take_away", "subject", "kind"), MUTANTS, ids=lambda value: getattr(value, "__name__", None))
def test_a_guard_that_is_taken_away_is_missed(monkeypatch, take_away, subject, kind):
    take_away(monkeypatch)
    result = run(subject, 20_000, SEED, until_broken=True)
    assert set(result.broken) == {kind}


def test_a_broken_rule_is_saved_small_and_can_be_replayed(monkeypatch, tmp_path):
    _unknown_words_complete(monkeypatch)
    (found,) = run("answer", 5_000, SEED, until_broken=True).findings.values()
    small = shrunk(found)
    assert small.case.size() < found.case.size()
    path = small.save(tmp_path)
    assert replay(path) == (found.kind, found.reason)
    monkeypatch.undo()
    assert isinstance(replay(path), list)
