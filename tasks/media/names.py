"""What a store calls its files, built from our ids alone. Refuses every other path."""

from __future__ import annotations

import re
from typing import Final

from tasks.media.errors import PathRefused

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
# Job ids are longer than the two characters of an input's folder, so a tenant may well be named "inputs".
_OUTPUT: Final = re.compile(
    rf"(?P<tenant>{_NAME})/(?P<job>(?!.{{1,2}}/){_NAME})/(?P<index>[0-9]{{1,4}})\.(?P<extension>[a-z0-9]{{1,5}})"
)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_EXTENSION: Final = re.compile(r"[a-z0-9]{1,5}")


def output(relative: str) -> re.Match[str]:
    """The `tenant`, `job`, `index` and `extension` in an output's path. Raises `PathRefused`."""
    match = _OUTPUT.fullmatch(relative)
    if match is None:
        raise PathRefused("an output's path is {tenant}/{job_id}/{index}.{ext}, from plain ids")
    return match


def outputs_folder(tenant: str, job_id: str) -> str:
    """The folder of a job's outputs: `{tenant}/{job_id}`. Raises `PathRefused`."""
    folder = f"{tenant}/{job_id}"
    output(f"{folder}/0.mp4")
    return folder


def is_output(relative: str) -> bool:
    """Whether a path is one that an output can have."""
    return _OUTPUT.fullmatch(relative) is not None


def input_path(sha256: str, ext: str) -> str:
    """The path of an input: `inputs/<2 characters>/<sha256>.<ext>`. Raises `PathRefused`."""
    if not _SHA256.fullmatch(sha256) or not _EXTENSION.fullmatch(ext):
        raise PathRefused("an input is named by its SHA-256 in lower-case hex and a plain extension")
    return f"inputs/{sha256[:2]}/{sha256}.{ext}"
