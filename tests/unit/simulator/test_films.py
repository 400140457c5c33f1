"""Rendered films, looked at frame by frame."""

from __future__ import annotations

import io
import struct
import threading
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
from PIL import Image, ImageChops, ImageDraw, ImageStat

from ops.simulator.films import FPS, TEXT_SHAPE, Film, FilmSpec, RenderStopped, frame_size, render
from ops.simulator.outside import is_loopback, placeholder


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def bar(width: int, height: int) -> Image.Image:
    """Dark, with one bright upright bar and one bright level bar through the middle."""
    picture = Image.new("RGB", (width, height), "black")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((width * 0.48, 0, width * 0.52, height), fill="white")
    draw.rectangle((0, height * 0.48, width, height * 0.52), fill="white")
    return picture


def made(folder: Path, spec: FilmSpec) -> tuple[Film, Image.Image, Image.Image]:
    """The film of `spec` with its first and last frame."""
    film = render(spec, Film(folder / "film.mp4", folder / "film.jpg"), threading.Event())
    with av.open(str(film.video)) as container:
        frames = [frame.to_image() for frame in container.decode(video=0)]
    assert len(frames) == spec.duration_s * FPS
    return film, frames[0], frames[-1]


def brightest(frame: Image.Image, axis: int) -> float:
    """Where along an axis (0: x, 1: y) the frame is brightest, 0..1."""
    grey = frame.convert("L")
    line = grey.resize((grey.width, 1) if axis == 0 else (1, grey.height), Image.Resampling.BOX).tobytes()
    return line.index(max(line)) / len(line)


def difference(one: Image.Image, other: Image.Image) -> float:
    return sum(ImageStat.Stat(ImageChops.difference(one, other.resize(one.size))).mean) / 3


SPEC = FilmSpec(encoded(bar(960, 540)), None, "", "512P", 6)


@pytest.mark.parametrize(
    ("instruction", "axis", "sign"),
    [("pan left", 0, 1), ("pan right", 0, -1), ("tilt up", 1, 1), ("lower", 1, -1)],
)
def test_what_is_filmed_moves_against_the_camera(tmp_path: Path, instruction: str, axis: int, sign: int) -> None:
    _, first, last = made(tmp_path, replace(SPEC, prompt=f"a scene [{instruction}]"))
    assert brightest(first, axis) == pytest.approx(0.5, abs=0.03)
    assert (brightest(last, axis) - brightest(first, axis)) * sign > 0.06


def test_a_film_is_h264_of_the_ordered_length_with_its_index_in_front(tmp_path: Path) -> None:
    film, first, _ = made(tmp_path, SPEC)
    with av.open(str(film.video)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == FPS
        assert stream.duration is not None
        assert stream.time_base is not None
        assert stream.duration * stream.time_base == Fraction(6)
    raw = film.video.read_bytes()
    assert raw.index(b"moov") < raw.index(b"mdat")
    assert difference(bar(960, 540), first) < 12
    with Image.open(film.cover) as cover:
        assert cover.size == first.size


def test_a_last_frame_is_cross_faded_to_cropped_to_the_first(tmp_path: Path) -> None:
    last = Image.new("RGB", (900, 1500), "navy")
    ImageDraw.Draw(last).rectangle((0, 400, 900, 1100), fill="orange")
    _, first_frame, last_frame = made(tmp_path, replace(SPEC, last=encoded(last)))
    assert first_frame.size == last_frame.size == (910, 512)
    assert difference(bar(960, 540), first_frame) < 12
    assert difference(Image.new("RGB", last_frame.size, "orange"), last_frame) < 12


def test_a_text_alone_gives_a_wide_scene_through_the_same_camera(tmp_path: Path) -> None:
    _, first, last = made(tmp_path, FilmSpec(None, None, "a cat [pan left]", "768P", 1))
    assert first.size == (1366, 768)
    assert brightest(last, 0) - brightest(first, 0) > 0.06


def test_a_watermark_shows_in_its_corner_alone(tmp_path: Path) -> None:
    dark = replace(SPEC, first=encoded(Image.new("RGB", (960, 540))), prompt="[static]", watermark=True)
    _, first, _ = made(tmp_path, dark)
    corner = first.crop((first.width * 3 // 4, first.height * 3 // 4, first.width, first.height))
    assert max(corner.convert("L").tobytes()) > 120
    assert max(first.crop((0, 0, first.width // 2, first.height // 2)).convert("L").tobytes()) < 30


def noted(orientation: int | bytes) -> bytes:
    """Exif data whose orientation is a number, or (against its standard) text."""
    if isinstance(orientation, int):
        exif = Image.Exif()
        exif[0x0112] = orientation
        return exif.tobytes()
    entry = struct.pack("<HHI4s", 0x0112, 2, len(orientation), orientation)
    return b"Exif\x00\x00II*\x00" + struct.pack("<IH", 8, 1) + entry + bytes(4)


def cornered(kind: str, exif: bytes) -> FilmSpec:
    """A still film of an 800x600 picture that is red in the top left corner as it is stored."""
    picture = Image.new("RGB", (800, 600), "navy")
    ImageDraw.Draw(picture).rectangle((0, 0, 300, 220), fill="red")
    first = encoded(picture, kind, exif=exif)
    return FilmSpec(first, None, "[static]", "512P", 1)


def red_corner(frame: Image.Image) -> str:
    """Where the frame is reddest: top or bottom, left or right."""
    corners = frame.resize((2, 2), Image.Resampling.BOX).getchannel("R").tobytes()
    return ("top left", "top right", "bottom left", "bottom right")[corners.index(max(corners))]


LYING, STANDING = (682, 512), (512, 682)


@pytest.mark.parametrize(
    ("orientation", "size", "corner"),
    [
        (1, LYING, "top left"),
        (2, LYING, "top right"),
        (3, LYING, "bottom right"),
        (4, LYING, "bottom left"),
        (5, STANDING, "top left"),
        (6, STANDING, "top right"),
        (7, STANDING, "bottom right"),
        (8, STANDING, "bottom left"),
    ],
)
def test_a_jpeg_is_filmed_as_its_orientation_says(
    tmp_path: Path, orientation: int, size: tuple[int, int], corner: str
) -> None:
    _, first, _ = made(tmp_path, cornered("JPEG", noted(orientation)))
    assert (first.size, red_corner(first)) == (size, corner)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    ("kind", "exif"),
    [
        ("PNG", noted(6)),
        ("WEBP", noted(6)),
        ("JPEG", noted(0)),
        ("JPEG", noted(9)),
        ("JPEG", noted(b"6\x00")),
        ("JPEG", b"Exif\x00\x00II*\x00"),
        ("JPEG", b"Exif\x00\x00" + b"oops" * 10),
        ("JPEG", noted(6)[:20]),
    ],
    ids=["png", "webp", "zero", "nine", "text", "no directory", "no exif", "cut short"],
)
def test_other_pictures_and_senseless_orientations_are_filmed_as_stored(tmp_path: Path, kind: str, exif: bytes) -> None:
    _, first, _ = made(tmp_path, cornered(kind, exif))
    assert (first.size, red_corner(first)) == (LYING, "top left")


@pytest.mark.parametrize(
    ("picture", "resolution", "size"),
    [
        ((1600, 900), "768P", (1366, 768)),
        ((900, 1600), "768P", (768, 1366)),
        ((1000, 1000), "1080P", (1080, 1080)),
        ((1000, 400), "512P", (1280, 512)),
        ((400, 1000), "1080P", (1080, 2700)),
        ((1600, 900), "720P", (1280, 720)),
        (TEXT_SHAPE, "768P", (1366, 768)),
        (TEXT_SHAPE, "1080P", (1920, 1080)),
    ],
)
def test_the_short_side_follows_the_resolution(
    picture: tuple[int, int], resolution: str, size: tuple[int, int]
) -> None:
    assert frame_size(picture, resolution) == size


def test_a_stopped_render_leaves_nothing(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(RenderStopped):
        render(SPEC, Film(tmp_path / "film.mp4", tmp_path / "film.jpg"), stop)
    assert list(tmp_path.iterdir()) == []


def test_films_that_look_alike_share_a_name_and_others_do_not() -> None:
    variants = [
        SPEC,
        replace(SPEC, prompt="[rise]"),
        replace(SPEC, prompt="[rise][lower]"),
        replace(SPEC, duration_s=10),
        replace(SPEC, resolution="768P"),
        replace(SPEC, watermark=True),
        replace(SPEC, last=SPEC.first),
        replace(SPEC, first=None),
    ]
    assert len({spec.digest() for spec in variants}) == len(variants)
    assert replace(SPEC, prompt="dawn [rise]").digest() == replace(SPEC, prompt="dusk [Rise]").digest()


def test_a_public_url_stands_for_a_picture_of_its_own() -> None:
    assert placeholder("https://example.com/a.jpg") == placeholder("https://example.com/a.jpg")
    assert placeholder("https://example.com/a.jpg") != placeholder("https://example.com/b.jpg")


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        ("http://127.0.0.1:8000/a", True),
        ("http://localhost/a", True),
        ("http://[::1]/a", True),
        ("http://example.com/a", False),
        ("http://10.0.0.1/a", False),
        ("http://127.0.0.1.example.com/a", False),
    ],
)
def test_only_literal_loopback_addresses_are_fetched_from(url: str, ours: bool) -> None:
    assert is_loopback(url) is ours
