"""Camera instructions: which brackets of a prompt hold them, which are text, and what is proposed for a slip."""

from __future__ import annotations

from collections.abc import Set

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.camera import INSTRUCTIONS, Bracket, Mention, instructions, nearest, read

DOCUMENTED = [
    "pan left", "pan right",
    "tilt left", "tilt right",
    "push in", "pull back",
    "rise", "lower",
    "tilt up", "tilt down",
    "zoom in", "zoom out",
    "shake", "follow", "static",
]  # fmt: skip


def brackets(prompt: str, known: Set[str] = INSTRUCTIONS) -> list[Bracket]:
    return [found for found in read(prompt, known) if isinstance(found, Bracket)]


def unknown(prompt: str) -> list[str]:
    return [word for bracket in brackets(prompt) for word in bracket.unknown]


def mentions(prompt: str, known: Set[str] = INSTRUCTIONS) -> list[Mention]:
    return [found for found in read(prompt, known) if isinstance(found, Mention)]


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
    ("word", "proposal"),
    [
        # misspelt
        ("pann left", "pan left"),
        ("pan lft", "pan left"),
        ("tlit up", "tilt up"),
        ("zom in", "zoom in"),
        ("apn right", "pan right"),
        ("panleft", "pan left"),
        ("pul bak", "pull back"),
        ("statik", "static"),
        ("raise", "rise"),
        ("shakey", "shake"),
        ("tilt upp", "tilt up"),
        # in another form, or incomplete
        ("pulls back", "pull back"),
        ("panning left", "pan left"),
        ("zooming out", "zoom out"),
        ("rising", "rise"),
        ("lowered", "lower"),
        ("zoom", "zoom in"),
        ("push", "push in"),
        ("left pan", "pan left"),
        ("camera right", "pan right"),
        # with more words than the instruction has
        ("zoom in slowly", "zoom in"),
        ("pan to the left", "pan left"),
        ("pan left and rise", "pan left"),
        ("pan left; rise", "pan left"),
        ("static shot", "static"),
        ("camera shake", "shake"),
        # joined or ended by what the provider does not know
        ("pan-left", "pan left"),
        ("pan\u2013left", "pan left"),
        ("pan\u2014left", "pan left"),
        ("pan_left", "pan left"),
        ("pan/left", "pan left"),
        ("pan left.", "pan left"),
        ("pan left!", "pan left"),
        ("zoom in...", "zoom in"),
        ("zoom in\u2026", "zoom in"),
        # other models' words
        ("dolly in", "push in"),
        ("dolly-in", "push in"),
        ("slow dolly out", "pull back"),
        ("push out", "pull back"),
        ("truck left", "pan left"),
        ("crane up", "rise"),
        ("pedestal down", "lower"),
        ("tracking shot", "follow"),
        ("orbit right", "pan right"),
    ],
)
def test_what_resembles_an_instruction_is_unknown_and_the_nearest_is_proposed(word: str, proposal: str) -> None:
    assert unknown(f"a cat [{word}] asleep") == [word]
    assert unknown(f"[{word.upper()}]") == [word]
    assert nearest(word) == proposal


@pytest.mark.parametrize("prompt", ["[orbit]", "[spin around]", "[roll]", "[arc left]", "[camera up]"])
def test_what_moves_a_camera_elsewhere_is_unknown(prompt: str) -> None:
    assert unknown(prompt) == [prompt[1:-1]]
    assert nearest(prompt[1:-1]) in INSTRUCTIONS


def test_a_bracket_is_of_instructions_as_a_whole() -> None:
    assert unknown("[dolly in, slowly]") == ["dolly in", "slowly"]
    assert unknown("[pan, left]") == ["pan", "left"]
    assert unknown("[a table, two chairs and one lamp, a frying pan]") == []


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
        "[laughs]",
        "[sic]",
        "[John Smith]",
        "[red car]",
        "[red truck]",
        "[soft music, a door creaks]",
        "[whispering: who is there?]",
        "[flower]",
        "[snake]",
        "[rose]",
        "[tower]",
        "[share]",
        "[statue]",
        "[the man left]",
        "[man left]",
        "[room in]",
        "[sunrise]",
        "[sleeps in]",
        "[built up]",
        "[16:9]",
        "[50%]",
        "[猫]",
        "[推进]",
        "[naïve café]",
        f"[{'a' * 41}]",
        "[",
        "[a man",
        "pan left]",
        "]pan left[",
        "(pan left)",
        "{pan left}",
    ],
)
def test_a_bracket_that_is_plainly_text_is_left_alone(prompt: str) -> None:
    assert brackets(prompt) == []
    assert mentions(prompt) == []
    assert instructions(prompt) == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("slowly pan left and zoom in", ("pan left", "zoom in")),
        ("Pan  Left then\ntilt up", ("pan left", "tilt up")),
        ("tilt up then pan left", ("tilt up", "pan left")),
        ("zoom in 2x", ("zoom in",)),
        ("zoom in on the face", ("zoom in",)),
        ("camera: pan left", ("pan left",)),
        ("pan: left", ("pan left",)),
        ("'pan left'", ("pan left",)),
        ("now-slow-pan-left-and-zoom-in", ("pan left", "zoom in")),
        ("镜头 pan left", ("pan left",)),
        ("follow the white rabbit down the hole", ("follow",)),
        ("a very long and careful way to say: pan left", ("pan left",)),
    ],
)
def test_text_with_the_words_of_an_instruction_is_left_alone_and_mentioned(text: str, words: tuple[str, ...]) -> None:
    prompt = f"a cat [{text}] asleep"
    assert brackets(prompt) == []
    assert mentions(prompt) == [Mention(words, closed=True)]


@pytest.mark.parametrize(
    "prompt",
    ["[pan left", "[ Pan left and then a long story", "a cat [pan left [1]", "[[pan left[", "[rise] [pan left"],
)
def test_a_bracket_that_is_never_closed_is_mentioned(prompt: str) -> None:
    assert mentions(prompt) == [Mention(("pan left",), closed=False)]
    assert unknown(prompt) == []


@pytest.mark.parametrize(
    "prompt", ["[companies lefty]", "[a man plans to pan the leftovers]", "[he panned left, twice 2]"]
)
def test_only_whole_words_are_mentioned(prompt: str) -> None:
    assert mentions(prompt) == []


def test_brackets_of_instructions_are_not_mentioned() -> None:
    assert mentions("[pan left] [zoom in, zoom in 2x] [pan to the left]") == []


def test_a_model_without_instructions_has_none_in_its_prompts() -> None:
    prompt = "[pan left] [dolly in] [pan left now, at once, please]"
    assert brackets(prompt, frozenset()) == []
    assert mentions(prompt, frozenset()) == []


@given(st.text(alphabet="[], panlefticzoom1.", max_size=200))
def test_every_known_word_is_an_instruction_and_every_unknown_one_is_not(prompt: str) -> None:
    for bracket in brackets(prompt):
        assert set(bracket.known) <= INSTRUCTIONS
        assert INSTRUCTIONS.isdisjoint(bracket.unknown)
        assert bracket.known or bracket.unknown
        assert all(nearest(word) in INSTRUCTIONS for word in bracket.unknown)
    for mention in mentions(prompt):
        assert mention.words
        assert set(mention.words) <= INSTRUCTIONS


@given(st.text(max_size=60))
def test_any_text_in_a_bracket_is_read(text: str) -> None:
    for bracket in brackets(f"[{text}]"):
        assert all(nearest(word) in INSTRUCTIONS for word in bracket.unknown)
    assert all(set(mention.words) <= INSTRUCTIONS for mention in mentions(f"[{text}]"))
