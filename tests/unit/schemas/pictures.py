"""Small real pictures, and the least that a valid request holds."""

from __future__ import annotations

import base64
import io
from functools import cache
from typing import Any

from PIL import Image as Pillow

MODEL = "minimax_hailuo_02_i2v"
TEXT_MODEL = "minimax_hailuo_23_t2v"
URL = "https://pictures.example/cat.jpg"


@cache
def picture(width: int = 400, height: int = 400, kind: str = "JPEG", orientation: int | None = None) -> bytes:
    """The bytes of a plain picture; `orientation` is written as Exif data."""
    out = io.BytesIO()
    extra: dict[str, Any] = {}
    if orientation is not None:
        exif = Pillow.Exif()
        exif[0x0112] = orientation
        extra["exif"] = exif
    Pillow.new("RGB", (width, height), (width % 256, height % 256, 90)).save(out, kind, **extra)
    return out.getvalue()


def as_data_url(data: bytes, media_type: str = "image/jpeg") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def raw(**fields: Any) -> dict[str, Any]:
    """A valid request with `fields` on top; a field given as `...` is left out."""
    needed = {"prompt": "a cat"} if fields.get("model") == TEXT_MODEL else {"first_frame_image": URL}
    request = {"model": MODEL, **needed, **fields}
    return {name: value for name, value in request.items() if value is not ...}
