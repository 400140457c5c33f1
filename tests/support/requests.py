"""A request as a producer gives it, for tests to vary."""

from __future__ import annotations

from typing import Any

MODEL = "minimax_hailuo_02_i2v"
TEXT_MODEL = "minimax_hailuo_23_t2v"
HAILUO_23 = [TEXT_MODEL, "minimax_hailuo_23_i2v", "minimax_hailuo_23_fast_i2v"]
LIVE = "minimax_i2v_01_live"
URL = "https://pictures.example/cat.jpg"


def raw(**fields: Any) -> dict[str, Any]:
    """The least that a valid request holds, with `fields` on top; a field given as `...` is left out."""
    needed = {"prompt": "a cat"} if fields.get("model") == TEXT_MODEL else {"first_frame_image": URL}
    request = {"model": MODEL, **needed, **fields}
    return {name: value for name, value in request.items() if value is not ...}
