"""Provider messages fit for people: nothing secret, nothing unprintable, not long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.vtrix.redact import MESSAGE_LIMIT, readable, without


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words, 100% (fine)", "plain words, 100% (fine)"),
        ("see https://user:pw@x.example/a.mp4?sig=canary#canary now", "see https://x.example/a.mp4 now"),
        ("x.example/a.mp4?Expires=1&Signature=canary.", "x.example/a.mp4?…"),
        ("really? yes", "really? yes"),
        ("bad image data:image/png;base64,canarycanary== here", "bad image data:… here"),
        ("Authorization: Bearer canary.token_1", "Authorization: Bearer …"),
        ("key sk-canary_123 is bad", "key … is bad"),
        ('{"api_key": "canary12345"}', '{"api_key": "…"}'),
        ("line\r\n\tbreak\x00\x1b[31m\u202e\ud800", "line break[31m"),
        (f'sensitive prompt "{"canary " * 10}" refused', "sensitive prompt “…” refused"),
        (f"prompt: {'canary ' * 20}", "prompt: …"),
        ("invalid params, prompt: too long", "invalid params, prompt: too long"),
        ("it's the user's fault, isn't it", "it's the user's fault, isn't it"),
    ],
)
def test_message_is_shown_without_what_is_secret(text, shown):
    assert readable(text) == shown


def test_text_to_hide_is_gone_however_its_white_space_was_changed():
    assert readable("refused: a  red\nfox.", hide=("a red fox", "ok")) == "refused: …."


def test_long_message_is_cut():
    shown = readable("word " * 10_000)
    assert len(shown) == 500
    assert shown.endswith("…")


@given(st.text(), st.text(), st.sampled_from(["https://x.example/p?token=CANARY", "Bearer CANARY", "sk-CANARY"]))
def test_secret_between_any_texts_is_never_shown(before, after, secret):
    assert "CANARY" not in readable(f"{before} {secret} {after}")


@pytest.mark.parametrize(
    "prompt", ["a canary of brass", "a  canary\nof brass", "see https://a.example/b?c=canary-of-brass"]
)
def test_a_text_that_comes_to_be_known_later_is_gone_as_well(prompt):
    sentence = readable(f"Not this: {prompt} (try another)")
    assert sentence != "Not this: … (try another)"
    assert without(sentence, prompt) == "Not this: … (try another)"
    assert without("Internal generation error", prompt) == "Internal generation error"


@given(st.integers(0, 600))
def test_nor_is_its_beginning_left_where_a_sentence_was_cut(before):
    prompt = "one canary of brass, " * 40
    shown = without(readable("x" * before + " " + prompt), prompt)
    assert "one canary" not in shown
    assert len(shown) <= MESSAGE_LIMIT
    assert shown.startswith("x" * min(before, MESSAGE_LIMIT - 1))
