"""Pictures for tests: small and real, in every format that a request takes."""

from __future__ import annotations

import base64
import io
from functools import cache
from typing import Any

from PIL import Image as Pillow


@cache
def picture(width: int = 400, height: int = 400, kind: str = "JPEG", orientation: int | None = None) -> bytes:
    """The bytes of a plain picture, of another colour for another size; `orientation` is written as Exif data."""
    out = io.BytesIO()
    extra: dict[str, Any] = {}
    if orientation is not None:
        exif = Pillow.Exif()
        exif[0x0112] = orientation
        extra["exif"] = exif
    Pillow.new("RGB", (width, height), (width % 256, height % 256, 90)).save(out, kind, **extra)
    return out.getvalue()


def as_data_url(data: bytes, media_type: str = "image/jpeg") -> str:
    """The bytes as a data URL, of whatever media type it is to claim."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
