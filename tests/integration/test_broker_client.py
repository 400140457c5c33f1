"""The client with which a channel publishes and acknowledges is made once, and again where its connections are gone."""

from __future__ import annotations

from pathlib import Path

from kombu import Connection

from tests.support.valkey import valkey_server
from workers import broker


def test_a_channel_keeps_its_client_until_its_connections_are_gone(tmp_path: Path) -> None:
    with valkey_server(tmp_path) as server:
        connection = Connection(server.url, transport=f"{broker.__name__}:Transport")
        with connection, connection.SimpleQueue("shelf") as queue:
            channel = queue.channel
            with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
                assert first is second
            queue.put("one")
            channel._disconnect_pools()
            queue.put("two")
            with channel.conn_or_acquire() as third:
                assert third is not first
            assert server.client.llen("shelf") == 2
            for word in ("one", "two"):
                message = queue.get(timeout=10)
                assert message.payload == word
                message.ack()
            assert not server.client.exists("unacked")
