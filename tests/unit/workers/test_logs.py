from __future__ import annotations

import json
import logging

import pytest
import structlog

from workers.logs import bind_job, configure_logs


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_is_one_json_object_with_a_static_event_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO", "json")
    structlog.get_logger("reelworks.test").info("job_admitted", job_id="job-1")
    (line,) = lines(capsys)
    assert (line["event"], line["job_id"], line["level"], line["logger"]) == (
        "job_admitted",
        "job-1",
        "info",
        "reelworks.test",
    )
    assert str(line["timestamp"]).endswith("Z")


def test_while_a_task_runs_every_line_names_its_job(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO", "json")
    bind_job("reelworks.create", "job-1")
    logging.getLogger("some.library").warning("it said so")
    bind_job("reelworks.poll", None)
    logging.getLogger("some.library").warning("and again")
    first, second = lines(capsys)
    assert (first["task"], first["job_id"]) == ("reelworks.create", "job-1")
    assert (second["task"], "job_id" in second) == ("reelworks.poll", False)


def test_libraries_that_log_urls_or_arguments_are_kept_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("DEBUG", "json")
    for name in ("urllib3.connectionpool", "celery.worker.strategy", "celery.app.trace", "kombu", "alembic"):
        logging.getLogger(name).info("GET /files/a?sig=canary")
    assert lines(capsys) == []
