"""The table of provider codes, and the spellings in which codes come."""

from decimal import Decimal

import pytest

from tasks.vtrix.errors import CODES, Reaction, describe, normalise, reaction_to


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (10004095, "internal_generation_error"),
        (10004096, "result_parsing_error"),
        (10004097, "http_error_response"),
        (10004098, "status_check_error"),
        (10004099, "task_creation_error"),
    ],
)
def test_reference_code_is_known_in_every_spelling(code, name):
    for spelling in (code, str(code), f"0{code}", f" 0{code} ", f"000{code}", Decimal(code)):
        assert normalise(spelling) == f"0{code}"
        assert describe(spelling).name == name
    assert describe(code).reaction is Reaction.FAIL_JOB


@pytest.mark.parametrize(
    ("code", "reaction"),
    [
        (1002, Reaction.SLOW_DOWN),
        (1004, Reaction.PAUSE_KEY),
        (1008, Reaction.PAUSE_KEY),
        (1026, Reaction.FAIL_REQUEST),
        (1027, Reaction.FAIL_REQUEST),
        (1033, Reaction.FAIL_JOB),
        (1039, Reaction.SLOW_DOWN),
        (1041, Reaction.SLOW_DOWN),
        (2013, Reaction.FAIL_REQUEST),
        (2049, Reaction.PAUSE_KEY),
    ],
)
def test_upstream_code_has_its_reaction_alone_and_inside_a_message(code, reaction):
    assert describe(code).reaction is reaction
    for message in (
        f"error code: {code}",
        f'upstream {{"status_code": {code}}}',
        f"[{code}] no",
        f"{code}: no",
        f"no ({code})",
    ):
        assert reaction_to("010004099", message) is reaction


@pytest.mark.parametrize(
    "message",
    [
        "the short side is 1004 px",
        "1008 pixels",
        "prompt of 2013 characters",
        "cost 1.1008",
        "(1004 px)",
        "error 10045",
    ],
)
def test_number_that_is_no_code_does_not_change_the_reaction(message):
    assert reaction_to("unknown", message) is Reaction.FAIL_JOB


@pytest.mark.parametrize(
    "code",
    [
        *(None, True, "", "two words", "x" * 65, [], {}, 1.5, 10**30),
        *(Decimal("NaN"), Decimal("1.5"), Decimal("1e9999999"), Decimal("-1e9999999")),
    ],
)
def test_what_is_no_code_is_unknown(code):
    assert normalise(code) == "unknown"


def test_unlisted_code_is_kept_and_fails_the_job():
    assert (normalise("40201"), describe("E_X.1").code) == ("40201", "E_X.1")
    assert describe(77).reaction is Reaction.FAIL_JOB


def test_codes_and_names_are_unique():
    assert len({entry.code for entry in CODES}) == len({entry.name for entry in CODES}) == len(CODES)
