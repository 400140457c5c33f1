"""A request from what a person can type: files instead of data URLs, a prompt from a file, JSON for the metadata."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from schemas.errors import Problem, RequestInvalid
from schemas.images import MAX_BYTES, data_url
from schemas.requests import GenerationRequest, parse_request

_URL_BEGINNINGS: Final = ("http://", "https://", "data:")
_IMAGES: Final = ("first_frame_image", "last_frame_image")


def checked(given: Mapping[str, Any]) -> tuple[dict[str, Any], GenerationRequest]:
    """The fields of a request in the form that a producer takes, and the request that they make.

    Image fields in `given` may be paths; a field that is `None` is left out. Raises `RequestInvalid` with every
    problem of every field, files included.
    """
    fields = {name: value for name, value in given.items() if value is not None}
    problems: dict[str, Problem] = {}
    for name in _IMAGES:
        if name in fields:
            try:
                fields[name] = _image(fields[name])
            except (OSError, ValueError) as error:
                problems[name] = Problem(name, "image_file", _why(error))
    try:
        request = parse_request(fields)
    except RequestInvalid as error:
        # Of an image whose file can't be used nothing more is worth saying.
        rest = [each for each in error.problems if each.field not in problems]
        raise RequestInvalid([*problems.values(), *rest]) from None
    if problems:
        raise RequestInvalid(list(problems.values()))
    return fields, request


def metadata_of(text: str | None) -> Any:
    """The JSON value behind `--metadata`. Raises click's usage error when it is not JSON."""
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        raise click.BadParameter("is not JSON", param_hint="--metadata") from None


def _image(source: str) -> str:
    """A URL as it is, a file as a data URL."""
    if source.lower().startswith(_URL_BEGINNINGS):
        return source
    path = Path(source).expanduser()
    size_bytes = path.stat().st_size
    if size_bytes >= MAX_BYTES:
        raise ValueError(f"a picture must be smaller than {MAX_BYTES:,} bytes; this file has {size_bytes:,}")
    data = path.read_bytes()
    try:
        return data_url(data)
    except ValueError:
        # What it is instead is judged, and said, where all pictures are.
        return f"data:application/octet-stream;base64,{base64.b64encode(data).decode('ascii')}"


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return f"the file can't be read ({error.strerror or type(error).__name__}); give a path or a public URL"
    return str(error)
