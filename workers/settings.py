"""The settings: one frozen object, read from the environment once, all errors reported together by variable.

Every variable begins with `REELWORKS_`; `VTRIX_API_KEY` (and `VTRIX_API_KEY_FILE`) is understood as well, because that
is the name that users of the provider's own tools have set, and so are `AWS_...` and `OTEL_...`, which libraries read.
`.env.example` lists them all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

import environs
from marshmallow import ValidationError, validate

from tasks.domain.delivering import WebhookPolicy
from tasks.domain.doubt import DoubtPolicy
from tasks.domain.polling import PollPolicy
from tasks.ledger import url_problem
from tasks.media.bucket import Bucket, is_address
from tasks.outward import Reach
from tasks.policy import Policy
from workers import credentials, traceplace
from workers.credentials import Secret
from workers.limits import GatewayLimits, HttpLimits
from workers.pools import PoolSizes
from workers.settingrules import problems_between
from workers.storeplace import bucket_problems, store_place
from workers.transports import redis_problem, verified

PROVIDER_URL: Final = "https://cloud.vtrix.ai"
"""The provider's own address."""
_positive = validate.Range(min=0, min_inclusive=False)
_not_negative = validate.Range(min=0)
_MAY_BE_ZERO: Final = {"jitter", "first_s", "disk_low_bytes", "outputs_days", "jobs_days"}
_at_least_one = validate.Range(min=1)
# Two places for one secret: which of them counts would be a guess.
_EITHER: Final = (
    ("REELWORKS_PROVIDER_KEYS", "REELWORKS_PROVIDER_KEYS_FILE"),
    ("VTRIX_API_KEY", "VTRIX_API_KEY_FILE"),
    ("REELWORKS_FLOWER_LOGIN", "REELWORKS_FLOWER_LOGIN_FILE"),
    ("REELWORKS_GATEWAY_SECRET", "REELWORKS_GATEWAY_SECRET_FILE"),
    ("REELWORKS_METRICS_TOKEN", "REELWORKS_METRICS_TOKEN_FILE"),
)


class SettingsInvalid(ValueError):
    """Variables of the environment that can't be used, each with the reason. Mend them all and start again."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        super().__init__("; ".join(f"{name}: {problem}" for name, problem in problems.items()))


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. Addresses are URLs, folders are absolute paths, durations are seconds."""

    redis_url: str = field(repr=False)  # both may hold a password
    database_url: str = field(repr=False)
    store: Path | Bucket
    """The folder, or the bucket, of outputs and input images."""
    var: Path
    provider_url: str
    provider_keys: Mapping[str, Secret]
    """Provider API keys by alias; the alias is what the ledger, logs and Flower know."""
    output_reach: Reach
    """Where outputs may be fetched from."""
    webhook_reach: Reach
    """Where webhooks may be sent to."""
    flower_login: bool
    """Whether a login for Flower is set; Flower's own configuration reads it."""
    policy: Policy
    http: HttpLimits
    gateway: GatewayLimits
    gateway_url: str | None
    """Where callers reach the gateway, if not where they say they do: in front of it stands a proxy."""
    gateway_secret: Secret | None
    """Signs links to outputs, and what the provider is given to call back."""
    metrics_token: Secret | None
    """What opens the gateway's `/metrics`; `None`: nothing does."""
    callback_url: str | None
    """Where the provider reaches the gateway; `None`: it is not asked to call back."""
    pools: PoolSizes
    lane_check_s: float
    view_ttl_s: int
    log_level: str
    log_format: str
    traces: bool
    """Whether traces of jobs are sent. Where to and how, OpenTelemetry's library reads by itself."""


def read_settings() -> Settings:
    """The settings in this process' environment. Raises `SettingsInvalid` with every problem at once.

    A process that has read them holds keys: from then on it dumps no core.
    """
    credentials.forbid_core_dumps()
    # Files of variables, such as compose reads, name what is not set as empty: it means the default.
    ours = ("REELWORKS_", "AWS_", "OTEL_")
    for name in [name for name, value in os.environ.items() if name.startswith(ours) and not value.strip()]:
        del os.environ[name]
    env = environs.Env(eager=False, prefix="REELWORKS_")
    var = Path(env.str("VAR", "var")).absolute()
    read = Settings(
        redis_url=env.str("REDIS_URL", "redis://127.0.0.1:6379/0", validate=_redis_url),
        database_url=env.str("DATABASE_URL", f"sqlite:///{var}/reelworks.db", validate=_database_url),
        # Of one that can't be used the text is None: it is reported with all the others.
        store=store_place(env.str("STORE", "", validate=_store_place) or "", var),
        var=var,
        provider_url=env.str("PROVIDER_URL", PROVIDER_URL, validate=validate.URL(require_tld=False)),
        provider_keys={},
        flower_login=any(
            [
                env.str("FLOWER_LOGIN", "", validate=credentials.check_login),
                env.str("FLOWER_LOGIN_FILE", "", validate=credentials.check_login_file),
            ]
        ),
        policy=_numbers(
            env,
            Policy,
            poll=_numbers(env, PollPolicy, prefix="POLL_"),
            uncertain=_doubt_policy(env),
            webhook=_numbers(env, WebhookPolicy, prefix="WEBHOOK_"),
        ),
        output_reach=_reach(env, "OUTPUT_"),
        webhook_reach=_reach(env, "WEBHOOK_"),
        http=_numbers(env, HttpLimits, prefix="HTTP_"),
        gateway=_numbers(env, GatewayLimits, prefix="GATEWAY_"),
        gateway_url=env.str("GATEWAY_URL", "", validate=_base_url) or None,
        gateway_secret=None,
        metrics_token=None,
        callback_url=env.str("CALLBACK_URL", "", validate=_base_url) or None,
        pools=_numbers(env, PoolSizes),
        lane_check_s=env.float("LANE_CHECK_S", 3.0, validate=_positive),
        view_ttl_s=env.int("VIEW_TTL_S", 7 * 86_400, validate=_at_least_one),
        log_level=env.str("LOG_LEVEL", "INFO", validate=validate.OneOf(["DEBUG", "INFO", "WARNING", "ERROR"])),
        log_format=env.str("LOG_FORMAT", "json", validate=validate.OneOf(["json", "console"])),
        traces=traceplace.is_named(os.environ),
    )
    keys = _secret(env, "PROVIDER_KEYS", credentials.check_listed, credentials.check_keys_file)
    signs = _secret(env, "GATEWAY_SECRET", credentials.check_signing, credentials.check_signing_file)
    watches = _secret(env, "METRICS_TOKEN", credentials.check_token, credentials.check_token_file)
    _check_each(env)
    whole = replace(
        read,
        redis_url=verified(read.redis_url),
        provider_keys=credentials.provider_keys(*keys, os.environ),
        gateway_secret=credentials.one_of(*signs),
        metrics_token=credentials.one_of(*watches),
    )
    _check_together(whole)
    return whole


@cache
def settings() -> Settings:
    """This process' settings, read once."""
    return read_settings()


T = TypeVar("T", Policy, PollPolicy, WebhookPolicy, HttpLimits, GatewayLimits, PoolSizes)


def _numbers(env: environs.Env, kind: type[T], *, prefix: str = "", **given: Any) -> T:
    """A dataclass of numbers, each read from the variable of its name; its defaults are the settings' defaults."""
    values: dict[str, Any] = {}
    for each in fields(kind):
        if each.name not in given:
            default: Any = each.default
            read = env.int if isinstance(default, int) else env.float
            rule = _not_negative if each.name in _MAY_BE_ZERO else _positive
            values[each.name] = read(prefix + each.name.upper(), default, validate=rule)
    return kind(**values, **given)


def _secret(
    env: environs.Env, name: str, check: Callable[[str], None], check_file: Callable[[str], None]
) -> tuple[Secret, str]:
    """A secret, wrapped at once because an error report may show variables, and the file that may hold it instead."""
    return Secret(env.str(name, "", validate=check)), env.str(f"{name}_FILE", "", validate=check_file)


def _reach(env: environs.Env, prefix: str) -> Reach:
    """Lists, each entry by itself; what is wrong is reported with all the others."""
    host = r"[a-z0-9_-]+(\.[a-z0-9_-]+)*"
    place = rf"({host}|\[[0-9a-f:.]+\])(:[0-9]{{1,5}})?"
    ports = _listed(env, f"{prefix}PORTS", "443", r"[1-9][0-9]{0,4}", "ports, such as 443,8443")
    return Reach(
        hosts=_listed(env, f"{prefix}HOSTS", "", host, "names of hosts, such as cdn.example.com,example.org"),
        ports=frozenset(int(port) for port in ports),
        private=_listed(env, f"{prefix}PRIVATE", "", place, "host or host:port, such as 127.0.0.1:8900"),
    )


def _listed(env: environs.Env, name: str, default: str, form: str, meant: str) -> frozenset[str]:
    def check(text: str) -> None:
        if not all(re.fullmatch(form, entry) for entry in _entries(text)):
            raise ValidationError(f"must be a list of {meant}")

    return frozenset(_entries(env.str(name, default, validate=check) or default))


def _entries(text: str) -> list[str]:
    return [entry.strip().lower() for entry in text.split(",") if entry.strip()]


def _doubt_policy(env: environs.Env) -> DoubtPolicy:
    text = env.str("UNCERTAIN_POLICY", "hold", validate=_doubt_form)
    try:
        return DoubtPolicy.parse(text)
    except ValueError:  # reported with all the others
        return DoubtPolicy()


def _doubt_form(text: str) -> None:
    try:
        DoubtPolicy.parse(text)
    except ValueError as error:
        raise ValidationError(str(error)) from None


def _check_each(env: environs.Env) -> None:
    """Rules of single variables. Raises `SettingsInvalid` with all that are broken."""
    problems = bucket_problems(os.environ) if is_address(os.environ.get("REELWORKS_STORE", "")) else {}
    try:
        env.seal()
    except environs.EnvValidationError as error:
        found: Any = error.error_messages
        problems |= {name: " ".join(map(str, messages)) for name, messages in found.items()}
    try:
        credentials.check_key_file(os.environ.get("VTRIX_API_KEY_FILE", "").strip())
    except ValidationError as error:
        problems["VTRIX_API_KEY_FILE"] = " ".join(map(str, error.messages))
    for name, file in _EITHER:
        if os.environ.get(name, "").strip() and os.environ.get(file, "").strip():
            problems[file] = f"{name} is set too: set one of the two"
    if problems:
        raise SettingsInvalid(problems)  # not from the errors above: they hold the values, which may be secret


def _check_together(read: Settings) -> None:
    """Rules between settings. Raises `SettingsInvalid` with all that are broken."""
    problems = problems_between(read.policy, read.http, read.gateway)
    if read.callback_url is not None and read.gateway_secret is None:
        problems["REELWORKS_CALLBACK_URL"] = (
            "needs REELWORKS_GATEWAY_SECRET as well, the gateway's own: it tells the provider's calls from others'"
        )
    if problems:
        raise SettingsInvalid(problems)


def _store_place(text: str) -> None:
    try:
        store_place(text, Path())
    except ValueError as error:
        raise ValidationError(str(error)) from None


def _redis_url(url: str) -> None:
    problem = redis_problem(url)
    if problem is not None:
        raise ValidationError(problem)


def _base_url(url: str) -> None:
    if url:
        validate.URL(schemes={"http", "https"}, require_tld=False)(url)
        if url.endswith("/") or "?" in url or "#" in url:
            raise ValidationError("must end with the host or a path, without a slash: https://films.example.com")


def _database_url(url: str) -> None:
    problem = url_problem(url)
    if problem is not None:
        raise ValidationError(problem)
