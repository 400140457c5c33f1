"""Stills of films and pictures."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from tasks.media import probe, still
from tasks.media.errors import NotPlayable
from tests.support.films import film, sound
from tests.support.pictures import picture


def looked_at(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    assert image.format == "JPEG"
    return image


@pytest.mark.parametrize(
    ("width", "height", "expected"), [(640, 360, (240, 135)), (360, 640, (135, 240)), (64, 48, (64, 48))]
)
def test_a_film_keeps_its_shape_and_is_no_larger_than_asked_for(
    tmp_path: Path, width: int, height: int, expected: tuple[int, int]
) -> None:
    with film(tmp_path / "a.mp4", width, height).open("rb") as file:
        assert looked_at(still.still(file, "video", 240, 30_000)).size == expected


def test_it_is_not_the_first_frame(tmp_path: Path) -> None:
    """Each frame of the film is redder than the one before."""
    with film(tmp_path / "a.mp4", seconds=6.0).open("rb") as file:
        red = looked_at(still.still(file, "video", 64, 30_000)).convert("RGB").getpixel((32, 24))[0]
    assert red > 30


def test_a_picture_has_one_too() -> None:
    assert max(looked_at(still.still(io.BytesIO(picture()), "image", 20, 30_000)).size) <= 20


def test_what_has_no_frame_or_too_large_a_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for data in (b"", b"no film" * 100, sound(tmp_path / "a.mp4").read_bytes(), b"#EXTM3U\nfile:///etc/hostname\n"):
        with pytest.raises(NotPlayable):
            still.still(io.BytesIO(data), "video", 240, 30_000)
    with pytest.raises(NotPlayable):
        still.still(io.BytesIO(b"no picture"), "image", 240, 30_000)
    with pytest.raises(NotPlayable, match="too large"), film(tmp_path / "b.mp4").open("rb") as file:
        still.still(file, "video", 240, 10)
    monkeypatch.setattr(probe, "MAX_PIXELS", 64 * 47)
    with pytest.raises(NotPlayable), film(tmp_path / "c.mp4").open("rb") as file:
        still.still(file, "video", 240, 30_000)
