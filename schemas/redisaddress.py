"""What an address of Redis with sentinels says: who they are, what they watch over, who one is to them and to servers.

Owns the form of such an address. Refuses what is not of it, in words that do not show it: it holds passwords.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import parse_qsl, quote, unquote

from redis.credentials import CredentialProvider

Place = tuple[str, int]
"""A host and a port."""
SCHEMES: Final = ("sentinel", "sentinels")
"""Of addresses with sentinels: in the clear, and with TLS to sentinels and servers alike."""
SENTINEL_S: Final = 1.0
"""A sentinel that does not answer within this is passed over, and the next one asked."""

_PORT: Final = 26_379
_HOST: Final = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_VERIFYING: Final = {"ssl_cert_reqs": "required", "ssl_check_hostname": "true"}
_KNOWN: Final = ("master", "replicas", "sentinel_user", "sentinel_password", *_FILES, *_VERIFYING)
_MOST_REPLICAS: Final = 9


class AddressInvalid(ValueError):
    """An address of Redis that can't be used. `problem` says which rule it breaks, and shows nothing of it."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"the address of Redis {problem}")


class Login(CredentialProvider):
    """A login that whoever prints or sends the options of a connection does not see."""

    def __init__(self, user: str | None, password: str) -> None:
        self._login = (password,) if user is None else (user, password)

    def get_credentials(self) -> Any:
        """User and password, or the password alone."""
        return self._login

    async def get_credentials_async(self) -> Any:
        """The same, for those who may not wait."""
        return self._login

    def __repr__(self) -> str:
        return "***"

    def __json__(self) -> str:
        """What Celery sends of it, when it is asked how its broker is reached."""
        return repr(self)


@dataclass(frozen=True, slots=True)
class Sentinels:
    """What an address with sentinels says. `master` is the name by which they know the primary and its replicas."""

    hosts: tuple[Place, ...]
    master: str
    db: int = 0
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_user: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    tls: Mapping[str, Any] | None = None
    """Options of TLS, as redis-py names them; `None`: in the clear."""
    replicas: int = 0
    """So many replicas have to have a request before a producer holds it to be submitted."""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Reads `sentinel://user:password@host:26379,host:26379/0?master=NAME`. Raises `AddressInvalid`."""
        scheme, _, rest = url.partition("://")
        place, _, query = rest.partition("?")
        authority, _, db = place.partition("/")
        login, _, hosts = authority.rpartition("@")
        places = tuple(map(_place, hosts.split(",")))
        user, password = _login(login)
        given = _parameters(query)
        _rule(bool(given.get("master")), "must name what its sentinels watch over: ?master=NAME")
        _rule(not db or db.isdecimal(), "must have the number of a database after its hosts, or nothing: /0")
        sentinel_user, sentinel_password = given.get("sentinel_user"), given.get("sentinel_password")
        _rule(not sentinel_user or bool(sentinel_password), "has a sentinel_user without a sentinel_password")
        replicas = given.get("replicas", "0")
        right = replicas.isdecimal() and int(replicas) <= _MOST_REPLICAS
        _rule(right, f"must have a whole number up to {_MOST_REPLICAS} as replicas")
        return cls(
            hosts=places,
            master=given["master"],
            db=int(db or 0),
            user=user,
            password=password,
            sentinel_user=sentinel_user,
            sentinel_password=sentinel_password,
            tls=_tls(given, encrypted=scheme == "sentinels"),
            replicas=int(replicas),
        )

    def server_options(self) -> dict[str, Any]:
        """Who one is to a server, and which database is meant."""
        return {"username": self.user, "password": self.password, "db": self.db, **(self.tls or {})}

    def sentinel_options(self, timeout_s: float) -> dict[str, Any]:
        """The options of a client of each sentinel; none has a secret that shows when it is printed."""
        bound_s = min(timeout_s, SENTINEL_S)
        login = {}
        if self.sentinel_password is not None:
            login["credential_provider"] = Login(self.sentinel_user, self.sentinel_password)
        return {
            "socket_timeout": bound_s,
            "socket_connect_timeout": bound_s,
            "socket_keepalive": True,
            "retry": None,  # the next one is asked instead; by default redis-py would wait for one that is away
            "ssl": self.tls is not None,
            **(self.tls or {}),
            **login,
        }

    def first(self) -> str:
        """The address for those who can read but one host; passwords and all."""
        login = "" if self.password is None else f"{quote(self.user or '', safe='')}:{quote(self.password, safe='')}@"
        return f"sentinel://{login}{_text(self.hosts[0])}/{self.db}"

    def others(self) -> list[str]:
        """The addresses of the further sentinels, without a login."""
        return [f"sentinel://{_text(place)}/{self.db}" for place in self.hosts[1:]]

    def shown(self) -> str:
        """The address for people: without passwords."""
        login = "" if self.password is None else f"{quote(self.user or '', safe='')}:***@"
        files = "".join(f"&{name}={quote(self.tls[name])}" for name in _FILES if self.tls and name in self.tls)
        replicas = f"&replicas={self.replicas}" if self.replicas else ""
        scheme, hosts = SCHEMES[self.tls is not None], ",".join(map(_text, self.hosts))
        return f"{scheme}://{login}{hosts}/{self.db}?master={quote(self.master, safe='')}{replicas}{files}"


def sentinels_of(url: str) -> Sentinels | None:
    """What an address with sentinels says; `None` for one that names a server. Raises `AddressInvalid`."""
    return Sentinels.parse(url) if url.partition("://")[0] in SCHEMES else None


def _parameters(query: str) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    given = dict(pairs)
    # Not quoted: a password with a & in it would show half of itself.
    _rule(set(given) <= set(_KNOWN), f"has a parameter that is not known; known are {', '.join(_KNOWN)}")
    _rule(len(given) == len(pairs), "has a parameter twice")
    empty = [name for name, value in given.items() if not value]
    _rule(not empty, f"has no value for {', '.join(empty)}")
    return given


def _tls(given: Mapping[str, str], *, encrypted: bool) -> dict[str, Any] | None:
    if not encrypted:
        _rule(
            not any(name.startswith("ssl_") for name in given),
            "has parameters of TLS (ssl_...), which count for sentinels:// alone",
        )
        return None
    _rule(
        all(given.get(name, value).lower() == value for name, value in _VERIFYING.items()),
        "must not turn verification off; for a certificate of your own, name its authority with ssl_ca_certs",
    )
    files = {name: given[name] for name in _FILES if name in given}
    return {"ssl_cert_reqs": "required", "ssl_check_hostname": True, **files}


def _login(text: str) -> tuple[str | None, str | None]:
    user, _, password = text.partition(":")
    _rule(not user or bool(password), "has a user without a password: user:password@")
    return unquote(user) or None, unquote(password) or None


def _place(text: str) -> Place:
    found = _HOST.fullmatch(text)
    port = int(found[2] or _PORT) if found else 0
    if found is None or not 0 < port < 1 << 16:
        raise AddressInvalid(
            f"must list its sentinels as host:port,host:port (without a port: {_PORT}), and special characters of a "
            "password as %..: sentinel://user:password@one:26379,two:26379,three:26379/0?master=NAME"
        )
    return found[1].strip("[]"), port


def _text(place: Place) -> str:
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _rule(kept: bool, broken: str) -> None:
    if not kept:
        raise AddressInvalid(broken)
