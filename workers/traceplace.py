"""Whether traces are sent, by the environment: OpenTelemetry's own variables, which its library reads by itself.

Nothing here stops a worker: these variables may be meant for everything on a machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final

TRACE_SECRETS: Final = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
"""What may hold a key of a collector: for the workers alone."""
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXPORTERS: Final = "OTEL_TRACES_EXPORTER"
_DISABLED: Final = "OTEL_SDK_DISABLED"
_SPOKEN: Final = "http/protobuf"
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\s*=[^,;\"\\]*", re.ASCII)
"""A header, as the library reads it."""


def is_named(env: Mapping[str, str]) -> bool:
    """Whether there is a place to send traces to, and nobody has said that none are to be sent."""
    exporters = [each.strip().lower() for each in env.get(_EXPORTERS, "otlp").split(",")]
    is_disabled = env.get(_DISABLED, "").strip().lower() == "true"
    return _first(env, _ENDPOINTS) is not None and "otlp" in exporters and not is_disabled


def problem(env: Mapping[str, str]) -> str | None:
    """What is to be done before traces can be sent there; `None`: nothing that could be seen from here."""
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.exporter") is None:
        return "install the packages of the extra otel: pip install --require-hashes -r requirements-otel.lock"
    if (protocol := _first(env, _PROTOCOLS)) not in (None, _SPOKEN):
        return f"{_PROTOCOLS[1]} is {protocol}: set it to {_SPOKEN}, and the endpoint to the collector's port for it"
    if not (_first(env, _ENDPOINTS) or "").startswith(("http://", "https://")):
        return f"{_ENDPOINTS[1]} must begin with http:// or https://"
    headers = (_first(env, TRACE_SECRETS[::-1]) or "").strip(",").split(",")
    if any(headers) and not all(_HEADER.fullmatch(each.strip()) for each in headers):
        return f"{TRACE_SECRETS[0]} must be name=value,name=value, with special characters of a value as %.."
    return None


def _first(env: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((value for name in names if (value := env.get(name, "").strip())), None)
