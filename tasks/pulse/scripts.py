"""Loads the Lua files that stand beside this module."""

from __future__ import annotations

from pathlib import Path

from redis import Redis
from redis.commands.core import Script

_FOLDER = Path(__file__).parent / "lua"


def load(redis: Redis, name: str) -> Script:
    """The script `lua/NAME.lua`, ready to call; it is sent once and by its hash from then on."""
    return redis.register_script((_FOLDER / f"{name}.lua").read_text(encoding="utf-8"))
