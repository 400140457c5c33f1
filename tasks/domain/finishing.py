"""What a film should look like, and when a download is tried again. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from schemas.images import ImageRef
from schemas.models import TEXT_TO_VIDEO_SHAPE, frame_size


@dataclass(frozen=True, slots=True)
class ExpectedFilm:
    """What was asked for, in pixels and seconds.

    Where the first frame's own shape is not known (a URL), `width` is `None` and `height` is the short side.
    """

    width: int | None
    height: int
    duration_s: float


def expected_film(request: Mapping[str, Any]) -> ExpectedFilm:
    """What the film of a stored request should be: the first frame's shape at the resolution asked for.

    A film that is made of a text alone has a shape of its own.
    """
    duration_s = float(request["duration"])
    if "first_frame_image" not in request:
        return ExpectedFilm(*frame_size(request["resolution"], *TEXT_TO_VIDEO_SHAPE), duration_s)
    try:
        first = ImageRef.parse(request["first_frame_image"])
    except ValueError:
        return ExpectedFilm(None, min(frame_size(request["resolution"], 1, 1)), duration_s)
    width, height = frame_size(request["resolution"], first.width, first.height)
    return ExpectedFilm(width, height, duration_s)


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Download again after `delay_s` seconds."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The outputs can't be had or kept; the job fails, and what the provider task cost is charged all the same."""

    code: str
    message: str


_LONGEST_DELAY_S: Final = 300.0
_REFUSALS: Final = 2


def retry_or_give_up(
    *, refused: bool, code: str, message: str, tries: int, most: int, first_s: float
) -> TryAgain | GiveUp:
    """What to do after a download failed for the `tries`-th time.

    `refused`: what came is not wanted (a web page, too big). A server may say so once by mistake, hence one more try.
    """
    if tries >= (min(most, _REFUSALS) if refused else most):
        return GiveUp(code, message)
    return TryAgain(min(first_s * 2 ** (tries - 1), _LONGEST_DELAY_S))
