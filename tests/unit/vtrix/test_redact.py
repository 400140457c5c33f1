"""Provider messages fit for people: nothing secret, nothing unprintable, not long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.vtrix.redact import readable


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
