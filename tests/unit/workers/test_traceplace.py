"""Whether traces are sent, by OpenTelemetry's own variables."""

from __future__ import annotations

import pytest

from workers import traceplace
from workers.settings import read_settings

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "films"}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://collector/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "false"}, True),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "console, otlp"}, True),
    ],
)
def test_traces_are_sent_where_a_place_is_named_and_nobody_has_said_no(
    env: dict[str, str], named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert traceplace.is_named(env) is named
    assert read_settings().traces is named


@pytest.mark.parametrize(
    ("env", "todo"),
    [
        (ENDPOINT, None),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, None),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "http://"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%20b==, x-team=films"}, None),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_HEADERS": "api-key: sk-canary"}, "name=value"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_HEADERS": "api-key=abc,sk-canary"}, "name=value"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "sk-canary"}, "name=value"),
    ],
)
def test_what_can_be_seen_to_be_wrong_is_said_with_what_to_do(env: dict[str, str], todo: str | None) -> None:
    found = traceplace.problem(env)
    assert (found is None) == (todo is None)
    assert todo is None or todo in (found or "")
    assert "canary" not in (found or "")


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traceplace, "find_spec", lambda _name: None)
    assert "extra otel" in (traceplace.problem(ENDPOINT) or "")
