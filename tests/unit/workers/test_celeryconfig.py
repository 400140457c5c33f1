"""What of Celery's configuration is a promise."""

from __future__ import annotations

from workers.celeryconfig import config
from workers.settings import read_settings


def test_nothing_but_json_is_written_or_read() -> None:
    made = config(read_settings())
    assert {name: made[name] for name in ("task_serializer", "result_serializer")} == {
        "task_serializer": "json",
        "result_serializer": "json",
    }
    assert made["accept_content"] == made["result_accept_content"] == ["json"]
