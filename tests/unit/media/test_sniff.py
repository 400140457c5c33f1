"""Files are what their bytes say."""

import pytest

from tasks.media.sniff import extension_for, is_web_page
from tests.support.films import film
from tests.support.pictures import picture


def test_real_files_get_the_extension_of_their_bytes(tmp_path):
    mp4 = film(tmp_path / "a").read_bytes()
    assert extension_for("image", "text/html", mp4[:64]) == "mp4"
    assert [extension_for("video", "video/mp4", picture(kind=k)[:64]) for k in ("PNG", "JPEG", "WEBP")] == [
        "png",
        "jpg",
        "webp",
    ]


@pytest.mark.parametrize(
    ("media_type", "content_type", "first_bytes", "extension"),
    [
        ("video", "video/mp4", b"", "bin"),
        ("video", "video/mp4", b"whatever it is", "bin"),
        ("video", "video/mp4; codecs=x", b"\0\0\0\x08moov", "mp4"),
        ("video", None, b"\0\0\0\x08moov", "bin"),
        ("image", "video/mp4", b"\0\0\0\x08moov", "bin"),
        ("image", "image/avif", b"\0\0\0\x20ftypavif", "bin"),
        ("audio", "audio/mpeg", b"ID3", "bin"),
        ("image", "image/webp", b"RIFF\0\0\0\0WAVE", "bin"),
    ],
)
def test_what_bytes_do_not_prove_is_bin(media_type, content_type, first_bytes, extension):
    assert extension_for(media_type, content_type, first_bytes) == extension


@pytest.mark.parametrize(
    ("content_type", "first_bytes", "page"),
    [
        ("video/mp4", b"  \n<!DOCTYPE html><html>", True),
        ("application/octet-stream", b"\xef\xbb\xbf<?xml version='1.0'?><Error>", True),
        ("text/html; charset=utf-8", b"Sorry", True),
        ("text/html", b"\0\0\0\x20ftypisom", False),
        (None, b"\0\0\0\x20ftypisom", False),
        ("application/json", b"{}", False),
    ],
)
def test_web_page_is_told_from_a_file(content_type, first_bytes, page):
    assert is_web_page(content_type, first_bytes) is page
