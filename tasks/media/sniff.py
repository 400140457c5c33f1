"""What a file is by its first bytes. Refuses to believe a media type, which only settles a doubtful case."""

from __future__ import annotations

from typing import Final

HEAD_BYTES: Final = 512
"""How many first bytes the functions here look at."""

MEDIA_TYPES: Final = {
    "mp4": "video/mp4",
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
}
"""Extension -> the media type of such a file."""

_PICTURE_BRANDS: Final = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1")
_OLD_MP4_BOXES: Final = (b"moov", b"mdat", b"free", b"skip", b"wide")
_PAGE_STARTS: Final = (b"<!doctype", b"<html", b"<head", b"<body", b"<?xml", b"<error")
_PAGE_TYPES: Final = frozenset({"text/html", "application/xhtml+xml", "text/xml", "application/xml"})


def extension_for(media_type: str, content_type: str | None, first_bytes: bytes) -> str:
    """`mp4`, `png`, `jpg`, `webp`, or `bin` for all else, by the first bytes.

    `media_type` is the provider's word (`video`, `image`), `content_type` the server's: both are asked only about a
    video without the usual first box, which its bytes alone do not prove.
    """
    sniffed = _sniff(first_bytes)
    if sniffed:
        return sniffed
    says_mp4 = media_type.lower() == "video" and _essence(content_type) in {"video/mp4", "video/quicktime"}
    return "mp4" if says_mp4 and first_bytes[4:8] in _OLD_MP4_BOXES else "bin"


def is_web_page(content_type: str | None, first_bytes: bytes) -> bool:
    """Whether this is an HTML or XML page, such as servers send instead of a file, whatever it is declared to be."""
    start = first_bytes[:HEAD_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return start.startswith(_PAGE_STARTS) or (_essence(content_type) in _PAGE_TYPES and _sniff(first_bytes) is None)


def _sniff(first: bytes) -> str | None:
    if first[4:8] == b"ftyp":
        return None if first[8:12] in _PICTURE_BRANDS else "mp4"
    if first.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if first.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if first[:4] == b"RIFF" and first[8:12] == b"WEBP":
        return "webp"
    return None


def _essence(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()
