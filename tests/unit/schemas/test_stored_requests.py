"""A request as it is stored: its canonical form, its pictures detached, its fingerprint."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from schemas import models
from schemas.images import ImageRef
from schemas.requests import parse_request
from tests.support.pictures import as_data_url, picture
from tests.support.requests import MODEL, URL, raw


def test_the_canonical_form_writes_defaults_out_and_leaves_absent_fields_out() -> None:
    assert json.loads(parse_request(raw()).to_json()) == {
        "model": MODEL,
        "first_frame_image": URL,
        "prompt_optimizer": True,
        "duration": 6,
        "resolution": "768P",
        "aigc_watermark": False,
        "tenant": "default",
        "priority": 0,
    }


def test_a_fingerprint_is_the_same_for_the_same_request_however_it_is_given() -> None:
    data = picture(640, 480)
    plain = parse_request(raw(first_frame_image=as_data_url(data), duration=6))
    other = parse_request(raw(first_frame_image=as_data_url(data, "image/png"), resolution="768p", idempotency_key="k"))
    stored = parse_request(json.loads(plain.detached()[0].to_json()), stored_inputs=True)
    assert plain.fingerprint() == other.fingerprint() == stored.fingerprint() == plain.detached()[0].fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        {"first_frame_image": "https://pictures.example/dog.jpg"},
        {"last_frame_image": URL},
        {"prompt": "a dog"},
        {"prompt": ""},
        {"prompt_optimizer": False},
        {"duration": 10},
        {"resolution": "512P"},
        {"callback_url": "https://hooks.example/"},
        {"aigc_watermark": True},
        {"tenant": "other"},
        {"metadata": {"a": 1}},
        {"priority": 1},
        {"deadline_s": 60},
        {"max_cost_usd": "0.28"},
    ],
)
def test_a_fingerprint_changes_with_what_is_asked_for(change: dict[str, Any]) -> None:
    assert parse_request(raw(**change)).fingerprint() != parse_request(raw()).fingerprint()


def test_a_stored_fingerprint_stays_readable() -> None:
    """Fingerprints outlive a release in Redis: a change of the form would turn repetitions into conflicts."""
    assert parse_request(raw()).fingerprint() == "d46f18f8dcf48c5ee10e8fb6f90f724ca8b1f9254335234dd080cc6e7bad879b"


def test_a_request_cannot_be_changed_and_can_be_a_key() -> None:
    request = parse_request(raw(metadata={"a": 1}))
    with pytest.raises(FrozenInstanceError):
        request.duration = 10  # type: ignore[misc]
    assert len({request, replace(request)}) == 1


def test_detaching_replaces_bytes_by_references() -> None:
    first, last = picture(640, 480), picture(640, 480, "PNG")
    request = parse_request(raw(first_frame_image=as_data_url(first), last_frame_image=as_data_url(last)))
    detached, blobs = request.detached()
    assert isinstance(detached.first_frame_image, ImageRef)
    assert isinstance(detached.last_frame_image, ImageRef)
    assert blobs == {detached.first_frame_image.sha256: first, detached.last_frame_image.sha256: last}
    assert detached.detached() == (detached, {})
    assert parse_request(raw()).detached() == (parse_request(raw()), {})


def test_the_stored_form_holds_no_field_that_the_model_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a field's default: as a value it would be refused when the stored form is read."""
    known = models.get(MODEL)
    bare = replace(known, name="bare", fields=known.fields - {"prompt_optimizer", "aigc_watermark"})
    monkeypatch.setattr(models, "MODELS", {**models.MODELS, "bare": bare})
    request = parse_request(raw(model="bare"))
    assert request.to_dict().keys().isdisjoint({"prompt_optimizer", "aigc_watermark"})
    assert parse_request(request.to_dict(), stored_inputs=True) == request
