"""A Prometheus server of one stack's own: with the alerts as they stand, and asked through its HTTP API."""

from __future__ import annotations

import math
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import requests
import yaml

from tests.support.waiting import wait_until
from tests.watch.rules import ALERTS, FOLDER, PACE
from workers.probes import free_port, http_answers

_ANSWER_S: Final = 20.0


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    url: str
    session: requests.Session = field(default_factory=requests.Session, repr=False)

    def firing(self) -> set[tuple[str, bool]]:
        """The alerts that fire now, by name, and whether it is the shortened one."""
        alerts = self._get("alerts")["alerts"]
        return {(each["labels"]["alertname"], PACE in each["labels"]) for each in alerts if each["state"] == "firing"}

    def has_data(self, expression: str) -> bool:
        """Whether a query gives any number in the last minute, as a panel would draw it."""
        now_s = time.time()
        span = {"start": f"{now_s - 60:.0f}", "end": f"{now_s:.0f}", "step": "5"}
        found = self._get("query_range", query=expression, **span)["result"]
        return any(not math.isnan(float(value)) for each in found for _, value in each["values"])

    def number(self, expression: str) -> float:
        """The one number that a query gives; raises `ValueError` when it gives none, or several."""
        (found,) = self._get("query", query=expression)["result"]
        return float(found["value"][1])

    def numbers(self, expression: str, label: str) -> dict[str, float]:
        """What a query gives, by one label's words."""
        found = self._get("query", query=expression)["result"]
        return {each["metric"].get(label, ""): float(each["value"][1]) for each in found}

    def unhealthy_rules(self) -> list[str]:
        """What Prometheus says of rules that it can't work out."""
        groups = self._get("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return [f"{rule['name']}: {rule.get('lastError')}" for rule in rules if rule["health"] == "err"]

    def _get(self, path: str, **params: str) -> Any:
        answer = self.session.get(f"{self.url}/api/v1/{path}", params=params, timeout=_ANSWER_S)
        said = answer.json()
        if said["status"] != "success":
            raise ValueError(f"Prometheus refuses {path} {params}: {said.get('error')}")
        return said["data"]


def config(gateway_url: str, token: Path, every_s: float, more_rules: Sequence[Path]) -> dict[str, Any]:
    """The settings of a deployment's Prometheus, for a gateway on this machine, which is looked at more often."""
    made: dict[str, Any] = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    for name in ("scrape_interval", "scrape_timeout", "evaluation_interval"):
        made["global"][name] = f"{round(every_s * 1000)}ms"
    made["rule_files"] = [str(ALERTS), *map(str, more_rules)]
    (scraped,) = made["scrape_configs"]
    scraped["authorization"]["credentials_file"] = str(token)
    scraped["static_configs"] = [{"targets": [urlsplit(gateway_url).netloc]}]
    return made


@contextmanager
def prometheus(
    folder: Path, gateway_url: str, token: str, *, every_s: float, more_rules: Sequence[Path] = ()
) -> Iterator[Prometheus]:
    """A server that scrapes this gateway every so many seconds, until the end of the block."""
    program = shutil.which("prometheus")
    if program is None:
        raise FileNotFoundError("prometheus is not found: install it (Debian, Ubuntu: apt install prometheus)")
    folder.mkdir(parents=True)
    secret = folder / "token"
    secret.touch(mode=0o600)
    secret.write_text(token)
    settings = folder / "prometheus.yml"
    settings.write_text(yaml.safe_dump(config(gateway_url, secret, every_s, more_rules)))
    address = f"127.0.0.1:{free_port()}"
    argv = [
        *(program, f"--config.file={settings}", f"--storage.tsdb.path={folder / 'data'}"),
        *(f"--web.listen-address={address}", "--log.level=warn"),
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        made = Prometheus(f"http://{address}")
        made.session.trust_env = False
        wait_until(lambda: _is_ready(process, made.url, folder), within_s=60, what="Prometheus being ready")
        yield made
    finally:
        process.terminate()
        process.wait(30)


def _is_ready(process: subprocess.Popen[bytes], url: str, folder: Path) -> bool:
    if process.poll() is not None:
        raise AssertionError(f"Prometheus ended: {(folder / 'log').read_text()[-2000:]}")
    return http_answers(f"{url}/-/ready")
