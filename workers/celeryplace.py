"""The address of Redis as Celery has to be told it: the broker's settings, and those of the results.

Of an address with sentinels kombu and Celery read another form, which shows passwords to whoever asks a worker for its
settings. So the one that they are given names the first sentinel alone, and the others go beside it.
"""

from __future__ import annotations

from typing import Any, Final

from celery import Celery

from schemas.redisaddress import sentinels_of
from workers.transports import verified

_SENTINEL_S: Final = 5.0
"""What kombu takes for its connections bounds a sentinel's as well, if it is less than a sentinel is given."""


def broker_settings(url: str, **transport_options: Any) -> dict[str, Any]:
    """Celery's settings for a broker at this address, reached with these options of kombu's transport."""
    place = sentinels_of(url)
    if place is None:
        return {"broker_url": verified(url), "broker_transport_options": transport_options}
    options = {
        **transport_options,
        "master_name": place.master,
        "sentinels": [list(each) for each in place.hosts],
        "sentinel_kwargs": place.sentinel_options(transport_options.get("socket_connect_timeout", _SENTINEL_S)),
    }
    encrypted = {} if place.tls is None else {"broker_use_ssl": dict(place.tls)}
    return {"broker_url": place.first(), "broker_transport_options": options, **encrypted}


def result_settings(url: str) -> dict[str, Any]:
    """Celery's settings for results that are kept at this address."""
    place = sentinels_of(url)
    if place is None:
        return {"result_backend": verified(url)}
    encrypted = {} if place.tls is None else {"redis_backend_use_ssl": dict(place.tls)}
    return {
        "result_backend": ";".join([place.first(), *place.others()]),
        "result_backend_transport_options": {
            "master_name": place.master,
            "sentinel_kwargs": place.sentinel_options(_SENTINEL_S),
        },
        **encrypted,
    }


def asking(name: str, url: str, **transport_options: Any) -> Celery:
    """An application that asks workers, by a broker at this address. Close it after use."""
    if sentinels_of(url) is not None:
        from workers import broker  # kombu's own transport knows one sentinel; ours reads all settings to be loaded

        broker.install()
    app = Celery(name, set_as_current=False)
    # An answer that is lost is asked for again.
    app.conf.update(broker_settings(url, ack_emulation=False, **transport_options))
    return app
