from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.camera import INSTRUCTIONS, brackets, instructions, nearest

DOCUMENTED = [
    "pan left", "pan right",
    "tilt left", "tilt right",
    "push in", "pull back",
    "rise", "lower",
    "tilt up", "tilt down",
    "zoom in", "zoom out",
    "shake", "follow", "static",
]  # fmt: skip


def unknown(prompt: str) -> list[str]:
    return [word for bracket in brackets(prompt) for word in bracket.unknown]


def test_there_are_exactly_the_documented_instructions() -> None:
    assert sorted(DOCUMENTED) == sorted(INSTRUCTIONS)
    assert len(INSTRUCTIONS) == 15


@pytest.mark.parametrize("instruction", DOCUMENTED)
@pytest.mark.parametrize("form", ["[{}]", "a cat [{}] asleep", "[ {} ]", "[{},]", "[[{}]]"])
def test_each_instruction_is_understood(instruction: str, form: str) -> None:
    assert instructions(form.format(instruction)) == ((instruction,),)
    assert instructions(form.format(instruction.upper())) == ((instruction,),)
    assert instructions(form.format(instruction.replace(" ", " \n\t "))) == ((instruction,),)
    assert unknown(form.format(instruction)) == []


def test_within_a_bracket_instructions_are_combined() -> None:
    assert instructions("[tilt left, rise]") == (("tilt left", "rise"),)
    assert instructions("[Tilt Left,RISE ,  static]") == (("tilt left", "rise", "static"),)


def test_brackets_that_follow_one_another_are_sequential() -> None:
    assert instructions("…[push in], then…[pull back]") == (("push in",), ("pull back",))
    assert instructions("[pan left][1][zoom in, shake]") == (("pan left",), ("zoom in", "shake"))


@pytest.mark.parametrize(
    ("prompt", "word", "proposal"),
    [
        ("[pann left]", "pann left", "pan left"),
        ("[pan-left]", "pan-left", "pan left"),
        ("[panleft]", "panleft", "pan left"),
        ("[zoom]", "zoom", "zoom in"),
        ("[push]", "push", "push in"),
        ("[lowered]", "lowered", "lower"),
        ("[statik]", "statik", "static"),
        ("[tilt upp]", "tilt upp", "tilt up"),
        ("[pulls back]", "pulls back", "pull back"),
        ("[zoom in slowly]", "zoom in slowly", "zoom in"),
        ("[pan to the left]", "pan to the left", "pan left"),
        ("[pan left and rise]", "pan left and rise", "pan left"),
    ],
)
def test_a_misspelt_instruction_is_unknown_and_the_nearest_is_proposed(prompt: str, word: str, proposal: str) -> None:
    assert unknown(prompt) == [word]
    assert nearest(word) == proposal


@pytest.mark.parametrize("prompt", ["[dolly in]", "[orbit]", "[crane up]", "[spin around]", "[pan left; rise]"])
def test_a_short_bracket_in_the_form_of_an_instruction_is_taken_for_one(prompt: str) -> None:
    assert unknown(prompt) == [prompt[1:-1]]


def test_beside_a_known_instruction_everything_is_taken_for_one() -> None:
    assert unknown("[pan left, wobble]") == ["wobble"]
    assert unknown("[pan left, at 3 o'clock]") == ["at 3 o'clock"]
    assert instructions("[pan left, wobble]") == (("pan left",),)


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "no brackets, pan left",
        "[]",
        "[ ]",
        "[,]",
        "[1]",
        "[1, 2]",
        "[12-14]",
        "[fig. 2]",
        "[...]",
        "[?]",
        "[a man opens the door]",
        "[The cat sleeps. Nothing moves.]",
        "[the red door]",
        "[follow the white rabbit down the hole]",
        "[16:9]",
        "[50%]",
        "[猫]",
        "[推进]",
        "[naïve café]",
        f"[{'a' * 41}]",
        "[pan left",
        "pan left]",
        "]pan left[",
        "(pan left)",
        "{pan left}",
    ],
)
def test_a_bracket_that_is_plainly_text_is_left_alone(prompt: str) -> None:
    assert list(brackets(prompt)) == []
    assert instructions(prompt) == ()


def test_a_model_without_instructions_has_none_in_its_prompts() -> None:
    assert list(brackets("[pan left] [dolly in]", frozenset())) == []


@settings(deadline=None)
@given(st.text(alphabet="[], panlefticzoom1.", max_size=200))
def test_every_known_word_is_an_instruction_and_every_unknown_one_is_not(prompt: str) -> None:
    for bracket in brackets(prompt):
        assert set(bracket.known) <= INSTRUCTIONS
        assert INSTRUCTIONS.isdisjoint(bracket.unknown)
        assert bracket.known or bracket.unknown
        assert all(nearest(word) in INSTRUCTIONS for word in bracket.unknown)
