"""Machines as network namespaces: a hub with the services, hosts that reach each of them through a network of its own.

Needs root and `ip`. What a host has to do with one service can be cut and healed; the other ways stay open.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

SERVICES: Final = {"redis": 1, "database": 2, "provider": 3}
"""Service -> the number of its network."""
_NOBODY: Final = "02:00:00:00:00:99"  # a card that no machine has: what is sent to it is gone without a word


def missing() -> str | None:
    """Why there can be no such machines here; `None` when there can."""
    if shutil.which("ip") is None:
        return "network namespaces need the command ip (iproute2)"
    if os.geteuid() != 0:
        return "network namespaces need root"
    tried = subprocess.run(
        ["ip", "netns", "add", name := f"rw-{secrets.token_hex(4)}"], check=False, capture_output=True
    )
    if tried.returncode:
        return f"network namespaces are refused here: {tried.stderr.decode().strip()}"
    _ip("netns", "del", name)
    return None


class Network:
    """The hub and its hosts. Made by `network`."""

    def __init__(self, hosts: Sequence[str]) -> None:
        run = secrets.token_hex(3)
        self._hosts = {host: number for number, host in enumerate(hosts, start=11)}
        self._spaces = {name: f"rw-{run}-{name}" for name in ("hub", *hosts)}

    def address(self, service: str) -> str:
        return f"10.77.{SERVICES[service]}.1"

    def within(self, machine: str) -> list[str]:
        """What is put before a command line to have it run on a machine."""
        named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', machine]
        return ["ip", "netns", "exec", self._spaces[machine], *named]

    def cut(self, host: str, service: str) -> None:
        """From now on whatever the two send one another is swallowed, on connections that there are and on new ones."""
        for machine, address, card in self._ends(host, service):
            _ip("-n", machine, "neigh", "replace", address, "lladdr", _NOBODY, "dev", card, "nud", "permanent")

    def heal(self, host: str, service: str) -> None:
        for machine, address, card in self._ends(host, service):
            _ip("-n", machine, "neigh", "del", address, "dev", card)

    def _ends(self, host: str, service: str) -> list[tuple[str, str, str]]:
        theirs = f"10.77.{SERVICES[service]}.{self._hosts[host]}"
        return [(self._spaces[host], self.address(service), "eth0"), (self._spaces["hub"], theirs, "switch")]

    def build(self) -> None:
        for space in self._spaces.values():
            _ip("netns", "add", space)
            _ip("-n", space, "link", "set", "lo", "up")
        hub = self._spaces["hub"]
        _ip("-n", hub, "link", "add", "switch", "type", "bridge")
        _ip("-n", hub, "link", "set", "switch", "up")
        self._give_addresses("hub", "switch", 1)
        for host, number in self._hosts.items():
            _ip("-n", hub, "link", "add", f"to-{host}", "type", "veth", "peer", "eth0", "netns", self._spaces[host])
            _ip("-n", hub, "link", "set", f"to-{host}", "master", "switch", "up")
            _ip("-n", self._spaces[host], "link", "set", "eth0", "up")
            self._give_addresses(host, "eth0", number)

    def _give_addresses(self, machine: str, card: str, number: int) -> None:
        for service in SERVICES.values():
            _ip("-n", self._spaces[machine], "addr", "add", f"10.77.{service}.{number}/24", "dev", card)

    def close(self) -> None:
        for space in self._spaces.values():
            subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)


@contextmanager
def network(*hosts: str) -> Iterator[Network]:
    made = Network(hosts)
    try:
        made.build()
        yield made
    finally:
        made.close()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=20)
