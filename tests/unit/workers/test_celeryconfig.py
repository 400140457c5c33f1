"""What of Celery's configuration is a promise."""

from __future__ import annotations

from tasks.hints import DOWNLOAD, QUEUES, RECORD
from workers.celeryconfig import config
from workers.pools import POOLS
from workers.settings import read_settings


def test_nothing_but_json_is_written_or_read() -> None:
    made = config(read_settings())
    assert {name: made[name] for name in ("task_serializer", "result_serializer")} == {
        "task_serializer": "json",
        "result_serializer": "json",
    }
    assert made["accept_content"] == made["result_accept_content"] == ["json"]


def test_no_task_of_the_pool_of_processes_is_without_a_hard_limit_that_a_whole_download_keeps() -> None:
    read = read_settings()
    limits = {task: rule["time_limit"] for task, rule in config(read)["task_annotations"].items()}
    forked = {queue for pool in POOLS.values() if pool.kind == "prefork" for queue in pool.queues}
    assert limits.keys() >= {task for task, queue in QUEUES.items() if queue in forked} >= {DOWNLOAD, RECORD}
    assert limits[DOWNLOAD] > read.http.download_total_s
    assert limits[RECORD] > 0
