"""The checks of `doctor` that concern the provider: whether it answers, its keys, and where its films may come from."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

import requests

from tasks.domain.answers import LookAgain
from tasks.ledger import LedgerError
from tasks.ledger.provider_keys import known_keys
from workers.cli.clocks import ahead_s
from workers.cli.common import sqlite_path
from workers.cli.verdicts import Check, broken, ok, warning
from workers.runtime import open_ledger, provider_client
from workers.settings import Settings

_TIMEOUT_S: Final = 3.0
_AT_A_TIME: Final = 8
_SET_A_KEY: Final = (
    "set VTRIX_API_KEY, or REELWORKS_PROVIDER_KEYS to alias=key,alias=key; each can be a file (..._FILE)"
)


# By the outcomes that say nothing of the key itself. Every other reason is the provider's own sentence about it.
_PAUSED_FOR: Final = {
    "throttled": "give it the provider's pace: `python -m workers keys set ALIAS --creates-per-minute N`",
    "unsent": "see that the create pools reach REELWORKS_PROVIDER_URL",
}


@dataclass(frozen=True, slots=True)
class Answers:
    """Whether the provider answers, and by how many seconds its clock is ahead of ours (None: it does not tell)."""

    check: Check
    ahead_s: float | None = None


def provider(url: str) -> Answers:
    """A GET without a key on the root: it creates nothing and costs nothing; any answer will do."""
    todo = "look at the network and at REELWORKS_PROVIDER_URL"
    asked_at = time.time()
    try:
        with requests.Session() as session:
            session.trust_env = False
            with session.get(url, timeout=_TIMEOUT_S, allow_redirects=False, stream=True) as answer:
                status, ahead = answer.status_code, _ahead_s(answer.headers.get("Date", ""), asked_at)
    except requests.RequestException as error:
        return Answers(broken("provider", f"does not answer ({type(error).__name__})", todo))
    if status >= 500:
        todo = "it may be out of order: look again later"
        return Answers(warning("provider", f"answers with HTTP {status}", todo), ahead)
    return Answers(ok("provider", f"answers (HTTP {status} without a key)"), ahead)


def _ahead_s(date: str, asked_at: float) -> float | None:
    try:
        return ahead_s(parsedate_to_datetime(date).timestamp(), asked_at)
    except ValueError:
        return None


def outputs(read: Settings, *, joined: bool) -> Check:
    """Whether private addresses may be fetched from. `joined`: a stack runs here, with settings of its own."""
    private = sorted(read.output_reach.private)
    if not private and joined:
        return ok("output addresses", "none that is private in this environment; the running stack has its own")
    if not private:
        return ok("output addresses", "https and public alone")
    found = f"private ones may be reached: {', '.join(private)}"
    if urlsplit(read.provider_url).scheme == "https":
        todo = "empty REELWORKS_OUTPUT_PRIVATE: it is for a simulator, and whoever names outputs can reach these"
        return warning("output addresses", found, todo)
    return ok("output addresses", found)


def keys(read: Settings, *, joined: bool, answers: bool) -> Check:
    """Which keys are set, paused or refused; `answers`: whether the provider can be asked about them.

    A balance that is gone shows at a create alone: the key is paused then, and says so.
    """
    aliases = sorted(read.provider_keys)
    if not aliases and joined:
        return ok("provider keys", "none in this environment; the running stack has its own")
    if not aliases:
        return broken("provider keys", "none", _SET_A_KEY)
    refused = _refused(read, aliases) if answers else {}
    if refused:
        found = "; ".join(f"{alias} is refused: {reason}" for alias, reason in refused.items())
        todo = "set a key that the provider takes, or close it: `python -m workers keys close ALIAS`"
        return broken("provider keys", found, todo)
    paused = _paused(read, aliases)
    if paused:
        found = "; ".join(f"{alias} is paused: {reason}" for alias, reason in sorted(paused.items()))
        todos = sorted({_PAUSED_FOR.get(reason, "look at the key and its balance") for reason in paused.values()})
        return warning("provider keys", found, f"{', and '.join(todos)}; a pause ends by itself")
    return ok("provider keys", f"{'accepted' if answers else 'set'}: {', '.join(aliases)}")


def _refused(read: Settings, aliases: Iterable[str]) -> dict[str, str]:
    """Ask with each key about a task that is not there: an answer to that costs nothing."""

    def asked(alias: str) -> tuple[str, str]:
        with closing(provider_client(read, alias)) as client:
            answer = client.poll(str(uuid.uuid4()))
        return alias, answer.reason if isinstance(answer, LookAgain) and answer.key_refused else ""

    with ThreadPoolExecutor(_AT_A_TIME) as threads:
        return {alias: reason for alias, reason in threads.map(asked, aliases) if reason}


def _paused(read: Settings, aliases: list[str]) -> dict[str, str]:
    """By the provider's answers, with the reason. A person's pause ends otherwise: the check `paused` says how."""
    ledger = open_ledger(read)
    path = sqlite_path(ledger)
    try:
        if path is not None and not path.exists():
            return {}
        with ledger.read() as tx:
            found = [key for key in known_keys(tx, aliases) if key.is_paused(tx.now)]
            return {key.alias: key.pause_reason or "" for key in found if key.pause_by_person(tx.now) is None}
    except LedgerError:
        return {}  # the check of the database says so
    finally:
        ledger.close()
