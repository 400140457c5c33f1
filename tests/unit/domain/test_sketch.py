"""The sketch of times to finish: what it learns, forgets, adds up and says."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.sketch import KEPT, LEFT_OVER, Sketch, bin_of, edge, shares_of
from tests.unit.domain.sketches import of

TIMES = st.floats(0.01, 10_000)


@given(TIMES)
def test_a_quantity_is_in_its_bin(quantity: float) -> None:
    assert edge(bin_of(quantity)) <= quantity * (1 + 1e-9)
    assert quantity < edge(bin_of(quantity) + 1) * (1 + 1e-9)


@given(st.one_of(st.just(0.0), TIMES), TIMES, st.lists(TIMES, max_size=5))
def test_the_shares_of_an_interval_add_up_to_one_and_lie_in_it(low: float, width: float, known: list[float]) -> None:
    shares = shares_of(low, low + width, of(*known))
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares) <= bin_of(low + width)
    assert min(shares) >= bin_of(max(low, (low + width) / 4)) - 1


def test_an_end_between_two_looks_goes_to_where_others_ended() -> None:
    shares = shares_of(10, 30, of(20, 20, 20))
    assert shares[bin_of(20)] > 0.9
    assert len(shares) > 40  # and a little to everywhere else, or a change would never be seen


def test_what_was_seen_long_ago_weighs_ever_less_and_is_forgotten() -> None:
    sketch = of(5, *[20.0] * 2000)
    assert bin_of(5) not in sketch.weights
    assert sketch.total == pytest.approx(1 / (1 - KEPT), rel=0.01)
    assert sketch.learned == 2001


def test_a_provider_that_slows_down_at_once_is_known_after_a_few_dozen_completions() -> None:
    sketch = of(*[20.0] * 1000)
    slowed = of(*[60.0] * 30, sketch=sketch)
    assert slowed.quantiles(2)[1] == pytest.approx(60, rel=0.03)


def test_three_surprises_in_a_row_and_on_one_side_count_and_no_fewer() -> None:
    known = of(*[20.0] * 200)
    assert of(60, 60, sketch=known).total > 100
    assert of(60, 60, 60, sketch=known).total == pytest.approx(LEFT_OVER + 1)
    assert of(5, 5, 5, sketch=known).total == pytest.approx(LEFT_OVER + 1)
    assert of(60, 60, 20, 60, 60, sketch=known).total > 100
    assert of(60, 5, 60, 5, sketch=known).total > 100
    assert of(*[20.0] * 5, 60, 60, 60).total > 7  # too little was known to be surprised


@given(st.lists(TIMES, max_size=8), st.lists(TIMES, max_size=8))
def test_sketches_add_up_in_any_order(one: list[float], other: list[float]) -> None:
    both, turned = of(*one).merged(of(*other)), of(*other).merged(of(*one))
    assert both.total == pytest.approx(of(*one).total + of(*other).total)
    assert both.weights == pytest.approx(turned.weights)


@given(st.lists(TIMES, min_size=1, max_size=20), st.integers(1, 50))
def test_quantiles_rise_from_the_least_to_the_largest(quantities: list[float], parts: int) -> None:
    found = of(*quantities).quantiles(parts)
    assert len(found) == parts + 1
    assert found == sorted(found)
    assert edge(bin_of(min(quantities))) <= found[0] * 1.03
    assert found[-1] == pytest.approx(edge(bin_of(max(quantities)) + 1))


@given(st.lists(TIMES, max_size=20))
def test_a_sketch_survives_redis(quantities: list[float]) -> None:
    sketch = of(*quantities)
    read = Sketch.from_json(sketch.to_json())
    assert read.learned == sketch.learned
    assert read.weights == pytest.approx(sketch.weights, abs=1e-4)


def test_what_this_version_writes_is_what_the_next_must_read() -> None:
    written = '{"n":3,"s":-1,"w":{"149":1.5,"150":0.25}}'
    assert Sketch.from_json(written) == Sketch({149: 1.5, 150: 0.25}, 3, -1)
    assert Sketch.from_json('{"n":3,"w":{"149":1.5},"more":[]}') == Sketch({149: 1.5}, 3)


@pytest.mark.parametrize(
    "text",
    [None, b"", "x", "[]", "null", '{"w":[1]}', '{"w":{"a":1}}', '{"w":{"1":"b"}}', '{"w":{"1e9":1}}', '{"n":"x"}'],
)
def test_what_can_not_be_read_is_nothing_known(text: str | bytes | None) -> None:
    assert Sketch.from_json(text).weights == {}


def test_weights_without_sense_are_left_out() -> None:
    assert Sketch.from_json('{"w":{"1":-2,"2":NaN,"3":Infinity,"9999":1,"4":1}}').weights == {4: 1.0}


def test_nothing_known_is_infinitely_wide() -> None:
    assert Sketch().width() == math.inf
    assert of(*[20.0] * 9).width() < 0.03
