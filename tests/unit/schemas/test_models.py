"""The table of models: its prices, what is offered for them, and the size of the film to expect."""

from __future__ import annotations

from decimal import Decimal

import pytest

from schemas import models
from schemas.models import TEXT_TO_VIDEO_SHAPE, frame_size
from tests.support.requests import MODEL

PRICES = {
    "minimax_hailuo_02_i2v": {
        ("512P", 6): "0.10",
        ("512P", 10): "0.15",
        ("768P", 6): "0.28",
        ("768P", 10): "0.56",
        ("1080P", 6): "0.48",
    },
    "minimax_hailuo_23_t2v": {("768P", 6): "0.28", ("768P", 10): "0.56", ("1080P", 6): "0.49"},
    "minimax_hailuo_23_i2v": {("768P", 6): "0.28", ("768P", 10): "0.56", ("1080P", 6): "0.49"},
    "minimax_hailuo_23_fast_i2v": {("768P", 6): "0.19", ("768P", 10): "0.32", ("1080P", 6): "0.33"},
    "minimax_i2v_01_live": {("720P", 6): "0.43"},
}


def test_the_price_lists() -> None:
    assert {
        model.name: {kind: str(usd) for kind, usd in model.prices_usd.items()} for model in models.MODELS.values()
    } == PRICES


def test_an_estimate_is_the_price_of_duration_and_resolution() -> None:
    assert models.get("minimax_hailuo_23_fast_i2v").estimate_usd(10, "768P") == Decimal("0.32")


def test_the_first_model_is_the_one_for_those_who_name_none() -> None:
    assert next(iter(models.MODELS)) == MODEL


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
    assert {"duration", "resolution"} <= model.fields
    assert bool(model.start_end_offer) == ("last_frame_image" in model.fields)
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


@pytest.mark.parametrize(("resolution", "film"), [("768P", (1366, 768)), ("1080P", (1920, 1080))])
def test_a_film_of_a_text_alone_is_wide(resolution: str, film: tuple[int, int]) -> None:
    assert frame_size(resolution, *TEXT_TO_VIDEO_SHAPE) == film


@pytest.mark.parametrize("model", models.MODELS.values(), ids=lambda model: model.name)
def test_rules_for_an_unknown_model_are_those_that_no_model_would_waive(model: models.Model) -> None:
    loosest = models.any_model()
    assert loosest.required <= model.required
    assert loosest.fields >= model.fields
    assert set(loosest.resolutions) >= set(model.resolutions)
    assert loosest.prompt_max_chars >= model.prompt_max_chars
