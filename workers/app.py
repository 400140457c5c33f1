"""The Celery application: `celery -A workers.app ...` finds it here."""

from __future__ import annotations

from typing import Any

from celery import Celery, Task
from celery.signals import celeryd_init, setup_logging, task_prerun, worker_init

from tasks.ledger import SchemaMismatch
from workers import broker, kombufix, lanekeeper, ledgerwatch, runtime, spoolkeeper
from workers.celeryconfig import config
from workers.jobevents import JobEvents
from workers.logs import bind_job, configure_logs
from workers.settings import settings


def make_app() -> Celery:
    """The application for this process' settings."""
    kombufix.install()
    broker.install()
    made = Celery("reelworks", set_as_current=True)
    made.set_default()  # tasks and hints find it in every thread
    made.config_from_object(config(settings()))
    made.events.dispatcher_cls = "workers.dispatcher:OneTryDispatcher"
    made.steps["consumer"].add(lanekeeper.LaneKeeper)
    made.steps["consumer"].add(spoolkeeper.SpoolKeeper)
    made.steps["consumer"].add(ledgerwatch.LedgerWatch)
    return made


@setup_logging.connect
def _our_logs(**_: object) -> None:
    # Connected, so that Celery leaves logging alone: it would set its own level and format.
    configure_logs(settings().log_level, settings().log_format)


@celeryd_init.connect
def _tell_of_jobs(sender: str, **_: object) -> None:
    # `sender` is the worker's node name. Gateway and commands have none: the sweep tells of what they did.
    runtime.install_worker(JobEvents(app, sender).tell)


@worker_init.connect
def _check_schema(**_: object) -> None:
    try:
        runtime.check_schema(settings())
    except SchemaMismatch as error:
        # Celery only logs what a receiver raises; this worker must not begin.
        raise SystemExit(f"Error: {error}.") from None


@task_prerun.connect
def _name_the_job(task: Task[..., Any] | None = None, kwargs: dict[str, Any] | None = None, **_: object) -> None:
    # Whatever is logged while a task runs, by whichever library, names the task and its job; or its jobs, where a line
    # does not say which of them it is about.
    given = kwargs or {}
    bind_job(task.name if task is not None else None, given.get("job"), given.get("more"))


_our_logs()
app = make_app()
runtime.install()
