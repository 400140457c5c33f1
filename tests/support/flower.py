"""Flower as those see it who have its login: a process of its own, and all that it can be asked."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from flower.urls import handlers
from flower.views.tasks import TasksDataTable

from tests.support.waiting import wait_until
from workers.probes import free_port, http_answers
from workers.stackplan import ROOT

_DATATABLE: Final = (
    "draw=1&start=0&length=1000&order%5B0%5D%5Bcolumn%5D=0&columns%5B0%5D%5Bdata%5D=name&search%5Bvalue%5D="
)
RECORDS: Final = "/api/task/result/(.+)"
"""Where Flower asks the result backend."""
_READ: Final[Mapping[str, str]] = {
    "/": "",
    "/workers": "workers?json=1",
    "/worker/(.+)": "worker/{node}",
    "/task/(.+)": "task/{task}",
    "/tasks": "tasks",
    "/tasks/datatable": f"tasks/datatable?{_DATATABLE}",
    "/broker": "broker",
    "/api/workers": "api/workers?refresh=1&workername={node}",
    "/api/tasks": "api/tasks?limit=1000",
    "/api/task/types": "api/task/types",
    "/api/queues/length": "api/queues/length",
    "/api/task/info/(.*)": "api/task/info/{task}",
    RECORDS: "api/task/result/{task}",
    "/metrics": "metrics",
    "/healthcheck": "healthcheck",
}
"""What shows something, by the path of its handler. A page that a newer Flower has more is to be read as well."""
_SHOWN_TO_NOBODY: Final = {r"/static/(.*)", r"/login/?", r"/logout", r".*"}


def _handlers() -> dict[str, type]:
    pairs = [(each[0], each[1]) if isinstance(each, tuple) else (each.regex.pattern, each.target) for each in handlers]
    return {pattern.rstrip("$"): handler for pattern, handler in pairs}


_CHANGING: Final = {
    pattern
    for pattern, handler in _handlers().items()
    if "post" in vars(handler) and handler is not TasksDataTable and pattern not in _SHOWN_TO_NOBODY
}
CHANGING: Final = sorted(pattern.removeprefix("/").replace("(.+)", "NAME") for pattern in _CHANGING)
"""The paths by which Flower would change something, `NAME` for a worker, a task or a kind of task."""


@dataclass(frozen=True)
class Flower:
    """`login`: user:password."""

    url: str
    login: str

    def ask(self, path: str, method: str = "GET", login: str | None = None) -> tuple[int, str]:
        """Status and text of an answer; as somebody without a login where `login` is empty."""
        asked = urllib.request.Request(f"{self.url}/{path}", method=method)
        who = self.login if login is None else login
        if who:
            asked.add_header("Authorization", f"Basic {base64.b64encode(who.encode()).decode()}")
        try:
            with urllib.request.urlopen(asked, timeout=15) as answer:
                return answer.status, answer.read().decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode("utf-8", "replace")

    def page(self, path: str) -> str:
        """What is there. A worker that has no time to answer Flower is none that it can show: it is asked again."""
        _, text = wait_until(lambda: found if (found := self.ask(path))[0] == 200 else None, what=f"Flower {path}")
        return text

    def tasks(self, search: str = "") -> dict[str, dict[str, Any]]:
        """What Flower knows of tasks, by their ids."""
        return dict(json.loads(self.page(f"api/tasks?limit=1000&search={quote(search)}")))

    def named(self, search: str) -> list[str]:
        """The names of the tasks that a search finds, each once."""
        return sorted({str(task["name"]) for task in self.tasks(search).values()})

    def nodes(self) -> list[str]:
        """The workers that have answered Flower, by their node names."""
        return sorted(json.loads(self.page("api/workers?refresh=1")))

    def everything(self, jobs: Iterable[str] = (), *, but: Collection[str] = ()) -> dict[str, str]:
        """Every page and every answer there is, by its path: of all workers, all tasks, and the records of `jobs`.

        `but`: what this Flower may not show.
        """
        shown = set(_handlers()) - _CHANGING - _SHOWN_TO_NOBODY
        assert shown == set(_READ), "Flower has other pages by now: have them read as well"
        names = {"node": [quote(node) for node in self.nodes()], "task": sorted(self.tasks())}
        assert all(names.values()), f"Flower knows no worker, or no task: {names}"
        paths = [_READ[RECORDS].format(task=job) for job in jobs]
        paths += [path for pattern in shown - set(but) for path in _filled(_READ[pattern], names)]
        return {path: self.page(path) for path in paths}


def _filled(path: str, names: Mapping[str, list[str]]) -> list[str]:
    for kind, values in names.items():
        if f"{{{kind}}}" in path:
            return [path.replace(f"{{{kind}}}", value) for value in values]
    return [path]


@contextmanager
def flower_running(env: Mapping[str, str], log: Path) -> Iterator[Flower]:
    """Flower as a deployment runs it. `env` is its whole environment, with REELWORKS_FLOWER_LOGIN."""
    port = free_port()
    with log.open("wb") as out:
        argv = [sys.executable, "-m", "workers", "flower", "--port", str(port)]
        process = subprocess.Popen(argv, env=dict(env), cwd=ROOT, stdout=out, stderr=out)
    try:
        made = Flower(f"http://127.0.0.1:{port}", env["REELWORKS_FLOWER_LOGIN"])
        wait_until(lambda: http_answers(f"{made.url}/healthcheck"), within_s=40, what="Flower")
        yield made
    finally:
        process.terminate()
        process.wait(20)
