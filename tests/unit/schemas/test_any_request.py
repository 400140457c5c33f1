"""Whatever is given is a request or is refused: properties of the reading, over valid requests and any JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from schemas.errors import Problem, RequestInvalid
from schemas.images import ImageBytes
from schemas.requests import _DIRECT, DEADLINE_MAX_S, GenerationRequest, parse_request
from tests.support.pictures import as_data_url, picture
from tests.support.requests import HAILUO_23, LIVE, MODEL, TEXT_MODEL, URL, raw

from .refusals import problems


def refusals(request: Any, *, stored_inputs: bool = False) -> list[Problem]:
    """The problems of a request; none when it is accepted. Any other exception than `RequestInvalid` comes through."""
    try:
        parsed = parse_request(request, stored_inputs=stored_inputs)
    except RequestInvalid as error:
        return list(error.problems) or pytest.fail("refused without a problem")
    assert isinstance(parsed, GenerationRequest)
    return []


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
anything = st.recursive(scalars, lambda kids: st.lists(kids, max_size=4) | st.dictionaries(st.text(), kids, max_size=4))
names = st.sampled_from(GenerationRequest.__slots__)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00[]"), max_size=60)
finite = (
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
pictures = st.sampled_from(
    [URL, as_data_url(picture(640, 480)), as_data_url(picture(400, 500, "PNG")), as_data_url(picture(640, 480, "WEBP"))]
)  # fmt: skip
fields_of_all: dict[str, st.SearchStrategy[Any]] = {
    "prompt_optimizer": st.booleans(),
    "callback_url": st.just("https://hooks.example/x?y=1"),
    "aigc_watermark": st.booleans(),
    "tenant": st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z"),
    "idempotency_key": st.from_regex(r"\A[!-~]{1,200}\Z"),
    "metadata": st.dictionaries(texts, finite | texts | st.lists(finite, max_size=3), max_size=5),
    "priority": st.integers(-100, 100),
    "deadline_s": st.integers(1, DEADLINE_MAX_S),
    "max_cost_usd": st.decimals("0.000001", 1_000_000, places=6).map(str) | st.integers(1, 1_000_000),
}
sizes = {"duration": st.sampled_from([6, 10]), "resolution": st.sampled_from(["768P", "768p"])}
valid = (
    st.fixed_dictionaries(
        {"model": st.just(MODEL), "first_frame_image": pictures},
        optional={**fields_of_all, **sizes, "prompt": texts, "last_frame_image": pictures},
    )
    | st.fixed_dictionaries(
        {"model": st.just(TEXT_MODEL), "prompt": texts.map("a cat".__add__)},
        optional={**fields_of_all, **sizes, "fast_pretreatment": st.booleans()},
    )
    | st.fixed_dictionaries(
        {"model": st.sampled_from(HAILUO_23[1:]), "first_frame_image": pictures},
        optional={**fields_of_all, **sizes, "prompt": texts, "fast_pretreatment": st.booleans()},
    )
    | st.fixed_dictionaries(
        {"model": st.just(LIVE), "first_frame_image": pictures},
        optional={**fields_of_all, "resolution": st.just("720p"), "prompt": texts},
    )
)


@given(anything | st.dictionaries(names | st.text(), anything, max_size=8), st.booleans())
def test_any_json_is_a_request_or_is_refused(value: Any, stored_inputs: bool) -> None:
    refusals(value, stored_inputs=stored_inputs)


immense = st.builds(
    lambda digits, sign, more: sign * 10**digits + more,
    st.integers(19, 6000),
    st.sampled_from([-1, 1]),
    st.integers(0, 9),
)


@given(st.sampled_from(["duration", "priority", "deadline_s"]), immense)
def test_an_immense_integer_is_refused_in_few_words(name: str, value: int) -> None:
    [problem] = problems(raw(**{name: value}))
    assert problem.field == name
    assert problem.code in {"duration_not_offered", "out_of_range"}
    assert "2^63" in problem.message
    assert len(problem.message) < 100


@given(immense)
def test_an_immense_integer_is_refused_wherever_it_stands(value: int) -> None:
    texts_and_more = [name for name in parse_request(raw()).__slots__ if name not in {"model", "warnings"}]
    for name in texts_and_more:
        found = problems(raw(**{name: value}))
        assert {problem.field for problem in found} == {name}
        assert all(len(problem.message) < 200 for problem in found)
    found = problems({**raw(), value: 1, (value,): 1})
    assert [problem.code for problem in found] == ["unknown_field"] * 2
    assert problems(raw(metadata={"a": value}))[0].code == "metadata_number"


@given(valid, st.dictionaries(names, anything, min_size=1, max_size=3))
def test_a_valid_request_with_any_json_put_in_is_a_request_or_is_refused(request_: Any, change: Any) -> None:
    found = refusals({**request_, **change})
    assert {problem.field.partition(".")[0] for problem in found} <= {*change, "resolution", "duration"}


@given(valid)
def test_a_valid_request_is_read_without_collecting_complaints_to_the_same_end(request_: Any) -> None:
    read, loaded = _DIRECT.load_faultless(request_), _DIRECT.load(request_)
    assert read is not None
    assert (read, read.warnings) == (loaded, loaded.warnings)


@given(valid, st.dictionaries(names | st.text(), anything.filter(lambda value: value is not None), max_size=3))
def test_what_collecting_complaints_would_refuse_is_never_read_without_it(request_: Any, change: Any) -> None:
    changed = {**request_, **change}
    read = _DIRECT.load_faultless(changed)
    try:
        assert _DIRECT.load(changed) == read
    except ValidationError:
        assert read is None


@given(valid)
def test_a_request_comes_back_from_its_canonical_form(request_: Any) -> None:
    request = parse_request(request_)
    assert parse_request(json.loads(request.to_json()), stored_inputs=True) == request
    detached, blobs = request.detached()
    stored = parse_request(json.loads(detached.to_json()), stored_inputs=True)
    assert stored == detached
    assert stored.to_json() == detached.to_json()
    assert stored.fingerprint() == request.fingerprint()
    held = [image for image in (request.first_frame_image, request.last_frame_image) if isinstance(image, ImageBytes)]
    assert set(blobs.values()) == {image.data for image in held}
