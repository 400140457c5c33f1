"""Secrets that are settings: provider keys and logins, from the environment or from files that nobody else can read.

Owns the type that does not print. Refuses files that others can read, and never quotes what it refuses.
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from marshmallow import ValidationError

# Where Docker and Kubernetes mount secrets, with modes of their own (0444, 0644): there the container is the border.
_MOUNTED: Final = (Path("/run/secrets"), Path("/var/run/secrets"))
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_LONGEST_FILE_BYTES: Final = 65_536
_SIGNING_CHARS: Final = 32
_PR_SET_DUMPABLE: Final = 4


class Secret:
    """A value that does not print. `reveal()` gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value: for where it is used, never for a log or a message."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self  # `dataclasses.asdict` copies what it holds

    def __reduce__(self) -> Any:
        raise TypeError("a secret is not pickled: read it from the environment where it is needed")


def forbid_core_dumps() -> None:
    """From now on neither this process nor any that it starts leaves its memory, keys and all, in a file or a crash
    handler.

    A limit of 0 bytes holds for files alone: where the kernel hands dumps to a program (`core_pattern` begins with
    `|`), it dumps all the same. At a limit of 1 it dumps in neither way (core(5)), and what is started inherits that.
    """
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    except ValueError:  # the hard limit is 0, and not ours to raise
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Beside it, whatever the limit: forks inherit it, and a program that is executed begins without.
    with suppress(OSError, AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def provider_keys(listed: Secret, file: str, env: Mapping[str, str]) -> dict[str, Secret]:
    """Keys by alias: of `listed` (alias=key,alias=key), of `file` (one alias=key a line), or else the provider's own
    variable in `env` or the file that it names. All are expected to have passed the checks below.
    """
    if listed.reveal():
        return dict(_pair(entry) for entry in listed.reveal().split(","))
    if file:
        return dict(_pair(line) for line in _lines(read_private(file)))
    alone = env.get("VTRIX_API_KEY", "").strip()
    path = env.get("VTRIX_API_KEY_FILE", "").strip()
    if path:
        alone = read_private(path)
    return {"default": Secret(alone)} if alone else {}


def check_listed(listed: str) -> None:
    """Raises ValidationError, as all checks here do, without a word of the text."""
    if listed:
        _check_pairs(listed.split(","), "entry")


def check_keys_file(path: str) -> None:
    """A file of keys: one alias=key a line; empty lines and those that begin with # count for nothing."""
    if path:
        lines = list(_lines(read_private(path)))
        if not lines:
            raise ValidationError("the file holds no line of the form alias=key")
        _check_pairs(lines, "line")


def check_key_file(path: str) -> None:
    """A file that holds one key and nothing else."""
    if path and len(read_private(path).split()) != 1:
        raise ValidationError("the file must hold one key and nothing else")


def check_login(login: str) -> None:
    """user:password in printable ASCII, which is all that every client sends alike."""
    if login and not re.fullmatch(r"[!-9;-~]+:[!-~]+", login):
        raise ValidationError("must be user:password, in ASCII, without blanks")


def check_login_file(path: str) -> None:
    """A file that holds a login and nothing else."""
    if path:
        login = read_private(path)
        if not login:
            raise ValidationError("the file is empty: it must hold user:password")
        check_login(login)


def check_signing(secret: str) -> None:
    """What links are signed with: long enough that nobody guesses it."""
    if secret and len(secret.strip()) < _SIGNING_CHARS:
        raise ValidationError(f"must have {_SIGNING_CHARS} characters at least")


def check_signing_file(path: str) -> None:
    """A file that holds what links are signed with, and nothing else."""
    if path:
        check_signing(read_private(path) or "-")


def check_token(token: str) -> None:
    """What a scraper sends: printable ASCII without blanks, as a header takes it, and too long to be guessed."""
    if token and not re.fullmatch(rf"[!-~]{{{_SIGNING_CHARS},}}", token.strip()):
        raise ValidationError(f"must have {_SIGNING_CHARS} characters at least, in ASCII, without blanks")


def check_token_file(path: str) -> None:
    """A file that holds what a scraper sends, and nothing else."""
    if path:
        check_token(read_private(path) or "-")


def one_of(secret: Secret, file: str) -> Secret | None:
    """The secret itself, or what the file holds; `None` when neither is set."""
    text = secret.reveal().strip() or (read_private(file) if file else "")
    return Secret(text) if text else None


def read_private(name: str) -> str:
    """The text of a file that only its owner can read. Raises ValidationError."""
    path = Path(name)
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & _OTHERS and not any(path.absolute().is_relative_to(folder) for folder in _MOUNTED):
                raise ValidationError(f"others can read the file {name}: run chmod 600 {name}")
            data = file.read(_LONGEST_FILE_BYTES + 1)
    except OSError as error:
        raise ValidationError(f"the file {name} can't be read ({error.strerror})") from None
    if len(data) > _LONGEST_FILE_BYTES:
        raise ValidationError(f"the file {name} is too large to be one of keys")
    try:
        return data.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise ValidationError(f"the file {name} is not text") from None  # the original holds what was read


def _lines(text: str) -> Iterable[str]:
    lines = (line.strip() for line in text.splitlines())
    return (line for line in lines if line and not line.startswith("#"))


def _pair(entry: str) -> tuple[str, Secret]:
    alias, _, key = entry.partition("=")
    return alias.strip(), Secret(key.strip())


def _check_pairs(entries: Iterable[str], what: str) -> None:
    aliases: set[str] = set()
    for number, entry in enumerate(entries, start=1):
        alias, _, key = (part.strip() for part in entry.partition("="))
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", alias) or not key:
            raise ValidationError(
                f"{what} {number} is not of the form alias=key (letters, digits, - and _ in the alias)"
            )
        if alias in aliases:
            raise ValidationError("an alias stands there twice")
        aliases.add(alias)
