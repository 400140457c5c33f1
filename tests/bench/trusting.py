"""The workers' application where the provider has a certificate for tests: that authority is trusted beside the others.

In production the list of authorities is a package's, and no setting of ours adds to it.
"""

from __future__ import annotations

import os
from pathlib import Path

import certifi

from tests.support.tls import CA


def _with_ours() -> str:
    bundle = Path(os.environ["REELWORKS_VAR"]) / f"authorities-{os.getpid()}.pem"  # goes with the bench's folder
    bundle.write_text(_BUNDLE.read_text() + CA.read_text())
    return str(bundle)


_BUNDLE = Path(certifi.where())
_ours = _with_ours()
certifi.where = lambda: _ours
# Whoever imports `requests` from here on reads the list that was just named.

from workers.app import app  # noqa: E402

__all__ = ["app"]
