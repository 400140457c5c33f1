"""Builds what tasks work with from the settings: the one place where addresses and keys become clients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from schemas.jobs import JobView
from tasks import context
from tasks.context import Context
from tasks.domain.callbacks import Callbacks, CallbackTokens
from tasks.domain.figures import REQUEST_S
from tasks.forms.links import Links
from tasks.forms.webhook import GatewayPlace
from tasks.hints import TOGETHER_MOST
from tasks.ledger import Ledger, LedgerError
from tasks.ledger.migrate import check
from tasks.media.bucket import Bucket
from tasks.media.folderstore import FolderStore
from tasks.media.outputs import OutputFetcher
from tasks.media.s3store import S3Store
from tasks.pulse import Pulse
from tasks.spool import Spool
from tasks.traces import Traces
from tasks.transport import Deadlines
from tasks.vtrix.client import VtrixClient
from tasks.vtrix.curl import CurlAsker
from tasks.webhooks import Webhooks
from workers.credentials import Secret
from workers.settings import Settings, settings

_GATEWAY_REDIS_S: Final = 1.0


def install() -> None:
    """Have this process' tasks work with what the settings name. Nothing is connected before the first task."""
    context.install(lambda: build(settings()))


def install_worker(tell: Callable[[Sequence[JobView]], None]) -> None:
    """The same for a worker, whose tasks also tell of the jobs that they have changed."""
    context.install(lambda: replace(build(settings()), tell=tell))


def install_gateway(read: Settings) -> None:
    """The same for the gateway, which speaks to no provider and does not wait long for Redis: it can do without."""

    def built() -> Context:
        made = build(replace(read, provider_keys={}))
        made.pulse.close()
        return replace(made, pulse=Pulse(read.redis_url, timeout_s=_GATEWAY_REDIS_S, view_ttl_s=read.view_ttl_s))

    context.install(built)


def build(read: Settings) -> Context:
    """The context for these settings. Raises `SchemaMismatch` when the database needs migrating."""
    ledger = open_ledger(read)
    if not _schema_checked:
        check(ledger)
    store, pulse = open_store(read), open_pulse(read)
    return Context(
        policy=read.policy,
        ledger=ledger,
        pulse=pulse,
        store=store,
        spool=open_spool(read),
        fetcher=OutputFetcher(
            store,
            max_bytes=read.policy.output_max_bytes,
            within=Deadlines(read.http.connect_s, read.http.download_read_s, read.http.download_total_s),
            reach=read.output_reach,
        ),
        providers={alias: provider_client(read, alias) for alias in read.provider_keys},
        asker=CurlAsker(_poll_deadlines(read), lambda took_s: pulse.tally.took(REQUEST_S, took_s, "poll")),
        callbacks=_callbacks(read),
        webhooks=Webhooks(read.policy.webhook, read.webhook_reach),
        gateway=GatewayPlace(read.gateway_url or "", _links(read)),
        traces=Traces() if read.traces else None,
        threads=ThreadPoolExecutor(max(read.policy.poll_concurrency, TOGETHER_MOST), thread_name_prefix="waits"),
    )


_schema_checked = False


def check_schema(read: Settings) -> None:
    """Once a worker, before its processes are forked, which then take its word.

    A process that is forked after the next version's migration, to take a dead one's place, works on: migrations only
    add for one release. A database that is away is left to the processes themselves. Raises `SchemaMismatch`.
    """
    global _schema_checked  # noqa: PLW0603 (what forked processes inherit)
    ledger = open_ledger(read)
    try:
        check(ledger)
    except LedgerError:
        return
    finally:
        ledger.close()
    _schema_checked = True


def open_ledger(read: Settings) -> Ledger:
    """The database alone, as commands and checks need it."""
    return Ledger(read.database_url)


def open_store(read: Settings) -> FolderStore | S3Store:
    """The store alone, as commands and checks need it. Nothing is connected before it is asked for something."""
    low_bytes = read.policy.disk_low_bytes
    if isinstance(read.store, Bucket):
        return S3Store(read.store, read.var / "parts", low_bytes)
    return FolderStore(read.store, low_bytes)


def open_spool(read: Settings) -> Spool:
    """The spool of this machine: what the database could not take."""
    return Spool(read.var / "spool")


def open_pulse(read: Settings) -> Pulse:
    """Redis alone, as commands and checks need it."""
    return Pulse(read.redis_url, view_ttl_s=read.view_ttl_s)


def _poll_deadlines(read: Settings) -> Deadlines:
    return Deadlines(read.http.connect_s, read.http.poll_read_s, read.http.poll_total_s)


def _callbacks(read: Settings) -> Callbacks | None:
    if read.callback_url is None or read.gateway_secret is None:
        return None
    return Callbacks(read.callback_url, CallbackTokens(read.gateway_secret.reveal().encode()))


def _links(read: Settings) -> Links | None:
    return None if read.gateway_secret is None else links(read, read.gateway_secret)


def links(read: Settings, secret: Secret) -> Links:
    """What makes links to outputs, and opens them; `secret` signs."""
    return Links(secret.reveal().encode(), read.gateway.link_ttl_s)


def provider_client(read: Settings, alias: str) -> VtrixClient:
    """What speaks with the provider under one key."""
    return VtrixClient(
        read.provider_url,
        read.provider_keys[alias].reveal(),
        alias,
        create=Deadlines(read.http.connect_s, read.http.create_read_s, read.http.create_total_s),
        poll=_poll_deadlines(read),
        pool_size=read.policy.poll_concurrency,
    )
