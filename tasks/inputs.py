"""Input images between the doors, the store and the provider: kept as raw bytes, sent as data URLs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.images import ImageBytes, ImageRef, ImageUrl, data_url
from tasks.media.store import Store


def stored_inputs(request: Mapping[str, Any]) -> list[ImageRef]:
    """The pictures of a stored request that are kept by us."""
    return [ImageRef.parse(text) for text in _texts(request) if text.startswith("input:")]


def has_stored_inputs(request: Mapping[str, Any]) -> bool:
    """Whether any picture of a stored request is kept by us."""
    return any(text.startswith("input:") for text in _texts(request))


def _texts(request: Mapping[str, Any]) -> list[str]:
    return [request.get(name, "") for name in ("first_frame_image", "last_frame_image")]


def sent_form(store: Store, image: ImageUrl | ImageBytes | ImageRef | None) -> str | None:
    """An image as the provider takes it: a public URL as it is, a stored one as a data URL.

    Raises `InputUnavailable` when a stored image is gone.
    """
    match image:
        case None:
            return None
        case ImageUrl(url):
            return url
        case ImageBytes():
            return data_url(image.data)
        case ImageRef():
            return data_url(store.get_input(image.sha256, image.format))
