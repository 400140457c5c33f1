"""Whole lives of jobs, all at once: CPU, Redis commands and lag, against the baseline and the rivals at equal polls."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

from tests.bench import engines
from tests.bench.figures import Finding, Measured, Row, Unmeasured, at_most, ratio
from tests.bench.group import Group, Place
from tests.bench.life import Life, live
from tests.bench.stand import stand

POLL_S = 2.0
_ENGINES: Mapping[str, engines.Starter] = {
    "ours": engines.ours,
    "baseline": engines.baseline,
    "baseline_threads": engines.baseline_threads,
    "arq": engines.arq,
    "taskiq": engines.taskiq,
}
_OTHERS = ("baseline", "baseline_threads", "arq", "taskiq")
_CROWDS = ("500", "2000")
_FEW_ONLY = ("baseline_threads",)
"""With many jobs it is no match for any of the others, and takes the longest."""

_ROWS = (
    Row("cpu_job_vs_baseline", "times", at_most(0.1), "baseline, the better of its pools"),
    Row("cpu_job_vs_arq", "times", at_most(0.5), "arq"),
    Row("cpu_job_vs_taskiq", "times", at_most(2), "taskiq, not durable"),
    Row("redis_commands_job", "commands", at_most(40), "baseline, arq, taskiq in the same run"),
    *(
        row
        for crowd in _CROWDS
        for row in (
            Row(f"lag_{crowd}_p50_vs_others", "times", at_most(1), "the best of baseline, arq, taskiq"),
            Row(f"lag_{crowd}_p95_vs_others", "times", at_most(1), "the best of baseline, arq, taskiq"),
            Row(f"lag_{crowd}_p50", "s", at_most(1), "completed at the provider"),
            Row(f"lag_{crowd}_p95", "s", at_most(2), "completed at the provider"),
            Row(f"lag_{crowd}_polls_vs_others", "times", at_most(1), "polls a job of the one with the fewest"),
        )
    ),
)

Lives = Mapping[str, Sequence[Life]]
"""The rounds of each engine that could be run."""


def _measure(place: Place) -> Mapping[str, Finding]:
    few: dict[str, list[Life]] = place.kept.setdefault("lives", {})
    many: dict[str, list[Life]] = {}
    reasons: dict[str, str] = {}
    crowded = any("_2000_" in name for name in place.wanted)
    for name, start in _ENGINES.items():
        if place.scale.quick and name == "baseline_threads":
            continue
        place.say(f"lives: {name}")
        few[name], many[name] = [], []
        try:
            rounds(place, name, start, few[name], many[name] if crowded and name not in _FEW_ONLY else None)
        except Exception as error:  # noqa: BLE001 (the others are measured all the same)
            reasons[name] = f"{name} could not be run: {error}".splitlines()[0][:300]
            place.say(reasons[name])
    return {
        **_costs(few, reasons),
        **_lags("500", few, reasons),
        **(_lags("2000", many, reasons) if crowded else {}),
    }


def rounds(
    place: Place, name: str, start: engines.Starter, few: list[Life], many: list[Life] | None, *, far: bool = False
) -> None:
    """Both crowds on one started engine, after a few jobs that warm it. `far`: the provider is 50 ms away, by TLS."""
    sizes = [(few, place.scale.pick(500, 100), 3)]
    if many is not None:
        sizes.append((many, place.scale.pick(2000, 250), place.scale.pick(3, 1)))
    with stand(place.sub(name), tls=far, away_ms=50 * far) as made, start(made, POLL_S) as engine:
        live(engine, made, 10, 0.5, within_s=120)
        for lives, jobs, repeats in sizes:
            for _ in range(repeats):
                life = live(engine, made, jobs, place.scale.pick(20, 3), within_s=60 + jobs / 4)
                lives.append(life)
                place.say(f"lives: {name}: {shown(life)}")


def shown(life: Life) -> str:
    return (
        f"{life.jobs} jobs, {life.cpu_ms_job:.1f} ms CPU, {life.polls_job:.1f} polls and {life.commands_job:.0f} Redis "
        f"commands a job, lag {life.lag_s(0.5):.2f} / {life.lag_s(0.95):.2f} s"
    )


def _costs(lives: Lives, reasons: Mapping[str, str]) -> dict[str, Finding]:
    cpu = {name: [life.cpu_ms_job for life in rounds] for name, rounds in lives.items() if rounds}
    note = ", ".join(f"{name} {statistics.median(each):.1f} ms" for name, each in cpu.items())
    note += "; polls a job: " + _each(lives, lambda life: life.polls_job)
    baselines = [cpu[name] for name in ("baseline", "baseline_threads") if name in cpu]
    against = {
        "cpu_job_vs_baseline": min(baselines, key=statistics.median, default=None),
        "cpu_job_vs_arq": cpu.get("arq"),
        "cpu_job_vs_taskiq": cpu.get("taskiq"),
    }
    found: dict[str, Finding] = {}
    for name, theirs in against.items():
        missing = reasons.get("ours") or reasons.get(name.rpartition("_")[2])
        found[name] = ratio(cpu["ours"], theirs, note) if theirs and "ours" in cpu else Unmeasured(missing or note)
    commands = [life.commands_job for life in lives.get("ours", ())]
    if commands:
        kinds = ", ".join(f"{name} {count / lives['ours'][-1].jobs:.1f}" for name, count in _top(lives["ours"][-1]))
        note = f"{_each(lives, lambda life: life.commands_job)}; most of ours: {kinds}"
        found["redis_commands_job"] = Measured(commands, note)
    else:
        found["redis_commands_job"] = Unmeasured(reasons.get("ours", "no round was run"))
    return found


def _top(life: Life) -> list[tuple[str, int]]:
    return list(life.commands.items())[:6]


def _lags(crowd: str, lives: Lives, reasons: Mapping[str, str]) -> dict[str, Finding]:
    """The lag of ours, and against the best of the others: at each share the one that is best there."""
    ours = lives.get("ours")
    names = [row.name for row in _ROWS if row.name.startswith(f"lag_{crowd}_")]
    if not ours:
        return dict.fromkeys(names, Unmeasured(reasons.get("ours", "no round was run")))
    found: dict[str, Finding] = {}
    missing = "; ".join(reasons.values())
    for label, share in (("p50", 0.5), ("p95", 0.95)):
        note = f"{ours[0].jobs} jobs; {_each(lives, lambda life, share=share: life.lag_s(share))}"
        mine = [life.lag_s(share) for life in ours]
        found[f"lag_{crowd}_{label}"] = Measured(mine, note)
        found[f"lag_{crowd}_{label}_vs_others"] = _against_best(
            mine, lives, lambda life, share=share: life.lag_s(share), f"{note} {missing}".strip()
        )
    polls = [life.polls_job for life in ours]
    note = f"{_each(lives, lambda life: life.polls_job)} {missing}".strip()
    found[f"lag_{crowd}_polls_vs_others"] = _against_best(polls, lives, lambda life: life.polls_job, note)
    return found


def _against_best(mine: Sequence[float], lives: Lives, value: Callable[[Life], float], note: str) -> Finding:
    others = [[value(life) for life in lives[name]] for name in _OTHERS if lives.get(name)]
    if not others:
        return Unmeasured(note or "no other engine was run")
    return ratio(mine, min(others, key=statistics.median), note)


def _each(lives: Lives, value: Callable[[Life], float]) -> str:
    shown = [(name, [value(life) for life in rounds]) for name, rounds in lives.items() if rounds]
    return ", ".join(f"{name} {statistics.median(values):.3g}" for name, values in shown)


GROUP = Group("lives", _ROWS, _measure)
