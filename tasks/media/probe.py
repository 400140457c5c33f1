"""What a fetched film or picture really is: opened, measured, compared. Refuses to trust its name or its header."""

from __future__ import annotations

import math
import time
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
MAX_STREAMS: Final = 16
MAX_PACKETS: Final = 200_000
"""Of the picture stream: more than the longest film has at 240 frames a second."""
MAX_DURATION_S: Final = 600.0
MAX_PROBE_S: Final = 30.0
"""How long a film may take to be measured: one of ten seconds takes some milliseconds."""

# Playlists and the like make FFmpeg open other files and addresses; only self-contained films may be opened.
DEMUXERS: Final = {"format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm", "protocol_whitelist": "file"}
_TOO_LONG: Final = "it takes too long to read"
PICTURES: Final = ("PNG", "JPEG", "WEBP")
PICTURE_ERRORS: Final = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,  # where warnings are errors
    OSError,
    ValueError,
    SyntaxError,
)


@dataclass(frozen=True, slots=True)
class Film:
    """A film or picture: frame size in pixels as shown, seconds (`None` for a picture)."""

    width: int
    height: int
    duration_s: float | None


def probe(path: Path, media_type: str = "video") -> Film | None:
    """Measure the file. A `video` has its first frame decoded, an `image` its header read; other types give `None`.

    A film's duration is that of the frames in the file, not what its header claims. Raises `NotPlayable`, also for a
    file that keeps the decoder busy beyond the limits above; what crashes the decoder ends this process.
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
        until = time.monotonic() + MAX_PROBE_S
        # FFmpeg decodes some frames while it opens, and has its own say in how many pixels these may have.
        options = {**DEMUXERS, **decoder_limits()}
        with av.open(str(path), options=options, timeout=MAX_PROBE_S) as container:
            if len(container.streams) > MAX_STREAMS:
                raise NotPlayable("there are too many streams")
            if not container.streams.video:
                raise NotPlayable("there is no video stream")
            return _measure(container, until)
    except av.error.ExitError:
        raise NotPlayable(_TOO_LONG) from None
    except (av.error.FFmpegError, ValueError, OverflowError) as error:
        raise NotPlayable(f"not a film that can be opened ({type(error).__name__})") from None


def _measure(container: av.container.InputContainer, until: float) -> Film:
    stream = container.streams.video[0]
    check_frame(stream.width, stream.height)
    stream.codec_context.options = decoder_limits()
    stream.codec_context.thread_count = 1  # one frame is decoded: threads cost more than they spare
    first, start, end = None, math.inf, -math.inf
    for number, packet in enumerate(container.demux(stream), start=1):
        if number > MAX_PACKETS:
            raise NotPlayable("there are too many frames")
        if time.monotonic() > until:
            raise NotPlayable(_TOO_LONG)
        if first is None:
            first = next(iter(packet.decode()), None)
        if packet.pts is not None and packet.size:
            start, end = min(start, packet.pts), max(end, packet.pts + (packet.duration or 0))
    if first is None or start > end or stream.time_base is None:
        raise NotPlayable("there is no frame")
    duration_s = float((end - start) * stream.time_base)
    if duration_s > MAX_DURATION_S:
        raise NotPlayable("it lasts longer than a film can")
    width, height = (first.height, first.width) if abs(first.rotation) == 90 else (first.width, first.height)
    return Film(width, height, duration_s)


def decoder_limits() -> dict[str, str]:
    """Options of a decoder that refuse frames which are too large, before they are made."""
    return {"max_pixels": str(MAX_PIXELS)}


def check_frame(width: int, height: int) -> None:
    """Raise `NotPlayable` for a frame of no size, or of an impossible one."""
    if not 0 < width * height <= MAX_PIXELS:
        raise NotPlayable("the frame size is impossible")


def _probe_image(path: Path) -> Film:
    try:
        with Image.open(path, formats=PICTURES) as picture:
            width, height = picture.size
    except PICTURE_ERRORS as error:
        raise NotPlayable(f"not a picture that can be opened ({type(error).__name__})") from None
    check_frame(width, height)
    return Film(width, height, duration_s=None)
