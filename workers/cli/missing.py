"""The sentence for a package that is not installed. Needs the standard library alone: nothing else can be relied on."""

from __future__ import annotations

from typing import Final

_OURS: Final = ("schemas", "tasks", "workers", "ops")
_PACKAGES: Final = {"PIL": "pillow"}
"""By the name that is imported, where a package's own name is another."""


def foreign_package(error: ImportError) -> str | None:
    """The package that could not be imported; None when it is one of ours: that is a mistake in the code."""
    module = (error.name or "").partition(".")[0]
    return None if module in ("", *_OURS) else _PACKAGES.get(module, module)


def missing(package: str) -> str:
    """What is wrong, and what to do."""
    return f"package {package} is missing: install the requirements (pip install --require-hashes -r requirements.lock)"
