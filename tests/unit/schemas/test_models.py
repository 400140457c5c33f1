from __future__ import annotations

from decimal import Decimal

import pytest

from schemas import models
from schemas.models import frame_size

from .pictures import MODEL


@pytest.mark.parametrize(
    ("resolution", "duration_s", "usd"),
    [("512P", 6, "0.10"), ("768P", 6, "0.28"), ("1080P", 6, "0.48"), ("512P", 10, "0.15"), ("768P", 10, "0.56")],
)
def test_the_price_list(resolution: str, duration_s: int, usd: str) -> None:
    assert models.get(MODEL).estimate_usd(duration_s, resolution) == Decimal(usd)


def test_what_is_not_offered_has_no_price() -> None:
    with pytest.raises(KeyError):
        models.get(MODEL).estimate_usd(10, "1080P")


@pytest.mark.parametrize("model", models.MODELS.values(), ids=lambda model: model.name)
def test_everything_offered_has_a_price_and_nothing_else_has(model: models.Model) -> None:
    offered = {
        (resolution, duration)
        for table in (model.offer, model.start_end_offer)
        for duration, row in table.items()
        for resolution in row
    }
    assert offered == set(model.prices_usd)
    assert model.required <= model.fields
    for start_end in (False, True):
        offer = model.offered(start_end=start_end)
        assert not offer or model.default_resolution in offer[model.default_duration]


@pytest.mark.parametrize(
    ("resolution", "first", "film"),
    [
        ("768P", (1920, 1080), (1366, 768)),
        ("768P", (1080, 1920), (768, 1366)),
        ("768P", (400, 400), (768, 768)),
        ("512P", (1000, 400), (1280, 512)),
        ("1080P", (4000, 3000), (1440, 1080)),
        ("1080P", (401, 997), (1080, 2686)),
    ],
)
def test_a_film_has_the_short_side_of_its_resolution_and_the_shape_of_its_first_frame(
    resolution: str, first: tuple[int, int], film: tuple[int, int]
) -> None:
    assert frame_size(resolution, *first) == film


def test_rules_for_an_unknown_model_are_those_that_no_model_would_waive() -> None:
    loosest = models.any_model()
    model = models.get(MODEL)
    assert loosest.required <= model.required
    assert loosest.fields >= model.fields
    assert set(loosest.resolutions) >= set(model.resolutions)
    assert loosest.prompt_max_chars >= model.prompt_max_chars
