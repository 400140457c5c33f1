"""The pictures of a request: the rules that both keep, and what is said of two that differ."""

from __future__ import annotations

import pytest

from schemas.requests import parse_request
from tests.support.pictures import as_data_url, picture
from tests.support.requests import URL, raw

from .refusals import codes


def test_both_frames_of_different_size_are_a_warning() -> None:
    first, other = as_data_url(picture(640, 480)), as_data_url(picture(480, 640))
    same = as_data_url(picture(640, 480, "PNG"), "image/png")
    [warning] = parse_request(raw(first_frame_image=first, last_frame_image=other)).warnings
    assert (warning.field, warning.code) == ("last_frame_image", "last_frame_cropped")
    assert parse_request(raw(first_frame_image=first, last_frame_image=same)).warnings == ()
    assert parse_request(raw(first_frame_image=first, last_frame_image=URL)).warnings == ()


def test_a_wrong_media_type_is_a_warning() -> None:
    [warning] = parse_request(raw(first_frame_image=as_data_url(picture(), "image/png"))).warnings
    assert (warning.field, warning.code) == ("first_frame_image", "image_media_type")


@pytest.mark.parametrize("name", ["first_frame_image", "last_frame_image"])
def test_both_frames_keep_the_rules_of_a_picture(name: str) -> None:
    request = raw(**{name: as_data_url(picture(100, 900))})
    assert codes(request) == [(name, "image_too_small"), (name, "image_aspect_ratio")]
