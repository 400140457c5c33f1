"""Camera instructions: how prompts are read and where the window goes."""

from __future__ import annotations

import pytest

from ops.simulator.camera import MOTIONS, Window, parse, path

FRAMES = 144


def end_of(prompt: str) -> Window:
    return path(prompt, FRAMES)[-1]


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a street", []),
        ("a street [pan left]", [("pan left",)]),
        ("[Pan  Left] and [PUSH IN]", [("pan left",), ("push in",)]),
        ("[tilt left, rise]", [("tilt left", "rise")]),
        ("[pan left, pan left]", [("pan left",)]),
        ("[tilt left\uff0crise]", [("tilt left", "rise")]),
        ("see [1] and [a note]", []),
        ("[fly, rise]", [("rise",)]),
        ("[pan left", []),
    ],
)
def test_brackets_are_read_in_order_and_prose_is_left_alone(prompt: str, parts: list[tuple[str, ...]]) -> None:
    assert parse(prompt) == parts


def test_there_are_fifteen_instructions_and_no_two_move_alike() -> None:
    paths = {name: tuple(path(f"[{name}]", FRAMES)) for name in MOTIONS}
    assert len(paths) == 15
    assert len(set(paths.values())) == 15


@pytest.mark.parametrize("name", sorted(MOTIONS))
def test_every_film_begins_with_the_whole_picture(name: str) -> None:
    assert path(f"[{name}]", FRAMES)[0] == Window()


@pytest.mark.parametrize(
    ("name", "dx", "dy"),
    [
        ("pan left", -1, 0),
        ("pan right", 1, 0),
        ("tilt left", -1, 0),
        ("tilt right", 1, 0),
        ("tilt up", 0, -1),
        ("tilt down", 0, 1),
        ("rise", 0, -1),
        ("lower", 0, 1),
    ],
)
def test_a_moving_camera_looks_where_it_is_told(name: str, dx: int, dy: int) -> None:
    end = end_of(f"[{name}]")
    assert (end.dx * dx > 0.05) if dx else end.dx == 0
    assert (end.dy * dy > 0.05) if dy else end.dy == 0


@pytest.mark.parametrize(("name", "closer"), [("zoom in", 1), ("push in", 1), ("zoom out", 0), ("pull back", 0)])
def test_coming_closer_narrows_the_window(name: str, closer: int) -> None:
    assert (end_of(f"[{name}]").scale < 0.9) is bool(closer)
    assert (end_of(f"[{name}]").scale > 1.1) is not bool(closer)


def test_static_stands_still_and_no_instruction_drifts_in() -> None:
    assert set(path("[static]", FRAMES)) == {Window()}
    assert 0.85 < end_of("a quiet lake").scale < 1


def test_shake_ends_where_it_began_and_moves_between() -> None:
    windows = path("[shake]", FRAMES)
    assert abs(windows[-1].dx) < 1e-9
    assert max(abs(window.dx) for window in windows) > 0.005


def test_combined_instructions_act_together() -> None:
    end = end_of("[pan left, zoom in]")
    assert end.dx < -0.1
    assert end.scale < 0.8


def test_sequential_instructions_take_equal_parts_in_order() -> None:
    windows = path("[pan left] then [zoom in]", FRAMES)
    middle = windows[FRAMES // 2]
    assert middle.dx < -0.07
    assert middle.scale > 0.98
    assert windows[-1].scale < 0.85
    assert windows[-1].dx == pytest.approx(middle.dx, abs=0.01)


def test_many_instructions_never_leave_the_neighbourhood_of_the_picture() -> None:
    windows = path("[pan left]" * 40 + "[zoom out]" * 40, 240)
    assert max(abs(window.dx) + window.scale / 2 for window in windows) < 1.5
    assert len(windows) == 240
