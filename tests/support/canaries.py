"""Marks that stand for what is secret: put where secrets are, and looked for where they may not be."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from schemas import data_url

KEY = "Zq7mW2vKx9Lp4RtY8cNb"
PROMPT = "a canary of brass sings in the rain"
SIGNATURE = "c4naryOfTin55e1"
PIXELS = b"a canary in the bytes of the picture"
SECRETS: Mapping[str, list[str]] = {
    "the key": [KEY],
    "a prompt": ["canary of brass"],
    "a signed URL": [SIGNATURE, "&sig="],
    # As it is, and as base64 from each of the three places at which it can begin.
    "a picture": [
        PIXELS.decode(),
        *(base64.b64encode(bytes(before) + PIXELS).decode()[4:-4] for before in range(3)),
    ],
}


def picture() -> str:
    buffer, words = io.BytesIO(), PngInfo()
    words.add_text("Comment", PIXELS.decode())
    Image.linear_gradient("L").resize((480, 360)).convert("RGB").save(buffer, "PNG", pnginfo=words)
    assert PIXELS in buffer.getvalue()
    return data_url(buffer.getvalue())


def echo(kind: str) -> str:
    """A sentence of a provider that keeps nothing to itself."""
    return (
        f"Not with key {KEY} (Authorization: Bearer {KEY}), nor for [static] {PROMPT} {kind}; "
        f"see https://files.example/film.mp4?expires=1&sig={SIGNATURE}"
    )


def leaks(texts: Mapping[str, str], secrets: Mapping[str, list[str]]) -> list[str]:
    """What stands where: names alone, so that a failing test shows no secret either."""
    return [
        f"{what} in {where}"
        for where, text in texts.items()
        for what, words in secrets.items()
        if any(word in text for word in words)
    ]
