"""Turns the camera instructions of a prompt into the path of a window over the first picture.

Owns what each of the fifteen instructions looks like. Refuses to judge prompts: a bracket that holds no known
instruction is prose and moves nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_BRACKET: Final = re.compile(r"\[([^\[\]]*)\]")


@dataclass(frozen=True, slots=True)
class Window:
    """What the camera sees, relative to the first picture: centre offset (`dx`, `dy`) in picture widths and heights
    (right and down are positive) and `scale`, the window's side over the picture's side (below 1 is closer)."""

    dx: float = 0.0
    dy: float = 0.0
    scale: float = 1.0


Motion = Callable[[float, float], Window]
"""`(u, share)` -> the change of window at `u` (0..1) of a part that lasts `share` (0..1) of the film."""


def _glide(dx: float = 0.0, dy: float = 0.0, scale: float = 1.0, *, eased: bool = False) -> Motion:
    # The way is proportional to the part's share, so that any number of parts together never leaves the canvas.
    def motion(u: float, share: float) -> Window:
        way = (u * u * (3 - 2 * u) if eased else u) * share
        return Window(dx * way, dy * way, scale**way)

    return motion


def _shake(u: float, _share: float) -> Window:
    # Whole numbers of swings: the part ends where it began.
    return Window(0.012 * math.sin(14 * math.tau * u), 0.010 * math.sin(22 * math.tau * u))


def _follow(u: float, share: float) -> Window:
    return Window(0.035 * math.sin(math.tau * u), 0.0, 0.90 ** (u * share))


# The camera's move, not the picture's: when the camera pans left, what it films moves right through the frame.
# "Tilt left" and "tilt right" are the sideways glide of the whole camera: a shorter way, a little closer.
MOTIONS: Final[dict[str, Motion]] = {
    "pan left": _glide(dx=-0.16),
    "pan right": _glide(dx=0.16),
    "tilt left": _glide(dx=-0.08, scale=0.94),
    "tilt right": _glide(dx=0.08, scale=0.94),
    "tilt up": _glide(dy=-0.14),
    "tilt down": _glide(dy=0.14),
    "rise": _glide(dy=-0.09, scale=1.06, eased=True),
    "lower": _glide(dy=0.09, scale=1.06, eased=True),
    "push in": _glide(scale=0.80, eased=True),
    "pull back": _glide(scale=1.20, eased=True),
    "zoom in": _glide(scale=0.65),
    "zoom out": _glide(scale=1.35),
    "shake": _shake,
    "follow": _follow,
    "static": lambda _u, _share: Window(),
}

DRIFT: Final = _glide(scale=0.92)
"""The slow push in of a film whose prompt names no instruction."""


def parse(prompt: str) -> list[tuple[str, ...]]:
    """The instructions of a prompt in their order: one tuple of names for each bracket that holds a known one.

    Names within a bracket act together, each once; unknown names beside known ones are passed over. Case, repeated
    spaces and the width of commas do not matter.
    """
    parts = []
    for inside in _BRACKET.findall(prompt):
        names = (" ".join(name.split()).lower() for name in inside.replace("\uff0c", ",").split(","))
        known = tuple(dict.fromkeys(name for name in names if name in MOTIONS))
        if known:
            parts.append(known)
    return parts


def path(prompt: str, frames: int) -> list[Window]:
    """The window of each of `frames` frames. The first one is the whole picture; brackets share the film equally."""
    parts = [[MOTIONS[name] for name in part] for part in parse(prompt)] or [[DRIFT]]
    share = 1 / len(parts)
    at_start = Window()
    starts = []
    for motions in parts:
        starts.append(at_start)
        at_start = _moved(at_start, motions, 1.0, share)
    windows = []
    for frame in range(frames):
        way = frame / max(1, frames - 1) * len(parts)
        n = min(int(way), len(parts) - 1)
        windows.append(_moved(starts[n], parts[n], way - n, share))
    return windows


def _moved(window: Window, motions: list[Motion], u: float, share: float) -> Window:
    for motion in motions:
        step = motion(u, share)
        window = Window(window.dx + step.dx, window.dy + step.dy, window.scale * step.scale)
    return window
