"""The provider's rules stand in the contract and in its witness, the simulator: both take and refuse the same."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from ops.simulator.tasks import PRICE_USD
from ops.simulator.validation import MODELS as SIMULATED
from ops.simulator.validation import Order, Refused, read_order
from schemas.errors import RequestInvalid
from schemas.models import MODELS
from schemas.requests import GenerationRequest, parse_request
from tasks.vtrix.mapping import create_body

URL = "https://pictures.example/cat.jpg"
CHOICES: dict[str, tuple[object, ...]] = {
    "first_frame_image": (None, URL),
    "last_frame_image": (None, URL),
    "prompt": (None, "", " ", "a cat [pan left]", "x" * 2001),
    "fast_pretreatment": (None, False, True),
    "duration": (None, 6, 10, 7),
    "resolution": (None, "512P", "720P", "768P", "1080P", "4K"),
}
TYPES = ("a string", 7, 1.5, True, [], {})


def requests() -> Iterator[dict[str, Any]]:
    """Every combination of the choices, and each field with a value of every type."""
    for values in product(*CHOICES.values()):
        yield {name: value for name, value in zip(CHOICES, values, strict=True) if value is not None}
    for name in (*CHOICES, "prompt_optimizer", "aigc_watermark"):
        for value in TYPES:
            yield {"prompt": "a cat", name: value}
            yield {"first_frame_image": URL, name: value}


def parsed(model: str, params: dict[str, Any]) -> GenerationRequest | None:
    try:
        return parse_request({"model": model, **params})
    except RequestInvalid:
        return None


def ordered(body: dict[str, Any]) -> Order | None:
    try:
        return read_order(body)
    except Refused:
        return None


def test_the_simulator_serves_every_model() -> None:
    assert SIMULATED.keys() == MODELS.keys()
    assert {model.name: model.prices_usd for model in MODELS.values()} == PRICE_USD


@pytest.mark.parametrize("model", MODELS)
def test_contract_and_simulator_take_and_refuse_the_same(model: str) -> None:
    taken = 0
    for params in requests():
        request = parsed(model, params)
        order = ordered({"model": model, "input": [{"params": params}]})
        assert (request is None) == (order is None), params
        if request is None or order is None:
            continue
        taken += 1
        assert (order.duration_s, order.resolution) == (request.duration, request.resolution), params
        first, last = (params.get(name) for name in ("first_frame_image", "last_frame_image"))
        assert read_order(create_body(request, first_frame=first, last_frame=last)) == order, params
    assert taken > 10
