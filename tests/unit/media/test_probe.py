"""Measuring and comparing films and pictures."""

import itertools
import struct
import zlib
from types import SimpleNamespace

import pytest

from tasks.media import probe as measuring
from tasks.media.errors import NotPlayable
from tasks.media.probe import MAX_PROBE_S, MAX_STREAMS, Film, check, probe
from tests.support.films import film, long_film, many_streams, sound
from tests.support.pictures import picture

FASTSTART = {"movflags": "faststart"}


@pytest.mark.parametrize(("width", "height", "codec"), [(64, 48, "mpeg4"), (48, 64, "mpeg4"), (64, 64, "libx264")])
def test_film_is_measured(tmp_path, width, height, codec):
    measured = probe(film(tmp_path / "a.mp4", width, height, 1.5, codec=codec), "video")
    assert (measured.width, measured.height) == (width, height)
    assert measured.duration_s == pytest.approx(1.5, abs=0.11)


def test_film_cut_short_lasts_as_long_as_its_frames(tmp_path):
    path = film(tmp_path / "a.mp4", seconds=6.0, options=FASTSTART)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2])
    assert probe(path).duration_s < 5


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a film" * 100),
        lambda path: path.write_bytes(film(path).read_bytes()[:300]),
        sound,
        lambda path: path.write_bytes(picture()),
        lambda path: path.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n"),
        lambda path: path.write_text("ffconcat version 1.0\nfile /etc/hostname\n"),
        lambda path: path.unlink(missing_ok=True),
    ],
    ids=["empty", "text", "cut before its index", "sound alone", "picture", "playlist", "concat", "missing"],
)
def test_what_is_no_film_is_not_playable(tmp_path, make):
    path = tmp_path / "a.mp4"
    make(path)
    with pytest.raises(NotPlayable):
        probe(path, "video")


def test_film_of_many_streams_is_not_playable(tmp_path):
    assert probe(many_streams(tmp_path / "a.mp4", MAX_STREAMS)).width == 64
    with pytest.raises(NotPlayable, match="too many streams"):
        probe(many_streams(tmp_path / "b.mp4", MAX_STREAMS + 1))


def test_film_that_lasts_beyond_all_measure_is_not_playable(tmp_path):
    assert probe(long_film(tmp_path / "a.mp4", 590)).duration_s > 580
    with pytest.raises(NotPlayable, match="lasts longer"):
        probe(long_film(tmp_path / "b.mp4", 700))


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [("MAX_PACKETS", 5, "too many frames"), ("MAX_PIXELS", 64 * 47, "frame size")],
)
def test_film_beyond_a_limit_is_not_playable(tmp_path, monkeypatch, limit, value, words):
    path = film(tmp_path / "a.mp4")
    monkeypatch.setattr(measuring, limit, value)
    with pytest.raises(NotPlayable, match=words):
        probe(path)


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_frame_that_is_larger_than_it_was_declared_is_not_decoded(tmp_path, monkeypatch, codec):
    path = film(tmp_path / "a.mp4", codec=codec)
    monkeypatch.setattr(measuring, "MAX_PIXELS", 64 * 47)
    monkeypatch.setattr(measuring, "check_frame", lambda _width, _height: None)
    with pytest.raises(NotPlayable):
        probe(path)


def test_frame_beyond_the_limit_is_not_decoded_while_the_film_is_opened(tmp_path, monkeypatch):
    path, seen = film(tmp_path / "a.mp4", codec="mpeg4"), []  # whose frame size FFmpeg takes from the first frame
    monkeypatch.setattr(measuring, "MAX_PIXELS", 64 * 47)
    monkeypatch.setattr(measuring, "check_frame", lambda width, height: seen.append((width, height)))
    with pytest.raises(NotPlayable):
        probe(path)
    assert seen == [(0, 0)]


def test_film_that_is_never_open_is_not_playable(tmp_path, monkeypatch):
    path = film(tmp_path / "a.mp4")
    monkeypatch.setattr(measuring, "MAX_PROBE_S", 1e-9)
    monkeypatch.setattr(measuring, "time", SimpleNamespace(monotonic=lambda: 0.0))
    with pytest.raises(NotPlayable, match="too long"):
        probe(path)


def test_film_whose_packets_take_too_long_is_not_playable(tmp_path, monkeypatch):
    path = film(tmp_path / "a.mp4")
    clock = itertools.count(step=MAX_PROBE_S / 3)
    monkeypatch.setattr(measuring, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with pytest.raises(NotPlayable, match="too long"):
        probe(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_picture_is_measured(tmp_path, kind):
    path = tmp_path / "a.bin"
    path.write_bytes(picture(40, 30, kind))
    assert probe(path, "image") == Film(40, 30, None)


def test_picture_bomb_is_not_playable(tmp_path):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    path = tmp_path / "a.png"
    for side in (9_000, 10_000, 60_000):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
        with pytest.raises(NotPlayable):
            probe(path, "image")


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\xff\xd8\xff", b"<svg/>"])
def test_what_is_no_picture_is_not_playable(tmp_path, data):
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(NotPlayable):
        probe(path, "image")


def test_other_types_are_not_opened(tmp_path):
    assert probe(tmp_path / "missing.mp3", "audio") is None


@pytest.mark.parametrize(
    ("size", "duration_s", "expected", "words"),
    [
        ((1366, 768), 6.0, (1366, 768, 6), None),
        ((1366, 768), 6.4, (1366, 768, 6), None),
        ((1376, 768), 5.6, (1366, 768, 6), None),
        ((1366, 768), 6.0, (1310, 768, 6), None),
        ((1366, 768), 6.0, (1290, 768, 6), "1366x768 instead of 1290x768"),
        ((1366, 768), 6.0, (None, 805, 6), None),
        ((1366, 768), 6.0, (None, 815, 6), "short side is 768 px instead of 815 px"),
        ((1366, 768), 6.0, (None, None, None), None),
        ((768, 1366), 6.0, (None, 768, 6), None),
        ((768, 1366), 6.0, (1366, 768, 6), "768x1366 instead of 1366x768"),
        ((1366, 768), 6.6, (1366, 768, 6), "lasts 6.60 s instead of 6 s"),
        ((1366, 768), 10.0, (None, None, 6), "lasts 10.00 s"),
        ((910, 512), 6.0, (1366, 768, 6), "short side is 512 px instead of 768 px"),
        ((910, 512), 6.0, (None, 768, 6), "short side is 512 px"),
        ((768, 768), 6.0, (1366, 768, 6), "768x768 instead of"),
        ((910, 512), 3.0, (768, 768, 6), "; it lasts"),
    ],
)
def test_mismatch_is_said_in_a_sentence(size, duration_s, expected, words):
    sentence = check(Film(*size, duration_s), *expected)
    assert sentence is None if words is None else words in sentence


def test_duration_of_a_picture_is_not_compared():
    assert check(Film(100, 100, None), 100, 100, 6) is None
