"""Input pictures: the forms in which one can be given, and the rules that it has to keep.

Owns the judgement of a picture by its bytes: what a data URL claims to hold is not believed. Refuses to decode pixels,
to open URLs, and to show URLs or bytes in any message or repr.

Source: the provider's API reference for `minimax_hailuo_02_i2v`: JPG, JPEG, PNG or WebP, less than 20 MB, short side
greater than 300 px, aspect ratio between 2:5 and 5:2. Decided here: 1 MB is 1,000,000 bytes (the reading under which no
accepted picture can be refused for its size later), the size is that of the picture and not of its base64, the ends of
the aspect range are included, and width and height are those of the picture as it is meant to be seen (the Exif
orientation of a JPEG counts).
"""

from __future__ import annotations

import binascii
import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .errors import Problem, RequestInvalid
from .image_header import Header, HeaderError, read_header, sniff
from .urls import url_problem

try:
    from pybase64 import b64decode, b64encode  # fifteen times as fast, which is felt from a picture of a megabyte on
except ImportError:  # a service that only enqueues needs no more than marshmallow and redis
    from base64 import b64decode, b64encode  # type: ignore[assignment]  # of its signature, what is used is the same

MAX_BYTES: Final = 20_000_000
"""A picture has fewer bytes than this."""
MIN_SHORT_SIDE: Final = 300
"""The short side has more pixels than this."""
MAX_PIXELS: Final = 100_000_000
"""More pixels than any camera makes within the byte limit: beyond it a picture is taken for a decompression bomb."""

_MEDIA_TYPES: Final = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
_ALIASES: Final = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png"}
_REF: Final = re.compile(r"input:([0-9a-f]{64})\.(jpg|png|webp):([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
_DATA_HEAD: Final = re.compile(r"data:([^,;]{0,100})((?:;[^,;]{0,100}){0,5}),", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ImageUrl:
    """A picture that the provider fetches from a public URL; nothing is known of it here."""

    url: str = field(repr=False)

    @property
    def text(self) -> str:
        """The URL: what a request says of such a picture."""
        return self.url


@dataclass(frozen=True, slots=True)
class ImageRef:
    """A picture whose bytes are stored elsewhere under their SHA-256 (hex); `width` and `height` in pixels."""

    sha256: str
    format: str
    width: int
    height: int

    @property
    def text(self) -> str:
        """`input:<sha256>.<jpg|png|webp>:<width>x<height>`"""
        return f"input:{self.name}:{self.width}x{self.height}"

    @property
    def name(self) -> str:
        """`<sha256>.<jpg|png|webp>`: what it is kept under, whatever its size."""
        return f"{self.sha256}.{self.format}"

    @classmethod
    def parse(cls, text: str) -> ImageRef:
        """The reference behind its text form. Raises `ValueError` for any other text."""
        match = _REF.fullmatch(text)
        if match is None:
            raise ValueError("not an input reference")
        return cls(match[1], match[2], int(match[3]), int(match[4]))


@dataclass(frozen=True, slots=True)
class ImageBytes:
    """A picture itself: `format` is `jpg`, `png` or `webp`, `width` and `height` in pixels."""

    data: bytes = field(repr=False)
    format: str
    width: int
    height: int
    declared: str = field(default="", compare=False)
    """The media type that the data URL claimed, when it was not the true one."""

    @property
    def text(self) -> str:
        """The picture as a data URL of its true media type."""
        return data_url(self.data)

    def ref(self) -> ImageRef:
        """The reference under which these bytes are stored."""
        return ImageRef(hashlib.sha256(self.data).hexdigest(), self.format, self.width, self.height)


Image = ImageUrl | ImageBytes | ImageRef


def parse_image(text: str, *, stored: bool = False) -> Image:
    """The picture behind a field's text: a public URL, a base64 data URL, or (only if `stored`) an `input:` reference.

    Raises `RequestInvalid` with every broken rule; the problems' `field` is empty.
    """
    head = text[:5].lower()
    if head == "data:":
        return _from_data_url(text)
    if stored and text.startswith("input:"):
        return _from_ref(text)
    if "://" not in text[:40] and not head.startswith("http"):
        raise _invalid("image_form", "give a public http(s) URL, or a base64 data URL (data:image/jpeg;base64,…)")
    problem = url_problem(text)
    if problem is not None:
        raise RequestInvalid([problem])
    return ImageUrl(text)


def data_url(data: bytes) -> str:
    """The bytes of a JPEG, PNG or WebP picture as a base64 data URL. Raises `ValueError` for other bytes."""
    kind = sniff(data)
    if kind is None:
        raise ValueError("not a JPG, PNG or WebP picture")
    return f"data:{_MEDIA_TYPES[kind]};base64,{b64encode(data).decode('ascii')}"


def image_from(source: str | Path | bytes) -> str:
    """A picture in the form that a request takes: from its bytes, or from the path of its file.

    Raises `RequestInvalid` (field `image`) when the picture breaks a rule, `OSError` when the file cannot be read.
    """
    if isinstance(source, bytes):
        data, size_bytes = source, len(source)
    else:
        path = Path(source)
        size_bytes = path.stat().st_size
        data = path.read_bytes() if size_bytes < MAX_BYTES else b""
    problems = [_too_large(size_bytes)] if size_bytes >= MAX_BYTES else _judge(data)[1]
    if problems:
        raise RequestInvalid([Problem("image", problem.code, problem.message) for problem in problems])
    return data_url(data)


def _from_ref(text: str) -> ImageRef:
    try:
        ref = ImageRef.parse(text)
    except ValueError:
        raise _invalid("image_ref", "this is not a reference to a stored picture") from None
    problems = _shape_problems(ref.width, ref.height)
    if problems:
        raise RequestInvalid(problems)
    return ref


def _from_data_url(text: str) -> ImageBytes:
    head = _DATA_HEAD.match(text)
    if head is None or not head[2].lower().endswith(";base64"):
        raise _invalid("image_data_url", "a data URL has the form data:image/jpeg;base64,…")
    chars = len(text) - head.end()
    # Measured before anything is decoded: four characters hold three bytes, and each `=` at the end one less.
    size_bytes = chars // 4 * 3 - (text.endswith("=") + text.endswith("=="))
    if size_bytes >= MAX_BYTES:
        raise RequestInvalid([_too_large(size_bytes)])
    try:
        data = _decoded(text[head.end() :])
    except ValueError:  # includes characters outside ASCII
        raise _invalid(
            "image_base64", "the data URL is not valid base64 (standard alphabet, padded, without line breaks)"
        ) from None
    header, problems = _judge(data)
    if header is None or problems:
        raise RequestInvalid(problems)
    media_type = head[1].strip().lower()
    true = _ALIASES.get(media_type, media_type) == _MEDIA_TYPES[header.format]
    return ImageBytes(data, header.format, header.width, header.height, "" if true else media_type or "none")


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        # The last word is the standard library's: pybase64 does not pass over a `=` too many, and which of them is
        # there must not decide what is taken.
        return binascii.a2b_base64(text, strict_mode=True)


def _judge(data: bytes) -> tuple[Header | None, list[Problem]]:
    try:
        header = read_header(data)
    except HeaderError as error:
        return None, [Problem("", error.code, error.message)]
    return header, _shape_problems(header.width, header.height)


def _shape_problems(width: int, height: int) -> list[Problem]:
    size = f"this one is {width}x{height} px"
    if width * height > MAX_PIXELS:
        return [Problem("", "image_too_many_pixels", f"a picture has at most {MAX_PIXELS:,} pixels; {size}")]
    problems = []
    if min(width, height) <= MIN_SHORT_SIDE:
        sentence = f"the short side of a picture must be greater than {MIN_SHORT_SIDE} px; {size}"
        problems.append(Problem("", "image_too_small", sentence))
    if 5 * width < 2 * height or 2 * width > 5 * height:
        sentence = f"the aspect ratio of a picture must be between 2:5 and 5:2; {size}"
        problems.append(Problem("", "image_aspect_ratio", sentence))
    return problems


def _too_large(size_bytes: int) -> Problem:
    sentence = f"a picture must be smaller than 20 MB ({MAX_BYTES:,} bytes); this one has {size_bytes:,} bytes"
    return Problem("", "image_too_large", sentence)


def _invalid(code: str, message: str) -> RequestInvalid:
    return RequestInvalid([Problem("", code, message)])
