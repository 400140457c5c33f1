"""The address of Redis as Celery is told it: all sentinels reach it, and no password shows where it is asked for."""

from __future__ import annotations

from celery import Celery
from kombu.utils.json import dumps

from workers import broker
from workers.celeryplace import asking, broker_settings, result_settings

URL = "sentinel://me:canary@one:7,two/3?master=films&sentinel_password=canary"


def test_all_sentinels_are_known_to_the_transport() -> None:
    broker.install()
    with Celery("asked", set_as_current=False) as app:
        app.conf.update(broker_settings(URL, socket_timeout=4))
        connection = app.connection()
        assert connection.transport_cls == "sentinel"
        assert isinstance(connection.transport, broker.SentinelTransport)
        assert connection.transport_options["sentinels"] == [["one", 7], ["two", 26379]]
        assert connection.transport_options["socket_timeout"] == 4
        assert (connection.hostname, connection.virtual_host, connection.password) == ("one", "3", "canary")


def test_a_channel_of_sentinels_is_ours_in_everything_else() -> None:
    assert issubclass(broker.SentinelChannel, broker.Channel)
    assert issubclass(broker.SentinelTransport, broker.Transport)
    order = broker.SentinelChannel.__mro__
    assert order.index(broker.Channel) < order.index(broker.kombu_redis.SentinelChannel)


def test_no_password_shows_to_whoever_asks_a_worker() -> None:
    with Celery("asked", set_as_current=False) as app:
        app.conf.update({**broker_settings(URL), **result_settings(URL)})
        info = app.connection().info()
        del info["password"]  # as Celery does
        said = dumps(info) + repr(app.conf.table(with_defaults=False)) + app.backend.as_uri()
        assert "canary" not in said
        assert "***" in dumps(info)


def test_results_are_asked_of_all_sentinels_with_one_login() -> None:
    made = result_settings(URL)
    assert made["result_backend"] == "sentinel://me:canary@one:7/3;sentinel://two:26379/3"
    assert made["result_backend_transport_options"]["master_name"] == "films"


def test_tls_is_said_to_servers_and_sentinels() -> None:
    url = "sentinels://one/0?master=films&ssl_ca_certs=/ca.pem"
    tls = {"ssl_cert_reqs": "required", "ssl_check_hostname": True, "ssl_ca_certs": "/ca.pem"}
    made = {**broker_settings(url), **result_settings(url)}
    assert made["broker_use_ssl"] == made["redis_backend_use_ssl"] == tls
    for name in ("broker_transport_options", "result_backend_transport_options"):
        assert made[name]["sentinel_kwargs"].items() >= {**tls, "ssl": True}.items()


def test_who_asks_over_tls_verifies() -> None:
    with asking("asked", "rediss://cache/0") as app:
        assert app.conf.broker_url == "rediss://cache/0?ssl_cert_reqs=required"
