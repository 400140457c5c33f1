"""A request from what was typed: every problem by its field, and nothing secret said."""

from __future__ import annotations

import io
import os
from dataclasses import fields
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from PIL import Image

from schemas.errors import RequestInvalid
from schemas.images import MAX_BYTES, ImageBytes, ImageUrl
from schemas.requests import GenerationRequest
from workers.cli import cli
from workers.cli.exits import INVALID
from workers.cli.request import checked, metadata_of
from workers.cli.submit import submit

MODEL = "minimax_hailuo_02_i2v"
TEXT_MODEL = "minimax_hailuo_23_t2v"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "first.png"
    Image.new("RGB", (640, 360), "teal").save(path)
    return path


def problems_of(**given: object) -> dict[str, str]:
    with pytest.raises(RequestInvalid) as caught:
        checked({"model": MODEL, **given})
    return {problem.field: problem.code for problem in caught.value.problems}


def test_a_path_becomes_the_picture_and_what_was_not_given_is_left_out(picture: Path) -> None:
    given, request = checked({"model": MODEL, "first_frame_image": str(picture), "prompt": None})
    assert sorted(given) == ["first_frame_image", "model"]
    assert isinstance(request.first_frame_image, ImageBytes)
    assert (request.first_frame_image.width, request.first_frame_image.height) == (640, 360)


def test_a_url_stays_as_it_is() -> None:
    url = "https://pictures.example/first.png"
    _, request = checked({"model": MODEL, "first_frame_image": url})
    assert request.first_frame_image == ImageUrl(url)


def test_a_film_of_a_text_alone_needs_no_picture() -> None:
    fields, request = checked({"model": TEXT_MODEL, "prompt": "a cat", "first_frame_image": None})
    assert sorted(fields) == ["model", "prompt"]
    assert request.first_frame_image is None


def test_every_problem_is_named_those_of_files_included(tmp_path: Path) -> None:
    found = problems_of(first_frame_image=str(tmp_path / "gone.jpg"), duration=7, priority=1000)
    assert found == {
        "first_frame_image": "image_file",
        "duration": "duration_not_offered",
        "priority": "out_of_range",
    }


def test_a_file_that_is_no_picture_is_judged_like_any_picture(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no picture")
    assert problems_of(first_frame_image=str(path)) == {"first_frame_image": "image_format"}


def test_a_file_too_large_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES)
    assert problems_of(first_frame_image=str(path)) == {"first_frame_image": "image_file"}


def test_a_picture_too_small_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (300, 300)).save(buffer, "PNG")
    path = tmp_path / "small.png"
    path.write_bytes(buffer.getvalue())
    assert problems_of(first_frame_image=str(path)) == {"first_frame_image": "image_too_small"}


def test_metadata_is_json_or_wrong_usage() -> None:
    assert metadata_of('{"shot": 3}') == {"shot": 3}
    assert metadata_of(None) is None
    with pytest.raises(click.BadParameter):
        metadata_of("{shot")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--image", "/no/such/file", "--duration", "7"], ["first_frame_image: ", "duration: ", "2 problems"]),
        ([], ["first_frame_image: ", "a problem"]),
        (["--model", TEXT_MODEL], ["prompt: this field is required", "a problem"]),
        (["--model", TEXT_MODEL, "--prompt", "a cat", "--duration", "7"], ["duration: ", "a problem"]),
        (["--fast-pretreatment", "--image", "https://a.example/b.jpg"], ["fast_pretreatment: ", "a problem"]),
        (["--model", "minimax"], ["model: there is no model", "a problem"]),
        (["--prompt", "a", "--prompt-file", "-"], ["not both"]),
    ],
)
def test_submit_refuses_before_it_asks_any_server(
    args: list[str], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [*os.environ]:
        if name.startswith("REELWORKS_"):
            monkeypatch.delenv(name)
    result = CliRunner().invoke(cli, ["submit", *args], input="a prompt that stays secret")
    assert result.exit_code == INVALID
    for word in words:
        assert word in result.stderr
    assert "secret" not in result.output


def test_every_field_of_a_request_can_be_typed() -> None:
    typed = {parameter.name for parameter in submit.params}
    assert {field.name for field in fields(GenerationRequest)} - {"warnings"} <= typed
