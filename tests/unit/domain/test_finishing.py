"""What a film should look like, and when a download is tried again."""

from __future__ import annotations

import pytest

from tasks.domain.finishing import ExpectedFilm, GiveUp, TryAgain, expected_film, retry_or_give_up


def test_the_film_takes_the_shape_of_the_first_frame() -> None:
    request = {"duration": 6, "resolution": "768P", "first_frame_image": f"input:{'0' * 64}.jpg:1000x2000"}
    assert expected_film(request) == ExpectedFilm(768, 1536, 6.0)


@pytest.mark.parametrize(("resolution", "size"), [("768P", (1366, 768)), ("1080P", (1920, 1080))])
def test_a_film_without_a_first_frame_is_wide(resolution: str, size: tuple[int, int]) -> None:
    request = {"duration": 6, "resolution": resolution, "prompt": "a cat"}
    assert expected_film(request) == ExpectedFilm(*size, 6.0)


def test_of_the_shape_behind_a_url_the_short_side_is_known() -> None:
    request = {"duration": 10, "resolution": "768P", "first_frame_image": "https://x.example/a.jpg"}
    assert expected_film(request) == ExpectedFilm(None, 768, 10.0)


@pytest.mark.parametrize(
    ("refused", "tries", "verdict"),
    [
        (False, 1, TryAgain(5)),
        (False, 3, TryAgain(20)),
        (False, 7, TryAgain(300)),
        (False, 8, GiveUp("c", "m")),
        (True, 1, TryAgain(5)),
        (True, 2, GiveUp("c", "m")),
    ],
)
def test_a_download_is_tried_again_ever_later(refused: bool, tries: int, verdict: TryAgain | GiveUp) -> None:
    found = retry_or_give_up(refused=refused, code="c", message="m", tries=tries, most=8, first_s=5)
    assert found == verdict
