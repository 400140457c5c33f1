"""The simulator as a process of one test's own, a client of it, and a small server for what it sends out."""

from __future__ import annotations

import base64
import io
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
from PIL import Image, ImageDraw

from ops.simulator.bill import Bill, read_bill
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
MODEL = "minimax_hailuo_02_i2v"
SOON = {"poll": {"latency_s": 0}}


def data_url(width: int = 640, height: int = 360) -> str:
    """A dark picture with one bright upright bar in its middle."""
    picture = Image.new("RGB", (width, height), "navy")
    ImageDraw.Draw(picture).rectangle((width * 0.48, 0, width * 0.52, height), fill="white")
    out = io.BytesIO()
    picture.save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


class Simulator:
    """A client of one simulator process."""

    def __init__(self, url: str, bill: Path, process: subprocess.Popen[str], session: requests.Session) -> None:
        self.url, self._bill, self.process, self._session = url, bill, process, session

    def create(self, key: str | None = "sk-test", **params: object) -> requests.Response:
        return self.order(MODEL, key, **{"first_frame_image": data_url(), "resolution": "512P", **params})

    def order(self, model: str, key: str | None = "sk-test", **params: object) -> requests.Response:
        body = {"model": model, "input": [{"params": params}]}
        return self._session.post(f"{self.url}/model/v1/generation", json=body, headers=bearer(key), timeout=5)

    def poll(self, task: str, key: str | None = "sk-test") -> requests.Response:
        return self._session.get(f"{self.url}/model/v1/generation/task/{task}", headers=bearer(key), timeout=5)

    def get(self, url: str, **headers: str) -> requests.Response:
        return self._session.get(url, headers=headers, timeout=5)

    def admin(self, name: str) -> dict[str, Any]:
        return self._session.get(f"{self.url}/admin/{name}", timeout=5).json()

    def script(self, *rules: dict[str, Any]) -> None:
        answer = self._session.put(f"{self.url}/admin/scenario", json=[*rules, SOON], timeout=5)
        assert answer.status_code == 200, answer.text

    def ended(self, task: str) -> dict[str, Any]:
        """The answer to the first poll that shows the task as ended."""

        def look() -> dict[str, Any] | None:
            answer = self.poll(task)
            body = answer.json() if answer.status_code == 200 else {"status": "in_progress"}
            return None if body["status"] == "in_progress" else body

        return wait_until(look)

    def finished(self, **params: object) -> dict[str, Any]:
        return self.ended(self.create(**params).json()["id"])

    def bill(self) -> Bill:
        return read_bill(self._bill)


def bearer(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Authorization": f"Bearer {key}"}


def first_url(body: dict[str, Any]) -> str:
    return body["output"][0]["content"][0]["url"]


@contextmanager
def running(folder: Path, *options: str) -> Iterator[Simulator]:
    bill = folder / "bill.jsonl"
    command = [sys.executable, "-m", "ops.simulator", "--bill", str(bill), "--data", str(folder / "data"), *options]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process, requests.Session() as session:
        try:
            assert process.stdout is not None
            line = json.loads(process.stdout.readline())
            assert line["event"] == "listening"
            assert line["pid"] == process.pid
            yield Simulator(line["url"], bill, process, session)
        finally:
            killed = process.poll() == -signal.SIGKILL  # by the test
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=10)
            assert killed or process.returncode == 0, said
            assert said == ""


class _Hook(BaseHTTPRequestHandler):
    """Answers challenges, serves one picture, and remembers what came."""

    seen: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append(body)
        self._answer(200, json.dumps(body if "challenge" in body else {}).encode())

    def do_GET(self) -> None:
        picture = base64.b64decode(data_url(800, 400).partition(",")[2])
        self._answer(*((200, picture) if self.path == "/picture.png" else (404, b"")))

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def listening() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A small server of the test's own: its URL, and the bodies that were POSTed to it."""
    handler = type("Hook", (_Hook,), {"seen": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", handler.seen
        server.shutdown()
        thread.join()
