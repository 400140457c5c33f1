"""Input pictures: the forms in which one is given, the rules that it keeps, and the header that says so."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
import zlib
from io import BytesIO
from pathlib import Path

import pybase64
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from schemas import images
from schemas.errors import RequestInvalid
from schemas.image_header import HeaderError, read_header
from schemas.images import MAX_BYTES, MAX_PIXELS, ImageBytes, ImageRef, ImageUrl, data_url, image_from, parse_image
from tests.support.pictures import as_data_url, picture

KINDS = [("JPEG", "jpg", "image/jpeg"), ("PNG", "png", "image/png"), ("WEBP", "webp", "image/webp")]


def codes(text: str, *, stored: bool = False) -> list[str]:
    with pytest.raises(RequestInvalid) as caught:
        parse_image(text, stored=stored)
    assert all(problem.message for problem in caught.value.problems)
    return [problem.code for problem in caught.value.problems]


def png_header(width: int, height: int, body: bytes = b"") -> bytes:
    """A PNG whose header claims a size that its few bytes do not hold."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("kind", "name", "media_type"), KINDS)
def test_each_format_is_told_by_its_bytes(kind: str, name: str, media_type: str) -> None:
    data = picture(640, 480, kind)
    image = parse_image(as_data_url(data, media_type))
    assert image == ImageBytes(data, name, 640, 480)
    assert isinstance(image, ImageBytes)
    assert image.declared == ""
    assert image.text == data_url(data) == as_data_url(data, media_type)


@pytest.mark.parametrize("media_type", ["image/jpg", "IMAGE/JPEG", "image/jpeg;charset=utf-8"])
def test_other_spellings_of_a_media_type_are_true(media_type: str) -> None:
    image = parse_image(as_data_url(picture(), media_type))
    assert isinstance(image, ImageBytes)
    assert image.declared == ""


@pytest.mark.parametrize(("claimed", "kept"), [("image/png", "image/png"), ("text/plain", "text/plain"), ("", "none")])
def test_a_wrong_media_type_is_not_believed_but_remembered(claimed: str, kept: str) -> None:
    image = parse_image(as_data_url(picture(), claimed))
    assert isinstance(image, ImageBytes)
    assert (image.format, image.declared) == ("jpg", kept)
    assert image.text.startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (301, 301, []),
        (300, 301, ["image_too_small"]),
        (301, 300, ["image_too_small"]),
        (300, 300, ["image_too_small"]),
        (302, 755, []),
        (302, 756, ["image_aspect_ratio"]),
        (755, 302, []),
        (756, 302, ["image_aspect_ratio"]),
        (100, 900, ["image_too_small", "image_aspect_ratio"]),
    ],
)
def test_the_short_side_and_the_aspect_ratio_have_limits(
    kind: str, width: int, height: int, expected: list[str]
) -> None:
    text = as_data_url(picture(width, height, kind))
    if expected:
        assert codes(text) == expected
    else:
        assert isinstance(parse_image(text), ImageBytes)


def test_a_lossless_and_an_animated_webp_are_read() -> None:
    lossless, animated = BytesIO(), BytesIO()
    frames = [Pillow.new("RGBA", (500, 400), color) for color in ("red", "blue")]
    frames[0].save(lossless, "WEBP", lossless=True)
    frames[0].save(animated, "WEBP", save_all=True, append_images=frames[1:])
    for out in (lossless, animated):
        header = read_header(out.getvalue())
        assert (header.format, header.width, header.height) == ("webp", 500, 400)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_has_the_size_in_which_it_is_seen(orientation: int) -> None:
    header = read_header(picture(640, 480, "JPEG", orientation))
    assert (header.width, header.height) == ((480, 640) if orientation >= 5 else (640, 480))


def test_a_progressive_jpeg_is_read() -> None:
    out = BytesIO()
    Pillow.new("RGB", (512, 333)).save(out, "JPEG", progressive=True)
    header = read_header(out.getvalue())
    assert (header.width, header.height) == (512, 333)


def test_a_picture_has_fewer_than_twenty_million_bytes() -> None:
    fitting = picture() + bytes(MAX_BYTES - 1 - len(picture()))
    assert isinstance(parse_image(as_data_url(fitting)), ImageBytes)
    assert codes(as_data_url(fitting + b"\x00")) == ["image_too_large"]


def test_a_picture_that_is_too_large_is_refused_before_it_is_decoded() -> None:
    not_even_base64 = "data:image/png;base64," + "!" * (MAX_BYTES * 4 // 3 + 4)
    assert codes(not_even_base64) == ["image_too_large"]


def test_a_decompression_bomb_is_refused_by_its_header() -> None:
    assert codes(as_data_url(png_header(60_000, 60_000))) == ["image_too_many_pixels"]
    side = int(MAX_PIXELS**0.5)
    assert isinstance(parse_image(as_data_url(png_header(side, side))), ImageBytes)
    assert codes(as_data_url(png_header(side, side + 1))) == ["image_too_many_pixels"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("kept", [12, 20, 30, -40, -3])
def test_a_truncated_picture_is_refused(kind: str, kept: int) -> None:
    assert codes(as_data_url(picture(500, 400, kind)[:kept])) in (["image_truncated"], ["image_unreadable"])


@pytest.mark.parametrize(
    ("data", "code", "named"),
    [
        (b"", "image_format", "empty"),
        (b"GIF89a" + bytes(20), "image_format", "GIF"),
        (b"BM" + bytes(20), "image_format", "BMP"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(20), "image_format", "HEIC"),
        (b"\x00\x00\x00\x18ftypavif" + bytes(20), "image_format", "AVIF"),
        (b"\x00\x00\x00\x18ftypisom" + bytes(20), "image_format", "video"),
        (b"<svg xmlns=''/>", "image_format", "SVG"),
        (b"<!doctype html>", "image_format", "web page"),
        (b"hello", "image_format", "something else"),
        (b"\xff\xd8\xff\xe0\x00\x02junk" + bytes(20), "image_unreadable", "JPEG"),
        (b"\xff\xd8\xff\xe0\x00\x02" + b"\xff\xe0\x00\x02" * 5000, "image_unreadable", "JPEG"),
        (b"RIFF\x10\x00\x00\x00WEBPXXXX" + bytes(30), "image_unreadable", "WebP"),
        (png_header(0, 500), "image_unreadable", "width"),
        (b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\x0dJUNK" + bytes(30), "image_unreadable", "PNG"),
    ],
)
def test_what_is_no_picture_is_refused_by_name(data: bytes, code: str, named: str) -> None:
    with pytest.raises(HeaderError) as caught:
        read_header(data)
    assert caught.value.code == code
    assert named in caught.value.message
    assert codes(as_data_url(data)) == [code]


@pytest.fixture(params=["with pybase64", "without it"])
def decoders(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service may have installed it or not: what is taken is the same."""
    if request.param == "without it":
        monkeypatch.setattr(images, "b64decode", base64.b64decode)
    else:
        assert images.b64decode is pybase64.b64decode


@pytest.mark.usefixtures("decoders")
@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.text(alphabet="AQg7+/=-_ \n\x00é", max_size=12)
    | st.binary(max_size=40).map(lambda data: base64.b64encode(data).decode())
)
def test_what_is_base64_does_not_depend_on_what_is_installed(text: str) -> None:
    try:
        expected: bytes | None = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        expected = None
    try:
        found: bytes | None = images._decoded(text)
    except ValueError:
        found = None
    assert found == expected


@pytest.mark.usefixtures("decoders")
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "image_form"),
        ("cat.jpg", "image_form"),
        ("/home/cat.jpg", "image_form"),
        ("iVBORw0KGgo=", "image_form"),
        ("data:", "image_data_url"),
        ("data:image/png,abc", "image_data_url"),
        ("data:image/png;base32,abc", "image_data_url"),
        ("data:image/png;base64", "image_data_url"),
        ("data:image/png;base64,a", "image_base64"),
        ("data:image/png;base64,ab==cd", "image_base64"),
        ("data:image/png;base64,iVBO\nRw0K", "image_base64"),
        ("data:image/png;base64,ab-_", "image_base64"),
        ("data:image/png;base64,猫猫猫猫", "image_base64"),
        ("ftp://pictures.example/cat.jpg", "url_scheme"),
        ("file:///cat.jpg", "url_scheme"),
        ("http://127.0.0.1/cat.jpg", "url_not_public"),
        (f"input:{'a' * 64}.jpg:400x400", "image_form"),
    ],
)
def test_other_forms_are_refused(text: str, code: str) -> None:
    assert codes(text) == [code]


def test_a_url_is_taken_as_it_is() -> None:
    assert parse_image("https://pictures.example/a.gif?sig=1") == ImageUrl("https://pictures.example/a.gif?sig=1")


def test_a_reference_is_understood_only_where_inputs_are_stored() -> None:
    text = f"input:{'0a' * 32}.webp:1920x1080"
    assert parse_image(text, stored=True) == ImageRef("0a" * 32, "webp", 1920, 1080)
    assert codes(text) == ["image_form"]


@pytest.mark.parametrize(
    "text",
    [
        "input:",
        f"input:{'A' * 64}.jpg:400x400",
        f"input:{'a' * 63}.jpg:400x400",
        f"input:{'a' * 64}.gif:400x400",
        f"input:{'a' * 64}.jpg:0400x400",
        f"input:{'a' * 64}.jpg:400x",
        f"input:{'a' * 64}.jpg:400x400\n",
        f"input:../{'a' * 61}.jpg:400x400",
    ],
)
def test_a_malformed_reference_is_refused(text: str) -> None:
    assert codes(text, stored=True) == ["image_ref"]


def test_a_reference_keeps_the_rules_of_a_picture() -> None:
    assert codes(f"input:{'a' * 64}.jpg:100x400", stored=True) == ["image_too_small", "image_aspect_ratio"]


def test_a_picture_is_referred_to_by_its_digest() -> None:
    data = picture(640, 480, "PNG")
    ref = ImageBytes(data, "png", 640, 480).ref()
    assert ref.text == f"input:{hashlib.sha256(data).hexdigest()}.png:640x480"
    assert ImageRef.parse(ref.text) == ref


def test_nothing_shows_bytes_or_urls() -> None:
    assert "JFIF" not in repr(ImageBytes(picture(), "jpg", 400, 400))
    assert "sig" not in repr(ImageUrl("https://pictures.example/?sig=1"))


def test_a_data_url_is_built_from_bytes_and_files(tmp_path: Path) -> None:
    path = tmp_path / "cat.dat"
    path.write_bytes(picture())
    assert image_from(picture()) == image_from(path) == image_from(str(path)) == as_data_url(picture())


def test_building_a_data_url_tells_the_broken_rule(tmp_path: Path) -> None:
    with pytest.raises(RequestInvalid) as caught:
        image_from(picture(200, 900))
    assert [(p.field, p.code) for p in caught.value.problems] == [
        ("image", "image_too_small"),
        ("image", "image_aspect_ratio"),
    ]
    large = tmp_path / "large.png"
    with large.open("wb") as file:
        file.truncate(MAX_BYTES)
    with pytest.raises(RequestInvalid, match="image_too_large"):
        image_from(large)
    with pytest.raises(ValueError, match="not a JPG"):
        data_url(b"hello")
    with pytest.raises(FileNotFoundError):
        image_from(tmp_path / "absent.png")


@settings(max_examples=300)
@given(
    st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x10\0\0\0WEBPVP8 ", b"RIFF\0\0\0\0WEBPVP8X"]),
    st.binary(max_size=200),
)
def test_any_bytes_have_a_header_or_an_error(start: bytes, rest: bytes) -> None:
    try:
        header = read_header(start + rest)
    except HeaderError:
        return
    assert header.width > 0
    assert header.height > 0


@settings(max_examples=200)
@given(st.sampled_from(["JPEG", "PNG", "WEBP"]), st.data())
def test_a_damaged_picture_is_read_or_refused(kind: str, data: st.DataObject) -> None:
    damaged = bytearray(picture(400, 320, kind))
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    try:
        image = parse_image(f"data:;base64,{base64.b64encode(damaged[:cut]).decode()}")
    except RequestInvalid:
        return
    assert isinstance(image, ImageBytes)
