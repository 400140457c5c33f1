"""The film that every task of the bench's provider gives: a real one, made once, of exactly one MiB."""

from __future__ import annotations

import io
import struct
import threading
from pathlib import Path

from PIL import Image

from ops.simulator.films import Film, FilmSpec, render

FILM_BYTES = 1024 * 1024


def film(folder: Path) -> Path:
    """The path of the film in `folder`."""
    path = folder / "film.mp4"
    if not path.exists():
        picture = io.BytesIO()
        Image.linear_gradient("L").resize((480, 480)).convert("RGB").save(picture, "PNG")
        spec = FilmSpec(picture.getvalue(), None, "[static]", "512P", 6)
        made = render(spec, Film(folder / "short.mp4", folder / "cover.jpg"), threading.Event())
        path.write_bytes(padded(made.video.read_bytes(), FILM_BYTES))
    return path


def padded(film: bytes, size_bytes: int) -> bytes:
    """The film with a box of nothing behind it, which players pass over. Raises ValueError when it is too long."""
    missing = size_bytes - len(film)
    if missing < 8:
        raise ValueError(f"a film of {len(film)} bytes can't be made {size_bytes} long")
    return film + struct.pack(">I4s", missing, b"free") + bytes(missing - 8)
