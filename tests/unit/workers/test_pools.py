"""The pools' table, and the command lines made of it."""

from __future__ import annotations

import pytest

from tasks.hints import LANES_QUEUE, QUEUES
from workers import pools


def test_a_pool_serves_its_queue_on_its_celery_pool() -> None:
    assert {name: (pool.queues, pool.kind) for name, pool in pools.POOLS.items()} == {
        "lanes": (("lanes",), "threads"),
        "create": (("create",), "threads"),
        "finish": (("finish", "record"), "prefork"),
    }


def test_each_queue_is_served_by_one_pool() -> None:
    queues = [queue for pool in pools.POOLS.values() for queue in pool.queues]
    assert sorted(queues) == sorted({LANES_QUEUE, *QUEUES.values()})


def test_the_command_line_of_a_pool() -> None:
    line = pools.command("finish", pools.PoolSizes(finish_concurrency=5), python="python")
    assert " ".join(line) == (
        "python -m celery -A workers.app worker -n finish@%h -Q finish,record -P prefork -c 5"
        " --without-gossip --without-mingle -E"
    )


@pytest.mark.parametrize("name", pools.POOLS)
def test_the_size_of_each_pool_is_a_setting_of_its_own(name: str) -> None:
    pool = pools.POOLS[name]
    sizes = pools.PoolSizes.read({pool.variable: "13"})
    commands = {other: pools.command(other, sizes) for other in pools.POOLS}
    assert [other for other, line in commands.items() if line[line.index("-c") + 1] == "13"] == [name]


def test_sizes_have_defaults_and_empty_means_absent() -> None:
    assert pools.PoolSizes.read({"REELWORKS_LANES_CONCURRENCY": ""}) == pools.PoolSizes(8, 8, 2)


@pytest.mark.parametrize("text", ["0", "-1", "2.5", "many"])
def test_a_size_that_is_no_count_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"^REELWORKS_CREATE_CONCURRENCY must be a whole number of at least 1"):
        pools.PoolSizes.read({"REELWORKS_CREATE_CONCURRENCY": text})


def test_an_unknown_pool_has_no_command() -> None:
    with pytest.raises(KeyError):
        pools.command("lame", pools.PoolSizes())


def test_the_command_line_of_flower() -> None:
    line = pools.flower_command(address="127.0.0.1", port=5555, python="python")
    assert " ".join(line) == (
        "python -m celery -A workers.flowerapp flower --conf=ops/flower/flowerconfig.py --address=127.0.0.1 --port=5555"
    )
