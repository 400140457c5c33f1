"""How figures are judged and shown. Nothing is measured here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.figures import (
    Figure,
    Finding,
    Measured,
    Row,
    Unmeasured,
    at_least,
    at_most,
    figures,
    quantile,
    ratio,
    significant,
)
from tests.bench.film import padded
from tests.bench.group import Group, Place, Scale
from tests.bench.groups.slots import parts, refills_s, used
from tests.bench.profile import folded, shares
from tests.bench.runner import choose, run
from tests.bench.stand import more
from tests.bench.table import document, table

FAST = Row("fast", "times", at_least(4), "slow")
SMALL = Row("small", "MB", at_most(60), "big")


def group(*found: Finding, rows: tuple[Row, ...] = (FAST, SMALL), name: str = "both") -> Group:
    return Group(name, rows, lambda _: dict(zip([row.name for row in rows], found, strict=False)))


def bench(tmp_path: Path, *groups: Group, wanted: frozenset[str] | None = None) -> tuple[int, dict, str]:
    shown: list[str] = []
    to = tmp_path / "var" / "bench.json"
    names = wanted if wanted is not None else choose(groups, [])
    status = run(groups, names, Scale(quick=True), to, lambda _: None, shown.append)
    return status, json.loads(to.read_text()), "\n".join(shown)


class TestJudging:
    @pytest.mark.parametrize(
        ("target", "value", "met"),
        [
            (at_least(4), 4.0, True),
            (at_least(4), 3.99, False),
            (at_most(0.1), 0.1, True),
            (at_most(0.1), 0.101, False),
        ],
    )
    def test_a_target_is_met_at_its_bound_and_not_beyond(self, target, value, met):
        assert Figure(Row("a", "", target, ""), Measured([value])).met is met

    def test_the_value_is_the_middle_repeat_whatever_one_bad_one_does(self):
        assert Measured([1.0, 100.0, 2.0]).value == 2.0

    def test_the_spread_is_that_of_the_repeats_as_a_share_of_the_value(self):
        assert Measured([1.0, 2.0, 3.0]).spread == 1.0
        assert Measured([2.0]).spread is None

    def test_a_figure_that_is_not_there_is_neither_met_nor_missed(self):
        assert Figure(FAST, Unmeasured("gone")).met is None


class TestRatio:
    def test_repeats_are_compared_in_pairs(self):
        found = ratio([10.0, 40.0, 90.0], [1.0, 2.0, 3.0])
        assert isinstance(found, Measured)
        assert list(found.repeats) == [10.0, 20.0, 30.0]

    def test_sides_of_different_lengths_are_set_against_the_other_median(self):
        more_above, more_below = ratio([2.0, 4.0], [1.0, 2.0, 9.0]), ratio([1.0, 2.0, 9.0], [2.0])
        assert isinstance(more_above, Measured)
        assert isinstance(more_below, Measured)
        assert list(more_above.repeats) == [3.0, 1.5, 3.0 / 9.0]
        assert list(more_below.repeats) == [0.5, 1.0, 4.5]

    @pytest.mark.parametrize(("over", "under"), [([], [1.0]), ([1.0], []), ([1.0], [0.0]), ([float("nan")], [1.0])])
    def test_what_cannot_be_compared_is_no_figure(self, over, under):
        assert isinstance(ratio(over, under), Unmeasured)


def test_a_quantile_is_one_of_the_values():
    values = [float(number) for number in range(1, 101)]
    assert [quantile(values, share) for share in (0.0, 0.5, 0.95, 1.0)] == [1.0, 50.0, 95.0, 100.0]
    assert quantile([7.0], 0.95) == 7.0
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


def test_digits_beyond_the_noise_are_not_shown():
    assert [significant(value) for value in (0.123456, 12345.6, 0.0)] == [0.1235, 12350.0, 0.0]


def test_only_commands_that_were_run_meanwhile_count_and_the_most_frequent_come_first():
    assert list(more({"get": 5, "set": 1}, {"get": 6, "set": 9, "ping": 2, "del": 0}).items()) == [
        ("set", 8),
        ("ping", 2),
        ("get", 1),
    ]


class TestRows:
    def test_a_row_that_nothing_was_found_for_stays_in_the_table(self):
        found = figures([FAST, SMALL], {"fast": Measured([5.0])})
        assert [each.row.name for each in found] == ["fast", "small"]
        assert found[1].failed

    def test_a_finding_without_a_row_is_a_mistake(self):
        with pytest.raises(ValueError, match="slow"):
            figures([FAST], {"slow": Measured([1.0])})


class TestRun:
    def test_the_file_has_the_promised_form(self, tmp_path):
        status, written, _ = bench(tmp_path, group(Measured([5.0, 6.0, 4.5], "6/s against 1/s"), Measured([80.0])))
        fast, small = written["figures"]["fast"], written["figures"]["small"]
        assert status == 0
        assert (fast["value"], fast["target"], fast["met"], fast["against"], fast["unit"]) == (
            5.0,
            "at least 4",
            True,
            "slow",
            "times",
        )
        assert small["met"] is False
        assert {"cores", "cpu", "python", "date", "commit", "noise"} <= written["machine"].keys()
        assert written["machine"]["noise"] == {"middle": 0.3, "widest": 0.3}

    def test_a_missed_target_is_no_failure_of_the_bench(self, tmp_path):
        status, _, shown = bench(tmp_path, group(Measured([1.0]), Measured([1.0])))
        assert status == 0
        assert "NO" in shown

    def test_a_figure_that_could_not_be_measured_is_one_and_says_why(self, tmp_path):
        status, written, shown = bench(tmp_path, group(Unmeasured("no rivals here"), Measured([1.0])))
        assert status == 1
        assert written["figures"]["fast"]["value"] is None
        assert written["figures"]["fast"]["note"] == "no rivals here"
        assert "no rivals here" in shown

    def test_a_group_that_breaks_leaves_its_rows_and_the_other_groups(self, tmp_path):
        def breaks(_: Place) -> dict[str, Finding]:
            raise OSError("the server is gone")

        other = Row("other", "times", at_least(1), "")
        status, written, _ = bench(
            tmp_path, Group("broken", (FAST,), breaks), group(Measured([2.0]), rows=(other,), name="well")
        )
        assert status == 1
        assert "the server is gone" in written["figures"]["fast"]["note"]
        assert written["figures"]["other"]["met"] is True

    def test_what_was_not_asked_for_is_neither_measured_nor_shown(self, tmp_path):
        never = Group("never", (Row("never", "", at_least(1), ""),), lambda _: pytest.fail("it was measured"))
        _, written, _ = bench(tmp_path, group(Measured([5.0]), Measured([1.0])), never, wanted=frozenset({"fast"}))
        assert list(written["figures"]) == ["fast"]


class TestChoosing:
    def test_names_are_figures_or_groups_and_none_is_all(self):
        groups = [group(), group(rows=(Row("third", "", at_least(1), ""),), name="other")]
        assert choose(groups, []) == {"fast", "small", "third"}
        assert choose(groups, ["both"]) == {"fast", "small"}
        assert choose(groups, ["small", "other"]) == {"small", "third"}
        with pytest.raises(ValueError, match="nothing"):
            choose(groups, ["nothing"])


def test_noise_is_unknown_where_nothing_was_repeated():
    assert document([Figure(FAST, Measured([1.0]))], {})["machine"]["noise"] is None


def test_the_table_has_a_line_for_each_figure_and_one_for_what_it_is_made_of():
    lines = table([Figure(FAST, Measured([5.0, 6.0, 7.0], "of this")), Figure(SMALL, Unmeasured("gone"))]).splitlines()
    assert lines[2].split() == ["fast", "6", "times", "at", "least", "4", "yes", "33%", "slow"]
    assert lines[3].strip() == "of this"
    assert "NOT MEASURED" in lines[4]
    assert lines[5].strip() == "gone"


def test_a_film_is_padded_to_its_size_and_never_cut():
    assert len(padded(b"film", 100)) == 100
    with pytest.raises(ValueError, match="can't be made"):
        padded(bytes(99), 100)


class TestSlots:
    def test_a_slot_counts_for_as_long_as_its_task_was_open_within_the_time(self):
        spans = [(0.0, 10.0), (5.0, 20.0)]
        assert used(spans, slots=2, since=0.0, until=10.0) == pytest.approx(0.75)
        assert used(spans, slots=2, since=10.0, until=20.0) == pytest.approx(0.5)

    def test_before_the_slots_are_full_and_after_the_last_create_nothing_counts(self):
        spans = [(0.0, 10.0), (1.0, 11.0), (10.0, 20.0), (11.0, 21.0)]
        assert parts(spans, slots=2, number=2) == [pytest.approx(100.0), pytest.approx(100.0)]
        late = [(0.0, 10.0), (1.0, 11.0), (15.0, 25.0), (16.0, 26.0)]
        assert parts(late, slots=2, number=1) == [pytest.approx(100 * 20 / 30)]


def test_a_profile_counts_a_sample_once_for_a_function_however_often_it_is_in_the_stack():
    stacks = folded(["main (a.py:1);f (b.py:2);f (b.py:3);g (c.py:4) 6", "main (a.py:1);f (b.py:9) 4", "not a stack"])
    alone, within = shares(stacks)
    assert alone == {"g (c.py)": 6, "f (b.py)": 4}
    assert within == {"main (a.py)": 10, "f (b.py)": 10, "g (c.py)": 6}

    def test_a_slot_is_taken_again_by_the_next_attempt_after_all_were_full(self):
        assert refills_s(ends=[10.0, 11.0, 20.0], begins=[11.5, 0.0, 1.0, 10.25], slots=2) == [0.25, 0.5]
