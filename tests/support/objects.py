"""A real object store for tests: moto's S3 server, a process of the test's own on loopback, with what befalls it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tasks.media.bucket import Bucket
from tests.support.waiting import wait_until
from workers.probes import free_port

KEY_ID, SECRET, TOKEN = "AKIDCANARY0000000000", "secret-canary-0000000000", "token-canary-0000000000"


class ObjectStore:
    """A server on a free port; what it keeps goes with its process."""

    def __init__(self, log: Path) -> None:
        self.port, self._log = free_port(), log
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log)
        wait_until(self._answers, within_s=60, what="the object store")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)
            self._process = None

    def freeze(self) -> None:
        """Stop the process where it stands: connections are kept, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def environment(self, url: str | None = None) -> Mapping[str, str]:
        """What a process needs to find it, with keys that every log and error is searched for."""
        return {
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_SESSION_TOKEN": TOKEN,
            "AWS_REGION": "eu-central-1",
            "AWS_ENDPOINT_URL": url or self.url,
            "AWS_ALLOW_HTTP": "true",
        }

    def make(self, bucket: Bucket) -> None:
        request = urllib.request.Request(f"{self.url}/{bucket.name}", method="PUT")
        urllib.request.urlopen(request, timeout=10).close()

    def new_bucket(self, prefix: str = "films/of-tests") -> Bucket:
        bucket = Bucket(f"reelworks-{uuid.uuid4().hex[:12]}", prefix)
        self.make(bucket)
        return bucket

    def keys(self, bucket: Bucket) -> list[str]:
        """Everything in a bucket, whatever its prefix."""
        with urllib.request.urlopen(f"{self.url}/{bucket.name}?list-type=2", timeout=10) as answer:
            return re.findall("<Key>([^<]*)</Key>", answer.read().decode())

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(self.url, timeout=5).close()
        except urllib.error.HTTPError as error:
            error.close()
            return True
        except OSError:
            return False
        return True


@contextmanager
def object_store(folder: Path) -> Iterator[ObjectStore]:
    server = ObjectStore(folder / "objects.log")
    server.start()
    try:
        yield server
    finally:
        server.stop()
