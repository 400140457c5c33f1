"""The simulator with a witness: beside the bill it writes down which job each task was created for.

The bill names no prompts. Here the mark in a prompt is written with the task's id before the create is answered, so
that a reckoning does not depend on what the ledger believes. Takes the simulator's command line:
`python -m tests.chaos.provider ...`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, Final

import ops.simulator.__main__ as simulator
from ops.simulator.provider import Provider
from ops.simulator.tasks import Task
from ops.simulator.validation import Order

WITNESS: Final = "witness.jsonl"
_MARK: Final = re.compile(r"shot-\d+")


class WitnessedProvider(Provider):
    """Writes a line for each accepted create."""

    async def _accept(self, key: str, order: Order, *more: Any) -> Task:
        task = await super()._accept(key, order, *more)
        mark = _MARK.search(order.prompt)
        with (self.options.bill.parent / WITNESS).open("a") as file:
            file.write(json.dumps({"mark": mark[0] if mark else "", "task": task.id, "at_s": task.created_s}) + "\n")
        return task


def command(*, host: str, port: int, folder: Path, speed: float, seed: int, python: str = sys.executable) -> list[str]:
    """The command line in place of `workers.stackplan.simulator_command`; its limits are out of reach."""
    return [
        *(python, "-m", "tests.chaos.provider", "--host", host, "--port", str(port)),
        *("--speed", f"{speed:g}", "--seed", str(seed), "--open-limit", "100000", "--rate-per-minute", "1000000"),
        *("--url-ttl-s", "30000"),
        *("--bill", str(folder / "bill.jsonl"), "--data", str(folder / "films")),
    ]


def witnessed(folder: Path) -> dict[str, list[str]]:
    """The provider tasks that were created, by the mark of the job, oldest first."""
    found: dict[str, list[str]] = {}
    path = folder / WITNESS
    for line in path.read_text().splitlines() if path.exists() else ():
        entry = json.loads(line)
        found.setdefault(entry["mark"], []).append(entry["task"])
    return found


def ended_at_s(folder: Path) -> dict[str, float]:
    """When each task ended, in epoch seconds, by the records that the simulator keeps."""
    ends = {}
    for path in (folder / "films" / "tasks").glob("*.json"):
        record = json.loads(path.read_bytes())
        if record["ended_s"] is not None:
            ends[record["id"]] = float(record["ended_s"])
    return ends


if __name__ == "__main__":
    simulator.Provider = WitnessedProvider
    sys.exit(simulator.main())
