"""Two hosts with workers, the services on a third machine: one host loses its way to one of them, and finds it again.

On PostgreSQL alone: SQLite lives on one machine.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from schemas.jobs import State
from tests.support.crew import Crew
from tests.support.network import SERVICES, Network, missing, network
from tests.support.postgres import postgres_server
from tests.support.waiting import wait_until
from tests.support.works import Works
from workers.stackplan import ROOT, simulator_command, valkey_server_binary

pytestmark = [
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.timeout(300),  # the waits of a test may come to more than the usual bound
]

HOSTS = ("near", "far")


@dataclass(frozen=True)
class Machines:
    """The services, the books, and the workers of each host."""

    net: Network
    works: Works
    crews: dict[str, Crew]


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    folder = tmp_path_factory.mktemp("machines")
    with ExitStack() as stack:
        net = stack.enter_context(network(*HOSTS))
        hub = net.within("hub")
        server = stack.enter_context(postgres_server(net.address("database"), hub))
        socket_url = stack.enter_context(valkey(net, folder / "valkey"))
        bill = stack.enter_context(provider(net, folder / "simulator"))
        addresses = {
            "REELWORKS_REDIS_URL": f"redis://{net.address('redis')}:6379/0",
            "REELWORKS_DATABASE_URL": server.url,
            "REELWORKS_PROVIDER_URL": f"http://{net.address('provider')}:8080",
            "REELWORKS_OUTPUT_PRIVATE": net.address("provider"),
        }
        works = Works(folder / "parts", addresses, bill, ledger_url=server.socket_url, redis_url=socket_url)
        stack.callback(works.close)
        crews = {}
        for host in HOSTS:
            env = {**works.env, "REELWORKS_VAR": str(folder / host / "var")}
            crews[host] = Crew(folder / host, env, net.within(host))
            stack.callback(crews[host].close)
        for worker in [worker for crew in crews.values() for worker in crew.begin()]:
            worker.ready()
        yield Machines(net, works, crews)


@contextmanager
def valkey(net: Network, folder: Path) -> Iterator[str]:
    """On the hub; gives the URL of its socket, by which the test reaches it from without."""
    folder.mkdir()
    options = {"bind": net.address("redis"), "protected-mode": "no", "port": 6379, "unixsocket": folder / "socket"}
    options |= {"dir": folder, "appendonly": "yes", "save": ""}
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    with running([*net.within("hub"), str(valkey_server_binary()), *arguments], folder):
        url = f"unix://{folder}/socket"
        with closing(redis.Redis.from_url(url)) as client:
            wait_until(lambda: (folder / "socket").exists() and client.ping(), what="valkey-server")
        yield url


@contextmanager
def provider(net: Network, folder: Path) -> Iterator[Path]:
    """On the hub; gives its bill."""
    folder.mkdir()
    argv = simulator_command(host=net.address("provider"), port=8080, folder=folder, speed=100, seed=7)
    with running([*net.within("hub"), *argv], folder):
        wait_until(lambda: b"listening" in (folder / "log").read_bytes(), what="the provider")
        yield folder / "bill.jsonl"


@contextmanager
def running(argv: list[str], folder: Path) -> Iterator[None]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=ROOT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("service", SERVICES)
def test_a_host_that_is_cut_off_costs_nothing_and_takes_part_again(machines: Machines, service: str) -> None:
    works, far = machines.works, machines.crews["far"]
    jobs = works.submit(6)
    # All of them: a create whose answer the network swallows is rightly in doubt for as long as it is cut off.
    works.wait(jobs, State.GENERATING, State.DOWNLOADING, State.RECORDING, State.COMPLETED)
    machines.net.cut("far", service)
    try:
        jobs += works.submit(4)
        works.wait(jobs, State.COMPLETED)
    finally:
        machines.net.heal("far", service)
    (creating,) = far.living("create")
    before = creating.text().count("create_ended")

    def takes_part() -> bool:
        more = works.submit(4)
        works.wait(more, State.COMPLETED)
        return creating.text().count("create_ended") > before

    wait_until(takes_part, within_s=60, what="the far host creating again")
    works.check_books()
