"""What a fetched film or picture really is: opened, measured, compared. Refuses to trust its name or its header."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av
import av.error
from PIL import Image, UnidentifiedImageError

from tasks.media.errors import NotPlayable

DURATION_TOLERANCE_S: Final = 0.5
FRAME_TOLERANCE: Final = 0.05
MAX_PIXELS: Final = 64_000_000
"""A frame or picture above this is refused unopened."""

# Playlists and the like make FFmpeg open other files and addresses; only self-contained films may be opened.
_DEMUXERS: Final = {"format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm", "protocol_whitelist": "file"}
_PICTURES: Final = ("PNG", "JPEG", "WEBP")
_PICTURE_ERRORS: Final = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,  # where warnings are errors
    OSError,
    ValueError,
    SyntaxError,
)


@dataclass(frozen=True, slots=True)
class Film:
    """A film or picture: frame size in pixels as shown, seconds (`None` for a picture), codec, frames a second."""

    width: int
    height: int
    duration_s: float | None
    codec: str
    fps: float | None = None


def probe(path: Path, media_type: str = "video") -> Film | None:
    """Measure the file. A `video` has its first frame decoded, an `image` its header read; other types give `None`.

    A film's duration is that of the frames in the file, not what its header claims. Raises `NotPlayable`.
    """
    if media_type == "video":
        return _probe_video(path)
    if media_type == "image":
        return _probe_image(path)
    return None


def check(
    film: Film,
    expected_width: int | None = None,
    expected_height: int | None = None,
    expected_duration_s: float | None = None,
) -> str | None:
    """One sentence on what differs from what was asked for, or `None`.

    Tolerated: 0.5 s of duration, 5 % of the short side, 5 % of the aspect ratio. With only one of width and height
    given it is the expected short side. What is `None` is not compared.
    """
    differences = []
    expected_sides = [side for side in (expected_width, expected_height) if side]
    short_side = min(film.width, film.height)
    if expected_sides and not _near(short_side, min(expected_sides)):
        differences.append(f"the short side is {short_side} px instead of {min(expected_sides)} px")
    if expected_width and expected_height and not _near(film.width / film.height, expected_width / expected_height):
        differences.append(f"the frame is {film.width}x{film.height} instead of {expected_width}x{expected_height}")
    if (
        expected_duration_s is not None
        and film.duration_s is not None
        and abs(film.duration_s - expected_duration_s) > DURATION_TOLERANCE_S
    ):
        differences.append(f"it lasts {film.duration_s:.2f} s instead of {expected_duration_s:g} s")
    return "; ".join(differences) or None


def _near(value: float, expected: float) -> bool:
    return abs(value - expected) <= FRAME_TOLERANCE * expected


def _probe_video(path: Path) -> Film:
    try:
        with av.open(str(path), options=dict(_DEMUXERS)) as container:
            if not container.streams.video:
                raise NotPlayable("there is no video stream")
            return _measure(container)
    except (av.error.FFmpegError, ValueError, OverflowError) as error:
        raise NotPlayable(f"not a film that can be opened ({type(error).__name__})") from None


def _measure(container: av.container.InputContainer) -> Film:
    stream = container.streams.video[0]
    if not 0 < stream.width * stream.height <= MAX_PIXELS:
        raise NotPlayable("the frame size is impossible")
    first, starts, ends = None, [], []
    for packet in container.demux(stream):
        if first is None:
            first = next(iter(packet.decode()), None)
        if packet.pts is not None and packet.size:
            starts.append(packet.pts)
            ends.append(packet.pts + (packet.duration or 0))
    if first is None or not starts or stream.time_base is None:
        raise NotPlayable("there is no frame")
    rate = stream.average_rate
    width, height = (first.height, first.width) if abs(first.rotation) == 90 else (first.width, first.height)
    return Film(
        width=width,
        height=height,
        duration_s=float((max(ends) - min(starts)) * stream.time_base),
        codec=stream.codec_context.name,
        fps=float(rate) if rate else None,
    )


def _probe_image(path: Path) -> Film:
    try:
        with Image.open(path, formats=_PICTURES) as picture:
            (width, height), codec = picture.size, (picture.format or "").lower()
    except _PICTURE_ERRORS as error:
        raise NotPlayable(f"not a picture that can be opened ({type(error).__name__})") from None
    if not 0 < width * height <= MAX_PIXELS:
        raise NotPlayable("the frame size is impossible")
    return Film(width=width, height=height, duration_s=None, codec=codec)
