"""Paints the picture that the demo animates when it is given none: a mountain lake at sunrise. The same every time."""

from __future__ import annotations

import io
import random
from itertools import pairwise
from typing import Final

from PIL import Image, ImageChops, ImageDraw, ImageFilter

WIDTH: Final = 1280
HEIGHT: Final = 720
_SHORE: Final = 450
_SUN: Final = (880, 300)

Colour = tuple[int, int, int]

_SKY: Final[tuple[Colour, Colour]] = ((38, 62, 120), (255, 190, 130))
# From the far ridge to the near one: height of its crest, how rugged it is, its colour in the morning haze.
_RIDGES: Final[tuple[tuple[int, float, Colour], ...]] = (
    (290, 150, (150, 124, 150)),
    (345, 120, (98, 88, 122)),
    (400, 80, (52, 56, 84)),
    (440, 34, (24, 34, 48)),
)


def paint() -> bytes:
    """The picture as a JPEG, 1280 by 720 pixels."""
    chance = random.Random(11)  # noqa: S311 (scenery)
    scene = _gradient(*_SKY, (WIDTH, HEIGHT))
    _add_sun(scene)
    for crest, ruggedness, colour in _RIDGES:
        _add_ridge(scene, chance, crest, ruggedness, colour)
    _add_lake(scene, chance)
    _add_trees(scene, chance)
    out = io.BytesIO()
    scene.save(out, "JPEG", quality=90)
    return out.getvalue()


def _gradient(top: Colour, bottom: Colour, size: tuple[int, int]) -> Image.Image:
    mask = Image.linear_gradient("L").resize(size)
    return Image.composite(Image.new("RGB", size, bottom), Image.new("RGB", size, top), mask)


def _add_sun(scene: Image.Image) -> None:
    for radius, strength in ((420, 0.55), (150, 0.7)):
        glow = ImageChops.invert(Image.radial_gradient("L")).resize((2 * radius, 2 * radius))
        mask = glow.point([int(strength * max(0, value - 75) * 255 / 180) for value in range(256)])
        scene.paste((255, 214, 150), (_SUN[0] - radius, _SUN[1] - radius), mask)
    disc = Image.new("L", (WIDTH, HEIGHT), 0)
    ImageDraw.Draw(disc).circle(_SUN, 44, fill=255)
    scene.paste((255, 246, 220), (0, 0), disc.filter(ImageFilter.GaussianBlur(2)))


def _add_ridge(scene: Image.Image, chance: random.Random, crest: int, ruggedness: float, colour: Colour) -> None:
    """A skyline by midpoint displacement: halved again and again, each time with half the ruggedness."""
    heights = [crest + chance.uniform(-ruggedness, ruggedness) / 2 for _ in range(5)]
    while len(heights) < WIDTH // 5:
        ruggedness *= 0.5
        between = [(a + b) / 2 + chance.uniform(-ruggedness, ruggedness) for a, b in pairwise(heights)]
        heights = [point for pair in zip(heights, between, strict=False) for point in pair] + heights[-1:]
    step = WIDTH / (len(heights) - 1)
    skyline = [(index * step, height) for index, height in enumerate(heights)]
    mask = Image.new("L", (WIDTH, HEIGHT), 0)
    ImageDraw.Draw(mask).polygon([(0, HEIGHT), *skyline, (WIDTH, HEIGHT)], fill=255)
    haze = tuple((part + 255) // 2 for part in colour)
    scene.paste(
        _gradient(colour, (haze[0], haze[1], haze[2]), (WIDTH, HEIGHT)), (0, 0), mask.filter(ImageFilter.SMOOTH)
    )


def _add_lake(scene: Image.Image, chance: random.Random) -> None:
    """The upper part upside down, row by row shaken a little more towards the viewer, and darker."""
    depth = HEIGHT - _SHORE
    mirrored = scene.crop((0, 0, WIDTH, _SHORE)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    for row in range(depth):
        shake = int(chance.gauss(0, 1) * row / 40)
        line = mirrored.crop((0, min(row, _SHORE - 1), WIDTH, min(row, _SHORE - 1) + 1))
        scene.paste(ImageChops.offset(line, shake, 0), (0, _SHORE + row))
    dim = Image.linear_gradient("L").resize((WIDTH, depth)).point([40 + value // 3 for value in range(256)])
    scene.paste((16, 30, 56), (0, _SHORE), dim)
    draw = ImageDraw.Draw(scene)
    draw.line([(0, _SHORE), (WIDTH, _SHORE)], fill=(196, 170, 160), width=2)
    for _ in range(90):  # the sun on the ripples
        row = chance.randrange(_SHORE + 6, HEIGHT - 4)
        spread = 20 + (row - _SHORE) * 0.35
        x, half = _SUN[0] + chance.gauss(0, spread), chance.uniform(6, 10 + spread / 3)
        draw.line([(x - half, row), (x + half, row)], fill=(255, 218, 170), width=chance.choice((1, 2)))


def _add_trees(scene: Image.Image, chance: random.Random) -> None:
    """Firs at both sides, which give a camera that moves something near to pass."""
    draw = ImageDraw.Draw(scene)
    sides = [*(chance.uniform(-20, 300) for _ in range(16)), *(chance.uniform(1060, 1300) for _ in range(11))]
    for x in sides:
        near = abs(x - WIDTH / 2) / (WIDTH / 2)
        foot, height = HEIGHT + 10 + near * 30 + chance.uniform(-14, 14), 120 + 190 * near * chance.uniform(0.7, 1.1)
        shade = (10, 22 + chance.randrange(10), 26)
        for tier in range(7):
            top = foot - height + tier * height * 0.11
            half = height * (0.035 + 0.03 * tier)
            draw.polygon([(x, top), (x - half, top + height * 0.24), (x + half, top + height * 0.24)], fill=shade)
        draw.rectangle([x - 4, foot - height * 0.12, x + 4, foot], fill=(18, 16, 18))
