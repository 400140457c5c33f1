"""Runs the gateway: gunicorn, with threads, because callers wait for the database, and some of them for their films."""

from __future__ import annotations

from typing import Any, Final

from flask import Flask
from gunicorn.app.base import BaseApplication

from tasks.domain.callbacks import CallbackTokens
from workers import runtime
from workers.credentials import Secret
from workers.gateway.app import create_app
from workers.gateway.desk import GatewayOptions
from workers.logs import configure_logs
from workers.settings import Settings

_SILENT_S: Final = 120
"""A process that has not been heard of for so long is ended and replaced."""
_STOP_S: Final = 30
"""For how long requests that are under way are waited for at the stop."""
_KEPT_S: Final = 15


def serve(read: Settings, secret: Secret, address: str, port: int) -> None:
    """Serve until SIGTERM. `secret` signs links to outputs."""
    tokens = CallbackTokens(secret.reveal().encode())
    links = runtime.links(read, secret)
    options = GatewayOptions(links, tokens, read.gateway, read.gateway_url, read.metrics_token)
    _Server(read, options, f"{address}:{port}").run()


class _Server(BaseApplication):
    def __init__(self, read: Settings, options: GatewayOptions, bind: str) -> None:
        self._read, self._options, self._bind = read, options, bind
        super().__init__()

    def load_config(self) -> None:
        chosen: dict[str, Any] = {
            "bind": self._bind,
            "worker_class": "gthread",
            "workers": self._read.gateway.processes,
            "threads": self._read.gateway.threads,
            "timeout": _SILENT_S,
            "graceful_timeout": _STOP_S,
            "keepalive": _KEPT_S,
            "proc_name": "reelworks-gateway",
            "loglevel": "warning",
        }
        for name, value in chosen.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """In each process, after the fork: clients are not shared."""
        configure_logs(self._read.log_level, self._read.log_format)
        runtime.install_gateway(self._read)
        return create_app(self._options)
