"""A still of a film or picture, as a small JPEG to be looked at. Refuses what `probe` refuses, and measures nothing.

A film is untrusted also when it is in the store: it is opened with the limits of `probe`.
"""

from __future__ import annotations

import io
from typing import BinaryIO, Final

import av
import av.error
from PIL import Image

from tasks.media.errors import NotPlayable
from tasks.media.probe import DEMUXERS, PICTURE_ERRORS, PICTURES, check_frame, decoder_limits

_OPEN_S: Final = 10.0
_FRAMES_MOST: Final = 100
"""Packets are read until one gives a frame, so many at most."""
_QUALITIES: Final = (75, 50, 25)


def still(file: BinaryIO, media_type: str, width: int, bytes_most: int) -> bytes:
    """A JPEG of a frame some way into a film, or of a picture, at most `width` pixels wide and of `bytes_most` bytes.

    Raises `NotPlayable`, and `OSError` where the file can't be read.
    """
    image = _of_picture(file, width) if media_type == "image" else _of_film(file, width)
    image.thumbnail((width, width))
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "JPEG", quality=quality)
        if buffer.tell() <= bytes_most:
            return buffer.getvalue()
    raise NotPlayable("its still is too large")


def _of_film(file: BinaryIO, width: int) -> Image.Image:
    try:
        with av.open(file, "r", options={**DEMUXERS, **decoder_limits()}, timeout=_OPEN_S) as container:
            if not container.streams.video:
                raise NotPlayable("there is no video stream")
            return _frame(container, width)
    except (av.error.FFmpegError, ValueError, OverflowError) as error:
        raise NotPlayable(f"not a film that can be opened ({type(error).__name__})") from None


def _frame(container: av.container.InputContainer, width: int) -> Image.Image:
    stream = container.streams.video[0]
    check_frame(stream.width, stream.height)
    stream.codec_context.options = decoder_limits()
    stream.codec_context.thread_count = 1
    if container.duration:
        container.seek(container.duration // 3)  # the first frame is often the picture that the film was made of
    for number, packet in enumerate(container.demux(stream)):
        for frame in packet.decode():
            check_frame(frame.width, frame.height)
            height = max(1, frame.height * min(width, frame.width) // frame.width)
            small = frame.reformat(width=min(width, frame.width), height=height, format="rgb24")
            image: Image.Image = small.to_image()  # type: ignore[no-untyped-call]  # PyAV gives its options no types
            return image.rotate(frame.rotation, expand=True) if frame.rotation else image
        if number >= _FRAMES_MOST:
            break
    raise NotPlayable("there is no frame")


def _of_picture(file: BinaryIO, width: int) -> Image.Image:
    try:
        with Image.open(file, formats=PICTURES) as picture:
            check_frame(*picture.size)
            picture.draft("RGB", (width, width))
            return picture.convert("RGB")
    except PICTURE_ERRORS as error:
        raise NotPlayable(f"not a picture that can be opened ({type(error).__name__})") from None
