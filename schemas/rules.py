"""The rules of a request that need more than one field: what its model takes, requires and offers.

Owns the checks that run after each value has its type. Refuses to raise: problems and warnings are values, so that all
of them can be said at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from . import camera
from .errors import Problem
from .images import ImageBytes, ImageRef
from .models import Model, any_model
from .wording import short, shown, shown_int, visible

_MAX_UNKNOWN_WORDS: Final = 20
"""Wrong camera instructions that are named at once: to find the nearest known one takes time."""

MODEL_FIELDS: Final = tuple(sorted(any_model().fields))
"""The fields whose presence depends on the model; all others are the envelope, and every request may have them."""

Directions = tuple[camera.Bracket | camera.Mention, ...]
"""What the brackets of a prompt say, in order: read once, for the problems and the warnings of a request."""


def directions(model: Model, data: Mapping[str, Any]) -> Directions:
    """What the brackets of the prompt say to the camera, each once; of a prompt that is too long nothing is read."""
    prompt = data.get("prompt", "")
    if len(prompt) > model.prompt_max_chars:
        return ()
    return tuple(dict.fromkeys(camera.read(prompt, model.camera_instructions)))


def problems(
    model: Model, data: Mapping[str, Any], given: Mapping[str, Any], directed: Directions
) -> Iterator[Problem]:
    """Every broken rule of `model`.

    `data` holds the fields that were read, `given` the request as it came; a field that is in `given` and not in `data`
    has been complained about already. `directed`: the prompt's `directions`.
    """
    for name in MODEL_FIELDS:
        if name in given and name not in model.fields:
            yield Problem(name, "field_not_of_model", f"this field is not taken by {model.name}; leave it out")
        elif name in model.required and name not in given:
            yield Problem(name, "required", f"this field is required by {model.name}")
    prompt = data.get("prompt")
    if prompt is not None:
        yield from _prompt_problems(model, prompt, directed)
    yield from _offer_problems(model, data, given)


def warnings(data: Mapping[str, Any], directed: Directions) -> Iterator[Problem]:
    """What will be done, but perhaps not as it was meant. `data` is a request without problems."""
    first, last = data.get("first_frame_image"), data.get("last_frame_image")
    for name, image in (("first_frame_image", first), ("last_frame_image", last)):
        if isinstance(image, ImageBytes) and image.declared:
            sentence = f"the data URL claims {shown(image.declared)}, the picture is {image.format}; it is sent as that"
            yield Problem(name, "image_media_type", sentence)
    known = ImageBytes | ImageRef
    if isinstance(first, known) and isinstance(last, known):
        sizes = (first.width, first.height), (last.width, last.height)
        if sizes[0] != sizes[1]:
            (a, b), (c, d) = sizes
            sentence = f"the last frame ({c}x{d} px) will be cropped to the dimensions of the first frame ({a}x{b} px)"
            yield Problem("last_frame_image", "last_frame_cropped", sentence)
    yield from _prompt_warnings(directed)


def _prompt_warnings(directed: Directions) -> Iterator[Problem]:
    for found in directed:
        if isinstance(found, camera.Mention):
            # What else stands in such a bracket is the prompt's text, and not shown.
            exact = " ".join(f"[{instruction}]" for instruction in found.words)
            why = "a bracket holds other words" if found.closed else "a bracket is not closed"
            sentence = f"{why} and is left as text, without moving the camera; for the movement write exactly {exact}"
            yield Problem("prompt", "camera_ignored", sentence)
        elif len(found.known) > camera.MAX_COMBINED:
            sentence = (
                f"[{', '.join(found.known)}] combines {len(found.known)} camera instructions; "
                f"no more than {camera.MAX_COMBINED} are recommended"
            )
            yield Problem("prompt", "camera_too_many_combined", sentence)


def _prompt_problems(model: Model, prompt: str, directed: Directions) -> Iterator[Problem]:
    if "prompt" in model.required and not prompt.strip():
        yield Problem("prompt", "required", f"a prompt with words in it is required by {model.name}")
        return
    if len(prompt) > model.prompt_max_chars:
        sentence = f"a prompt has at most {model.prompt_max_chars} characters; this one has {len(prompt)}"
        yield Problem("prompt", "prompt_too_long", sentence)
        return
    unknown = dict.fromkeys(word for found in directed if isinstance(found, camera.Bracket) for word in found.unknown)
    for word in islice(unknown, _MAX_UNKNOWN_WORDS):
        sentence = (
            f"[{short(visible(word))}] is not a camera instruction; "
            f"did you mean [{camera.nearest(word, model.camera_instructions)}]? (for text use round brackets)"
        )
        yield Problem("prompt", "camera_unknown", sentence)


def _offer_problems(model: Model, data: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[Problem]:
    # Where the model knows no last frame, that one is given has been said already, and changes nothing here.
    start_end = "last_frame_image" in given and "last_frame_image" in model.fields
    offer = model.offered(start_end=start_end)
    with_last = " with a last frame" if start_end else ""
    duration = data.get("duration", None if "duration" in given else model.default_duration)
    resolution = data.get("resolution", None if "resolution" in given else model.default_resolution)

    if duration is not None and resolution in offer.get(duration, ()):
        return
    if duration is not None and duration not in offer:
        sentence = f"{shown_int(duration)} s is not offered{with_last}; allowed: {', '.join(f'{d} s' for d in offer)}"
        yield Problem("duration", "duration_not_offered", sentence)
        duration = None
    if resolution is None:
        return
    if resolution not in model.resolutions:
        sentence = f"{shown(given.get('resolution'))} is not a resolution; allowed: {', '.join(model.resolutions)}"
        yield Problem("resolution", "resolution_unknown", sentence)
        return
    rows = offer.values() if duration is None else (offer[duration],)
    allowed = [word for word in model.resolutions if any(word in row for row in rows)]
    if resolution not in allowed:
        at = "" if duration is None else f" for {duration} s"
        sentence = f"{resolution} is not offered{at}{with_last}; allowed: {', '.join(allowed)}"
        yield Problem("resolution", "resolution_not_offered", sentence)
