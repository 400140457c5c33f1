"""A Celery application as the workers make it, with a task that tells Redis that it ran: for tests of the machinery."""

from __future__ import annotations

import redis
from celery import Celery

from workers import broker, kombufix
from workers.celeryconfig import config
from workers.settings import settings

kombufix.install()
broker.install()
app = Celery("echo")
app.config_from_object({**config(settings()), "include": []})


@app.task(name="echo")
def echo(word: str) -> None:
    with redis.Redis.from_url(settings().redis_url) as client:
        client.set(f"said:{word}", 1)
