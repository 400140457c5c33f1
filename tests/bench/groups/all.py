"""All groups of figures, in the order in which they are measured."""

from __future__ import annotations

from tests.bench.group import Group
from tests.bench.groups import download, far, flight, growth, hosts, lives, polls, producer, schedule, slots

GROUPS: tuple[Group, ...] = (
    producer.GROUP,
    polls.GROUP,
    schedule.GROUP,
    lives.GROUP,
    slots.GROUP,
    growth.GROUP,
    flight.GROUP,
    download.GROUP,
    far.GROUP,
    hosts.GROUP,
)
