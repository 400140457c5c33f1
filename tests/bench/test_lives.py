"""How lives of jobs on several engines are set against one another. None of them is lived here."""

from __future__ import annotations

import pytest

from tests.bench.figures import Measured, Unmeasured
from tests.bench.groups.lives import _costs, _lags
from tests.bench.life import Life


def life(cpu_ms: float, lag_s: float = 1.0, polls: float = 10.0) -> Life:
    lags_s = [lag_s * number / 100 for number in range(1, 101)]
    return Life(100, cpu_ms, polls, lags_s, {"get": 2000, "set": 1000}, took_s=20.0)


def value(found: object) -> float:
    assert isinstance(found, Measured)
    return found.value


class TestCosts:
    def test_the_baseline_is_its_better_pool(self):
        found = _costs({"ours": [life(8)], "baseline": [life(80)], "baseline_threads": [life(40)]}, {})
        assert value(found["cpu_job_vs_baseline"]) == 0.2

    def test_a_rival_that_could_not_be_run_says_so_and_hides_no_other(self):
        found = _costs({"ours": [life(8)], "taskiq": [life(4)], "arq": []}, {"arq": "arq could not be run: no network"})
        assert value(found["cpu_job_vs_taskiq"]) == 2.0
        assert found["cpu_job_vs_arq"] == Unmeasured("arq could not be run: no network")

    def test_without_ours_there_is_no_figure(self):
        found = _costs({"ours": [], "arq": [life(4)]}, {"ours": "ours could not be run: it broke"})
        assert set(found.values()) == {Unmeasured("ours could not be run: it broke")}

    def test_redis_commands_are_all_of_them_a_job(self):
        assert value(_costs({"ours": [life(8)]}, {})["redis_commands_job"]) == 30.0


class TestLags:
    def test_ours_is_set_against_the_best_of_the_others(self):
        found = _lags("500", {"ours": [life(1, 3.0)], "arq": [life(1, 2.0)], "taskiq": [life(1, 6.0)]}, {})
        assert value(found["lag_500_p95_vs_others"]) == pytest.approx(1.5)
        assert value(found["lag_500_p95"]) == pytest.approx(2.85)

    def test_a_lag_bought_with_more_polls_is_seen(self):
        found = _lags("500", {"ours": [life(1, polls=30)], "arq": [life(1)], "baseline": [life(1, polls=5)]}, {})
        assert value(found["lag_500_polls_vs_others"]) == 6.0

    def test_who_is_missing_among_the_others_stands_beside_the_figure(self):
        found = _lags("500", {"ours": [life(1)], "baseline": [life(1)]}, {"arq": "arq could not be run: no network"})
        against = found["lag_500_p50_vs_others"]
        assert isinstance(against, Measured)
        assert "no network" in against.note
