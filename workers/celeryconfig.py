"""Celery's settings. Each that differs from the default says why; the figures behind them were measured on Redis."""

from __future__ import annotations

from typing import Any, Final

from tasks.hints import DOWNLOAD, LANES_QUEUE, QUEUES, RECORD
from workers.celeryplace import broker_settings, result_settings
from workers.settings import Settings

ROUTES: Final = {task: {"queue": queue} for task, queue in QUEUES.items()}
"""Task -> queue; every other task is a lane's."""


def config(settings: Settings) -> dict[str, Any]:
    """Celery's configuration for these settings."""
    return {
        **_broker(settings),
        # Written by us alone: the live view of a job is Celery's result record under the job's id.
        **result_settings(settings.redis_url),
        "task_ignore_result": True,
        "include": [
            "tasks.accept",
            "tasks.admit",
            "tasks.poll",
            "tasks.sweep",
            "tasks.notify",
            "tasks.create",
            "tasks.finish",
        ],
        "task_default_queue": LANES_QUEUE,
        "task_routes": ROUTES,
        # What decodes a film may hang where Python has no say: its process is ended, and the job is tried elsewhere. No
        # task of a pool of processes is without a limit: a process that hangs for good takes its share of the pool.
        "task_annotations": {
            DOWNLOAD: {"time_limit": 2 * settings.http.download_total_s + 120.0},
            RECORD: {"time_limit": 300.0},
        },
        "task_serializer": "json",
        "result_serializer": "json",
        # Nothing else is ever decoded, whatever a message says of itself.
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        # Events for Flower. Lanes send none (`tasks.lanes`).
        "worker_send_task_events": True,
        "task_send_sent_event": False,
        # A busy worker holds one message a slot; the others wait in the broker, where another worker finds them.
        "worker_prefetch_multiplier": 1,
        "broker_pool_limit": max(settings.pools.lanes_concurrency, settings.pools.create_concurrency, 4),
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # A Redis that has become read-only, or lost its replicas, refuses to hand out messages: that ends no worker.
        "broker_channel_error_retry": True,
        # Kombu waits longer and longer for a broker that is away, up to 30 s.
        "worker_consumer": "workers.consumer:SteadyConsumer",
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "redis_socket_timeout": 10.0,
        "redis_socket_connect_timeout": 5.0,
        "redis_socket_keepalive": True,
        "redis_backend_health_check_interval": 10,
    }


def _broker(settings: Settings) -> dict[str, Any]:
    return broker_settings(
        settings.redis_url,
        # What a worker holds it keeps in its own memory (`workers.broker`).
        ack_emulation=False,
        # A broker that vanished without a word is noticed within seconds instead of minutes: an answer is overdue
        # after this and one second more, and looked for as often.
        health_check_interval=5,
        socket_timeout=10,
        socket_connect_timeout=5,
        socket_keepalive=True,
    )
