"""Format and frame size of a JPEG, PNG or WebP picture, read from its header alone.

Owns the few bytes of each format that say so. Refuses to decode: no pixel buffer is ever allocated, so a decompression
bomb costs no more than its header, and a library's process-wide warning filters and limits stay untouched.

Sources: ITU-T T.81 annex B and CIPA DC-008 (JPEG, Exif), W3C PNG third edition, RFC 9649 (WebP).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_END: Final = b"IEND\xaeB`\x82"
_JPEG: Final = b"\xff\xd8\xff"
_JPEG_END: Final = b"\xff\xd9"
_EXIF: Final = b"Exif\x00\x00"
_ORIENTATION: Final = 0x0112
_QUARTER_TURNS: Final = frozenset({5, 6, 7, 8})
# Start-of-frame markers: C0..CF without DHT (C4), JPG (C8) and DAC (CC).
_FRAME_MARKERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN: Final = 0xDA
# A 20 MB picture whose metadata is cut in full 64 KiB segments has some 300 of them; a loop of empty ones is an attack.
_MAX_SEGMENTS: Final = 1000
# Formats that people try, told by their first bytes: (offset, bytes, name).
_OTHERS: Final = (
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (0, b"%PDF", "PDF"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypheic", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftyp", "a video file"),
    (0, b"<svg", "SVG"),
    (0, b"<", "a web page"),
)


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture says of itself; `width` and `height` in pixels, as it is meant to be seen (Exif orientation)."""

    format: str
    width: int
    height: int


class HeaderError(ValueError):
    """The bytes are no complete picture of a known format; `code` is stable."""

    def __init__(self, code: str, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(message)


def sniff(data: bytes) -> str | None:
    """`jpg`, `png` or `webp` by the first bytes; `None` for anything else."""
    if data.startswith(_JPEG):
        return "jpg"
    if data.startswith(_PNG):
        return "png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return None


def read_header(data: bytes) -> Header:
    """The header of a picture.

    Raises `HeaderError`: `image_format` (not JPEG, PNG or WebP), `image_truncated` (its end is missing),
    `image_unreadable` (its header makes no sense).
    """
    kind = sniff(data)
    if kind is None:
        raise HeaderError("image_format", f"the picture must be JPG, PNG or WebP; this is {_what_else(data)}")
    try:
        width, height = _READERS[kind](data)
    except (struct.error, IndexError):
        raise HeaderError("image_truncated", "the picture ends within its header; send the whole file") from None
    if not (width and height):
        raise HeaderError("image_unreadable", "the header of the picture gives no width or height; save it anew")
    return Header(kind, width, height)


def _png(data: bytes) -> tuple[int, int]:
    length, name, width, height = struct.unpack_from(">I4sII", data, len(_PNG))
    if name != b"IHDR" or length != 13:
        raise HeaderError("image_unreadable", "the PNG picture does not begin with its header; save it anew")
    if data.rfind(_PNG_END) < 0:
        raise HeaderError("image_truncated", "the end of the PNG picture is missing; send the whole file")
    return width, height


def _webp(data: bytes) -> tuple[int, int]:
    (riff_bytes,) = struct.unpack_from("<I", data, 4)
    if riff_bytes + 8 > len(data):
        raise HeaderError("image_truncated", "the end of the WebP picture is missing; send the whole file")
    chunk = data[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(_exactly(data, 24, 3), "little"), 1 + int.from_bytes(_exactly(data, 27, 3), "little")
    if chunk == b"VP8L" and data[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise HeaderError("image_unreadable", "the header of the WebP picture is not understood; save it anew")


def _exactly(data: bytes, start: int, count: int) -> bytes:
    piece = data[start : start + count]
    if len(piece) < count:
        raise IndexError(start)
    return piece


def _jpeg(data: bytes) -> tuple[int, int]:
    size: tuple[int, int] | None = None
    turned = False
    at = 2
    for _ in range(_MAX_SEGMENTS):
        if data[at] != 0xFF:
            break
        while data[at] == 0xFF:  # any number of fill bytes may come before a marker
            at += 1
        marker = data[at]
        (length,) = struct.unpack_from(">H", data, at + 1)
        if marker == _START_OF_SCAN:
            if size is None:
                break
            if data.rfind(_JPEG_END, at) < 0:  # from behind, where it is in all but the strangest
                raise HeaderError("image_truncated", "the end of the JPEG picture is missing; send the whole file")
            return size[::-1] if turned else size
        if marker in _FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", data, at + 4)
            size = width, height
        elif marker == 0xE1 and data[at + 3 : at + 9] == _EXIF:
            turned = _is_turned(data[at + 9 : at + 1 + length])
        at += 1 + length
    raise HeaderError("image_unreadable", "the header of the JPEG picture is not understood; save it anew")


def _is_turned(tiff: bytes) -> bool:
    """Whether the Exif orientation turns the picture by a quarter, as phones note for upright photographs."""
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(tiff[:4])
    if order is None:
        return False
    try:
        (ifd,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, ifd)
        for index in range(count):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, ifd + 2 + 12 * index)
            if tag == _ORIENTATION:
                return value in _QUARTER_TURNS
    except struct.error:  # unreadable Exif data is common and harmless
        pass
    return False


def _what_else(data: bytes) -> str:
    if not data:
        return "empty"
    return next((name for offset, magic, name in _OTHERS if data.startswith(magic, offset)), "something else")


_READERS: Final = {"jpg": _jpeg, "png": _png, "webp": _webp}
