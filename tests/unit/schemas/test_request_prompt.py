"""The prompt of a request: how long it may be, and what is said of the brackets in it."""

from __future__ import annotations

from collections.abc import Iterator, Set

import pytest

from schemas import camera, models, rules
from schemas.requests import parse_request
from tests.support.requests import raw

from .refusals import problems


@pytest.mark.parametrize("char", ["a", "é", "猫", "🐈"])
def test_a_prompt_is_counted_in_code_points(char: str) -> None:
    assert parse_request(raw(prompt=char * 2000)).prompt == char * 2000
    [problem] = problems(raw(prompt=char * 2001))
    assert (problem.field, problem.code) == ("prompt", "prompt_too_long")
    assert "2000" in problem.message
    assert "2001" in problem.message


def test_a_prompt_is_read_once_and_one_that_is_too_long_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts: list[str] = []
    read = camera.read

    def counted(prompt: str, known: Set[str]) -> Iterator[camera.Bracket | camera.Mention]:
        prompts.append(prompt)
        return read(prompt, known)

    monkeypatch.setattr(camera, "read", counted)
    parse_request(raw(prompt="[pan left]"))
    assert prompts == ["[pan left]"]
    assert rules.directions(models.get(raw()["model"]), {"prompt": "[pan left]" * 1000}) == ()
    assert prompts == ["[pan left]"]


def test_an_empty_prompt_is_a_prompt() -> None:
    assert parse_request(raw(prompt="")).prompt == ""


def test_an_unknown_camera_instruction_is_refused_with_the_nearest() -> None:
    found = problems(raw(prompt="a [pan lefft] then [tilt left, wobble] then [wobble] and [1]"))
    assert [(p.field, p.code) for p in found] == [("prompt", "camera_unknown")] * 2
    assert "[pan lefft]" in found[0].message
    assert "[pan left]" in found[0].message
    assert "[wobble]" in found[1].message


def test_more_than_three_combined_instructions_are_a_warning() -> None:
    assert parse_request(raw(prompt="[pan left, rise, shake]")).warnings == ()
    [warning] = parse_request(raw(prompt="[pan left, rise, shake, zoom in]")).warnings
    assert (warning.field, warning.code) == ("prompt", "camera_too_many_combined")


def test_the_words_of_an_instruction_in_text_are_a_warning_that_says_the_exact_form() -> None:
    request = parse_request(raw(prompt="a canary [slowly pan left then zoom in, canary 2] [zoom in 2x] [zoom in 3x]"))
    assert [(w.field, w.code) for w in request.warnings] == [("prompt", "camera_ignored")] * 2
    assert request.warnings[0].message.endswith("write exactly [pan left] [zoom in]")
    assert request.warnings[1].message.endswith("write exactly [zoom in]")
    assert "canary" not in str(request.warnings)
    [warning] = parse_request(raw(prompt="a cat [pan left")).warnings
    assert warning.code == "camera_ignored"
    assert "not closed" in warning.message


def test_a_note_in_a_bracket_is_taken_as_it_is() -> None:
    assert parse_request(raw(prompt="a cat [laughs] [sic] [John Smith] in a [red car] [1]")).warnings == ()


def test_the_sentence_of_an_unknown_instruction_says_what_to_write() -> None:
    [problem] = problems(raw(prompt="[pan lft] a [1] note"))
    expected = "[pan lft] is not a camera instruction; did you mean [pan left]? (for text use round brackets)"
    assert (problem.field, problem.code, problem.message) == ("prompt", "camera_unknown", expected)


def test_what_is_invisible_in_a_camera_word_is_marked_in_the_message() -> None:
    (problem,) = problems(raw(prompt="[pan left, \x1b\u200bwobble]"))
    assert "[\ufffd\ufffdwobble] is not a camera instruction" in problem.message
