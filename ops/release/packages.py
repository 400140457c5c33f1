"""The packages of the image as a CycloneDX document, made of the lock file and held against it.

A document that leaves out a package is worth less than none, because whoever asks it for a vulnerable one is told that
all is well. So what the tool made is read again, and refused unless it names every file that the lock allows.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

from ops.release.tools import run

_PINNED: Final = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*])?==([^\s;\\]+)")
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")

Packages = dict[tuple[str, str], frozenset[str]]
"""(name as PyPI spells it, version) -> the SHA-256 of each file that may be installed."""


class NotListed(Exception):
    """There is no document, or one that does not say what the lock says; the message says where they differ."""


def locked(lock: str) -> Packages:
    """What a lock file pins, lines for other machines included: one lock builds the image of each."""
    found: dict[tuple[str, str], frozenset[str]] = {}
    for entry in re.split(r"\n(?=[A-Za-z0-9])", lock.strip()):
        pinned = _PINNED.match(entry)
        if pinned is None:
            raise NotListed(f"the lock has a line that pins nothing: {entry.splitlines()[0]}")
        found[_normal(pinned[1]), pinned[2]] = frozenset(_HASH.findall(entry))
    return found


def listed(document: dict[str, Any]) -> Packages:
    """What a CycloneDX document lists, in the same form."""
    return {
        (_normal(component["name"]), component.get("version", "")): frozenset(
            each["content"]
            for reference in component.get("externalReferences", ())
            for each in reference.get("hashes", ())
            if each["alg"] == "SHA-256"
        )
        for component in document.get("components", ())
    }


def write(lock: Path, project: Path, document: Path) -> int:
    """Write the document; gives how many packages it lists. It holds no time and no number of its own, so that the same
    lock makes the same file. Raises NotListed and ToolFailed."""
    run(
        "cyclonedx_py",
        *("requirements", str(lock), "--pyproject", str(project), "--mc-type", "application", "--spec-version", "1.6"),
        *("--output-format", "JSON", "--output-reproducible", "--validate", "--output-file", str(document)),
        folder=document.parent,
    )
    return check(json.loads(document.read_text(encoding="utf-8")), lock.read_text(encoding="utf-8"))


def check(document: dict[str, Any], lock: str) -> int:
    """How many packages both list. Raises NotListed where they differ in a name, a version or a file."""
    expected, found = locked(lock), listed(document)
    differ = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
    if differ:
        raise NotListed(f"lock and document differ: {', '.join(f'{name} {version}' for name, version in differ)}")
    return len(found)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
