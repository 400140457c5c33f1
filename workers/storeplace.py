"""Where the store is, by the environment: a folder, or a bucket and what its library reads. Refuses what is no such.

The names that begin with `AWS_` are those of AWS tools; the library reads them itself, here they are only judged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tasks.media.bucket import Bucket, is_address

STORE_SECRETS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""For the workers and the gateway alone. Without any of them the library asks the machine for its own rights."""
ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""Where another object store than AWS is; the first that is set counts."""
BUCKET_TODO: Final = (
    "look at REELWORKS_STORE, AWS_ENDPOINT_URL, AWS_REGION and the key (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), "
    "which must be allowed to list the bucket, and to get, put and delete objects in it"
)
"""What to do about a bucket that can't be used."""
_ID, _SECRET, _TOKEN = STORE_SECRETS
_HTTP: Final = "AWS_ALLOW_HTTP"
# What the library can't put into a request, it ends its caller's thread with.
_WORD: Final = (re.compile(r"[!-~]+"), "must be one word of printable ASCII characters")
_REGION: Final = (re.compile(r"[a-z0-9-]{1,64}"), "must be the name of a region, such as eu-central-1")
_BASE: Final = (
    re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?"),
    "must be https://host or http://host:port, without user, password or query",
)
_YES_OR_NO: Final = (re.compile("true|false", re.IGNORECASE), "must be true or false")
_FORMS: Final = {
    **dict.fromkeys(STORE_SECRETS, _WORD),
    **dict.fromkeys(ENDPOINTS, _BASE),
    "AWS_REGION": _REGION,
    "AWS_DEFAULT_REGION": _REGION,
    _HTTP: _YES_OR_NO,
}
"""What is read of the environment: the form it must have, and a sentence about it."""


def store_place(text: str, var: Path) -> Path | Bucket:
    """The bucket or the folder (absolute) that `REELWORKS_STORE` names; empty: a folder in `var`.

    Raises `ValueError` in a sentence.
    """
    if is_address(text):
        return Bucket.parse(text)
    return Path(text or var / "store").absolute()


def endpoint(env: Mapping[str, str]) -> str:
    """The address of the object store; empty where it is AWS."""
    return next((value for name in ENDPOINTS if (value := env.get(name, "").strip())), "")


def bucket_problems(env: Mapping[str, str]) -> dict[str, str]:
    """What of the environment can't be used with a bucket, by variable, in sentences that do not show it."""
    given = {name: value for name, value in env.items() if name in _FORMS and value.strip()}
    problems = {name: _FORMS[name][1] for name, value in given.items() if not _FORMS[name][0].fullmatch(value)}
    if (_ID in given) != (_SECRET in given):
        there, missing = (_ID, _SECRET) if _ID in given else (_SECRET, _ID)
        problems[missing] = f"{there} is set, and this is not: a key has both"
    if _TOKEN in given and _ID not in given:
        problems[_TOKEN] = f"belongs to a key: set {_ID} and {_SECRET} too"
    if endpoint(given).startswith("http://") and given.get(_HTTP, "false").lower() == "false":
        problems[_HTTP] = "must be true for an endpoint that is http://, where others can read along"
    return problems
