"""`metrics`: what Prometheus scrapes at the gateway, for a person, or for a file that another exporter reads."""

from __future__ import annotations

import click

from workers.cli.common import opened_context, settings, var_option
from workers.metrics.collector import Figures, text


@click.command()
@var_option
def metrics() -> None:
    """Print the series that the gateway shows at /metrics. Needs no token; reads the servers by itself."""
    with opened_context(settings()) as ctx:
        click.echo(text(Figures(lambda: ctx)), nl=False)
