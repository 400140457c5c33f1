"""The build context of the image as one archive: what ops/Dockerfile copies, and nothing else that lies about.

Refuses what would make two archives of one commit differ: owners, times, the order of a folder, files that git does
not know. The Dockerfile stands at the archive's root, where an engine looks for it and no `COPY` takes it along:

    docker build -t reelworks - < dist/reelworks-0.1.0-image.tar.gz
"""

from __future__ import annotations

import gzip
import io
import shlex
import subprocess
import tarfile
from pathlib import Path, PurePosixPath
from typing import Final

DOCKERFILE: Final = "ops/Dockerfile"

_GIT_FILE: Final = {"100644": 0o644, "100755": 0o755}
"""What git calls a file, and the mode that it has in the archive. Links and submodules are not among them."""


class NoContext(Exception):
    """The archive can't be made as it should be; the message says of which file or line, and why."""


def sources(dockerfile: str) -> list[str]:
    """What the Dockerfile's `COPY` lines take from the context. Raises NoContext for a form that is not read here."""
    found: list[str] = []
    for line in dockerfile.splitlines():
        if not line.startswith(("COPY ", "ADD ")) or "--from=" in line:
            continue
        if line.startswith("ADD ") or line.endswith("\\") or "<<" in line or "[" in line:
            raise NoContext(f"{DOCKERFILE}: only a COPY of one line and without brackets can be followed: {line}")
        words = [word for word in shlex.split(line)[1:] if not word.startswith("--")]
        found += words[:-1]
    return found


def files(root: Path) -> dict[str, int]:
    """The files that the image is built of, by their path, with the mode that each has in the archive.

    Those that git knows below what is copied; without those that .dockerignore names. Raises NoContext.
    """
    copied = sources((root / DOCKERFILE).read_text(encoding="utf-8"))
    left_out = {line for line in (root / ".dockerignore").read_text(encoding="utf-8").splitlines() if "*" not in line}
    listed = subprocess.run(  # noqa: S603 (what the Dockerfile names, after the `--`)
        ["git", "ls-files", "--stage", "-z", "--", *copied],  # noqa: S607 (git, wherever it is)
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found: dict[str, int] = {}
    for entry in filter(None, listed.split("\0")):
        head, _, path = entry.partition("\t")
        if path in left_out:
            continue
        kind = head.split()[0]
        if kind not in _GIT_FILE:
            raise NoContext(f"{path}: git knows it as {kind}; an image is built of plain files")
        found[path] = _GIT_FILE[kind]
    for source in copied:
        if not any(path == source or path.startswith(f"{source}/") for path in found):
            raise NoContext(f"{DOCKERFILE} copies {source}, of which git knows no file")
    return found


def archive(root: Path, made_at: int) -> bytes:
    """The archive, a gzipped tar: the same bytes for the same files, whoever makes it.

    `made_at`: the time that all of it bears, in seconds since 1970. Raises NoContext.
    """
    entries = [(path, mode, root / path) for path, mode in files(root).items()]
    entries.append(("Dockerfile", 0o644, root / DOCKERFILE))
    folders = {str(parent) for path, _, _ in entries for parent in PurePosixPath(path).parents} - {"."}
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for folder in sorted(folders):
            tar.addfile(_entry(folder, 0o755, made_at, kind=tarfile.DIRTYPE))
        for path, mode, origin in sorted(entries):
            data = origin.read_bytes()
            tar.addfile(_entry(path, mode, made_at, size_bytes=len(data)), io.BytesIO(data))
    return gzip.compress(plain.getvalue(), compresslevel=9, mtime=made_at)


def _entry(
    path: str, mode: int, made_at: int, *, kind: bytes = tarfile.REGTYPE, size_bytes: int = 0
) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)  # which belongs to user 0 and group 0, by number alone
    entry.type, entry.mode, entry.mtime, entry.size = kind, mode, made_at, size_bytes
    return entry
