"""Renders films: real MP4 files that show the first picture, or a painted scene, through a moving camera.

Owns frame sizes, rendering and the cache on disk (one file for each distinct film). Refuses to block the event loop:
one background thread renders, in the order asked for.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import av
from PIL import ExifTags, Image, ImageDraw, ImageFont, ImageOps
from PIL.JpegImagePlugin import JpegImageFile

from .camera import Window, parse, path

FPS: Final = 24
SHORT_SIDE_PX: Final = {"512P": 512, "720P": 720, "768P": 768, "1080P": 1080}
TEXT_SHAPE: Final = (16, 9)
"""Of a film without a first picture."""
_FORM: Final = 2
"""Part of every cache name: raise it when the same request is to look different, so that old files are not reused."""

_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Exif orientation -> what turns the stored picture upright. From 5 on, its sides change places."""


class RenderStopped(Exception):
    """The simulator is ending; the film was not finished and nothing of it is kept."""


@dataclass(frozen=True, slots=True)
class FilmSpec:
    """All that makes one film differ from another. Pictures are encoded bytes (JPEG, PNG or WebP).

    Without a first one the film shows one and the same scene, whatever the prose of its prompt.
    """

    first: bytes | None = field(repr=False)
    last: bytes | None = field(repr=False)
    prompt: str = field(repr=False)
    resolution: str
    duration_s: int
    watermark: bool = False

    def digest(self) -> str:
        """The name of the film: the same for all specs that render alike, whatever the prose of their prompts."""
        first, last = (None if data is None else hashlib.sha256(data).hexdigest() for data in (self.first, self.last))
        parts = [_FORM, first, last, parse(self.prompt), self.resolution, self.duration_s, self.watermark]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Film:
    """A rendered film and its cover, a JPEG of its first frame."""

    video: Path
    cover: Path


def frame_size(picture_size: tuple[int, int], resolution: str) -> tuple[int, int]:
    """Width and height in pixels of a film: the short side by resolution, the shape of the first picture, both even."""
    width, height = picture_size
    short = SHORT_SIDE_PX[resolution]
    long = round(short * max(width, height) / min(width, height) / 2) * 2
    return (long, short) if width >= height else (short, long)


class Films:
    """The films on disk under `folder`, and the thread that renders those not there yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="films")
        self._stop = threading.Event()
        self._waiting: dict[str, asyncio.Future[Film]] = {}
        self.rendered = 0
        self.reused = 0

    @property
    def waiting(self) -> int:
        """How many films are being rendered or stand in line."""
        return len(self._waiting)

    def named(self, digest: str) -> Film:
        """The film that a spec with this digest has or will have."""
        return Film(self._folder / f"{digest}.mp4", self._folder / f"{digest}.jpg")

    async def get(self, spec: FilmSpec) -> Film:
        """The film of `spec`, rendered at most once. Raises `RenderStopped`, and anything for pictures out of order."""
        digest = spec.digest()
        film = self.named(digest)
        if film.video.exists() and film.cover.exists():
            self.reused += 1
            return film
        rendering = self._waiting.get(digest)
        if rendering is None:
            rendering = asyncio.get_running_loop().run_in_executor(self._pool, render, spec, film, self._stop)
            self._waiting[digest] = rendering
            rendering.add_done_callback(lambda done: self._ended(digest, done))
            self.rendered += 1
        else:
            self.reused += 1
        return await asyncio.shield(rendering)

    def _ended(self, digest: str, rendering: asyncio.Future[Film]) -> None:
        del self._waiting[digest]
        if not rendering.cancelled():
            rendering.exception()  # seen: at the end of the simulator nobody waits for it any more

    def close(self) -> None:
        """Stops the film being rendered after its current frame and waits for that."""
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)


def render(spec: FilmSpec, film: Film, stop: threading.Event) -> Film:
    """Writes the files of `film`, each under a temporary name first. H.264, yuv420p, index at the front, `FPS`."""
    picture, full_size = (_scene(), TEXT_SHAPE) if spec.first is None else _decode(spec.first, spec.resolution)
    width, height = frame_size(full_size, spec.resolution)
    picture = picture.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
    last = None
    if spec.last is not None:
        last = _planes(ImageOps.fit(_decode(spec.last, spec.resolution)[0], (width, height)))
    mark = _watermark(width, height) if spec.watermark else None

    part = film.video.with_suffix(".part")
    try:
        with av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}) as out:
            stream = out.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "28"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.thread_count = 1  # leaves the other cores to those who use the simulator
            for number, planes in enumerate(_frames(spec, picture, last)):
                if stop.is_set():
                    raise RenderStopped
                if mark is not None:
                    planes[0].paste(235, (0, 0), mark)
                frame = av.VideoFrame(width, height, "yuv420p")
                frame.pts = number
                for plane, pixels in zip(frame.planes, planes, strict=True):
                    plane.update(_padded(pixels, plane.line_size))
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        cover_part = film.cover.with_suffix(".jpg.part")
        picture.save(cover_part, "JPEG", quality=80)
        cover_part.replace(film.cover)
        part.replace(film.video)
    finally:
        part.unlink(missing_ok=True)
    return film


def _frames(spec: FilmSpec, picture: Image.Image, last: list[Image.Image] | None) -> Iterator[list[Image.Image]]:
    """The Y, Cb and Cr planes of each frame. Each plane is resized by itself: half the work of whole RGB frames."""
    width, height = picture.size
    windows = path(spec.prompt, spec.duration_s * FPS)
    left, top, canvas = _canvas(picture, windows)
    planes = _planes(canvas)
    for number, window in enumerate(windows):
        x0 = left + width * (0.5 + window.dx - window.scale / 2)
        y0 = top + height * (0.5 + window.dy - window.scale / 2)
        box = (x0, y0, x0 + width * window.scale, y0 + height * window.scale)
        frame = []
        for plane, part in zip(planes, (1, 2, 2), strict=True):
            size = (width // part, height // part)
            frame.append(plane.resize(size, Image.Resampling.BILINEAR, box=_within(plane, box, part)))
        if last is not None:
            u = number / (len(windows) - 1)
            weight = u * u * (3 - 2 * u)
            frame = [Image.blend(ours, theirs, weight) for ours, theirs in zip(frame, last, strict=True)]
        yield frame


def _within(plane: Image.Image, box: tuple[float, float, float, float], part: int) -> tuple[float, float, float, float]:
    # Rounding may carry a box a hair over the edge, which Pillow refuses.
    x0, y0, x1, y1 = (edge / part for edge in box)
    return max(0.0, x0), max(0.0, y0), min(float(plane.width), x1), min(float(plane.height), y1)


def _canvas(picture: Image.Image, windows: list[Window]) -> tuple[int, int, Image.Image]:
    """The picture with its surroundings mirrored outwards as far as the camera will see: `(left, top, canvas)`."""
    width, height = picture.size
    reach_x = max(abs(w.dx) + w.scale / 2 for w in windows) - 0.5
    reach_y = max(abs(w.dy) + w.scale / 2 for w in windows) - 0.5
    # Even margins keep the half-size colour planes aligned. A mirror reaches at most one picture far.
    left = min(width, int(max(0.0, reach_x) * width / 2 + 1) * 2)
    top = min(height, int(max(0.0, reach_y) * height / 2 + 1) * 2)
    canvas = Image.new("RGB", (width + 2 * left, height + 2 * top))
    mirrored, flipped = ImageOps.mirror(picture), ImageOps.flip(picture)
    both = ImageOps.flip(mirrored)
    for row, (plain, turned) in enumerate(((flipped, both), (picture, mirrored), (flipped, both))):
        y = top + (row - 1) * height
        for x, tile in ((left - width, turned), (left, plain), (left + width, turned)):
            canvas.paste(tile, (x, y))
    return left, top, canvas


def _planes(picture: Image.Image) -> list[Image.Image]:
    frame = av.VideoFrame.from_image(picture)  # type: ignore[no-untyped-call]  # untyped in PyAV
    frame = frame.reformat(format="yuv420p")
    return [Image.frombytes("L", (p.width, p.height), bytes(p), "raw", "L", p.line_size) for p in frame.planes]


def _padded(pixels: Image.Image, line_bytes: int) -> bytes:
    if pixels.width == line_bytes:
        return pixels.tobytes()
    wide = Image.new("L", (line_bytes, pixels.height))
    wide.paste(pixels)
    return wide.tobytes()


def _scene() -> Image.Image:
    """A sun over a plain: what every text comes to."""
    size = width, height = (1280, 720)
    shade = Image.linear_gradient("L").resize(size)
    picture = Image.composite(Image.new("RGB", size, "moccasin"), Image.new("RGB", size, "steelblue"), shade)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, height * 0.62, width, height), fill="darkslategray")
    draw.ellipse((width * 0.46, height * 0.3, width * 0.54, height * 0.3 + width * 0.08), fill="lightyellow")
    return picture


def _decode(data: bytes, resolution: str) -> tuple[Image.Image, tuple[int, int]]:
    """The picture, upright, and its upright size in the file; decoded smaller than that where the format can."""
    picture = Image.open(io.BytesIO(data), formats=["JPEG", "PNG", "WEBP"])
    width, height = picture.size
    orientation = _orientation(picture)
    if orientation >= 5:
        width, height = height, width
    side = 2 * SHORT_SIDE_PX[resolution]
    picture.draft("RGB", (side, side))
    stored = picture.convert("RGB")
    return stored.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else stored, (width, height)


def _orientation(picture: Image.Image) -> int:
    """1..8. Phones store a portrait as a landscape JPEG with a note to turn it; people expect the portrait.

    PNG and WebP are shown as stored, and so is a JPEG whose note makes no sense. A note in XMP is not looked for.
    """
    if not isinstance(picture, JpegImageFile):
        return 1
    exif = Image.Exif()
    try:
        exif.load(picture.info.get("exif", b""))
        value = exif.get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - damaged metadata is common, and Pillow raises anything at it
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _watermark(width: int, height: int) -> Image.Image:
    mark = Image.new("L", (width, height))
    size = max(14, min(width, height) // 24)
    font = ImageFont.load_default(size)
    ImageDraw.Draw(mark).text((width - size, height - size // 2), "AIGC", fill=190, font=font, anchor="rs")
    return mark
