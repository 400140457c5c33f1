from __future__ import annotations

import re
from pathlib import Path

import environs
import pytest

from tasks.media.bucket import Bucket
from tasks.outward import PUBLIC, Reach
from workers.settings import Secret, SettingsInvalid, read_settings

EXAMPLE = Path(__file__).parents[3] / ".env.example"


def example() -> dict[str, str]:
    return dict(re.findall(r"^(REELWORKS_\w+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))


def test_without_any_variable_the_defaults_hold() -> None:
    read = read_settings()
    assert read.redis_url == "redis://127.0.0.1:6379/0"
    assert read.database_url == f"sqlite:///{Path('var').absolute()}/reelworks.db"
    assert read.provider_keys == {}


def test_an_empty_variable_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    without = read_settings()
    for name in example():
        monkeypatch.setenv(name, " ")
    assert read_settings() == without


def test_the_example_names_every_variable_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[environs.Env] = []
    monkeypatch.setattr(environs.Env, "seal", lambda env: read.append(env))  # noqa: PLW0108 (has to bind)
    read_settings()
    assert set(example()) == set(read[0].dump())


def test_the_example_shows_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    without = read_settings()
    for name, value in example().items():
        monkeypatch.setenv(name, value)
    assert read_settings() == without


def test_all_errors_come_at_once_each_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {
        "REELWORKS_REDIS_URL": "http://redis",
        "REELWORKS_DATABASE_URL": "mysql://x/y",
        "REELWORKS_POLL_FIRST_S": "soon",
        "REELWORKS_LANES_CONCURRENCY": "0",
        "REELWORKS_SWEEP_BATCH": "0",
        "REELWORKS_PROVIDER_KEYS": "sk-canary-without-alias",
        "REELWORKS_LOG_LEVEL": "LOUD",
        "REELWORKS_OUTPUT_PORTS": "443,https",
        "REELWORKS_OUTPUT_HOSTS": "https://cdn.example.com",
        "REELWORKS_OUTPUT_PRIVATE": "127.0.0.1:8900,10.0.0.0/8",
    }
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsInvalid) as caught:
        read_settings()
    assert set(caught.value.problems) == set(wrong)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REELWORKS_CREATE_LEASE_S", "95"),
        ("REELWORKS_LANE_TTL_S", "5"),
        ("REELWORKS_LANE_TTL_S", "nan"),
        ("REELWORKS_POLL_LEASE_S", "13"),
        ("REELWORKS_SWEEP_INTERVAL_S", "600"),
        ("REELWORKS_GATEWAY_WAITS_MOST", "32"),
        ("REELWORKS_CALLBACK_URL", "https://films.example.com"),
        ("REELWORKS_LANE_IDLE_S", "2.5"),
        ("REELWORKS_POLL_BATCH", "401"),
        ("REELWORKS_JOBS_DAYS", "1"),
        ("REELWORKS_OUTPUTS_DAYS", "36501"),
        ("REELWORKS_OUTPUTS_DAYS", "nan"),
    ],
)
def test_settings_that_would_break_a_promise_together_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsInvalid, match=name):
        read_settings()


@pytest.mark.parametrize(
    ("outputs_days", "jobs_days", "holds"), [(0, 0, True), (3, 0, True), (3, 3, True), (3, 2, False)]
)
def test_jobs_are_kept_as_long_as_their_files(
    monkeypatch: pytest.MonkeyPatch, outputs_days: float, jobs_days: float, holds: bool
) -> None:
    monkeypatch.setenv("REELWORKS_OUTPUTS_DAYS", str(outputs_days))
    monkeypatch.setenv("REELWORKS_JOBS_DAYS", str(jobs_days))
    if holds:
        policy = read_settings().policy
        assert (policy.outputs_days, policy.jobs_days) == (outputs_days, jobs_days)
        return
    with pytest.raises(SettingsInvalid, match="REELWORKS_JOBS_DAYS: must not be below REELWORKS_OUTPUTS_DAYS"):
        read_settings()


def test_keys_are_known_by_alias_and_do_not_print(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELWORKS_PROVIDER_KEYS", "eu=sk-canary-1, us=sk-canary-2")
    read = read_settings()
    assert {alias: key.reveal() for alias, key in read.provider_keys.items()} == {
        "eu": "sk-canary-1",
        "us": "sk-canary-2",
    }
    assert "canary" not in repr(read)
    assert "canary" not in str(read)


def test_where_outputs_may_be_fetched_from_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings().output_reach == PUBLIC
    monkeypatch.setenv("REELWORKS_OUTPUT_PORTS", "443, 8443")
    monkeypatch.setenv("REELWORKS_OUTPUT_HOSTS", "CDN.example.com,example.org,")
    monkeypatch.setenv("REELWORKS_OUTPUT_PRIVATE", "127.0.0.1:8900, simulator, [::1]:80")
    assert read_settings().output_reach == Reach(
        hosts=frozenset({"cdn.example.com", "example.org"}),
        ports=frozenset({443, 8443}),
        private=frozenset({"127.0.0.1:8900", "simulator", "[::1]:80"}),
    )


def test_the_store_is_a_folder_or_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings().store == Path("var/store").absolute()
    monkeypatch.setenv("REELWORKS_STORE", "films")
    assert read_settings().store == Path("films").absolute()
    monkeypatch.setenv("REELWORKS_STORE", "s3://films/of/ours")
    assert read_settings().store == Bucket("films", "of/ours")
    monkeypatch.setenv("REELWORKS_STORE", "s3://Films")
    with pytest.raises(SettingsInvalid, match="REELWORKS_STORE: must be a folder, or s3://bucket/prefix"):
        read_settings()


_KEY = {"AWS_ACCESS_KEY_ID": "AKIDCANARY", "AWS_SECRET_ACCESS_KEY": "canary"}


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({}, set()),
        (_KEY, set()),
        ({**_KEY, "AWS_SESSION_TOKEN": "canary", "AWS_REGION": "eu-central-1", "AWS_ALLOW_HTTP": " "}, set()),
        ({"AWS_ENDPOINT_URL": "https://objects.example.com:9000/base", "AWS_ALLOW_HTTP": "False"}, set()),
        ({"AWS_ENDPOINT_URL": "http://[::1]:9000", "AWS_ALLOW_HTTP": "true"}, set()),
        ({"AWS_ACCESS_KEY_ID": "canary"}, {"AWS_SECRET_ACCESS_KEY"}),
        ({"AWS_SECRET_ACCESS_KEY": "canary"}, {"AWS_ACCESS_KEY_ID"}),
        ({"AWS_SESSION_TOKEN": "canary"}, {"AWS_SESSION_TOKEN"}),
        ({**_KEY, "AWS_SECRET_ACCESS_KEY": "canary\ncanary"}, {"AWS_SECRET_ACCESS_KEY"}),
        ({"AWS_REGION": "Frankfurt (canary)"}, {"AWS_REGION"}),
        ({"AWS_ENDPOINT_URL": "http://objects:9000"}, {"AWS_ALLOW_HTTP"}),
        ({"AWS_ENDPOINT_URL_S3": "http://objects:9000", "AWS_ALLOW_HTTP": "no"}, {"AWS_ALLOW_HTTP"}),
        ({"AWS_ENDPOINT_URL": "https://key:canary@objects"}, {"AWS_ENDPOINT_URL"}),
        ({"AWS_ENDPOINT_URL": "https://canary objects"}, {"AWS_ENDPOINT_URL"}),
        ({"AWS_ENDPOINT_URL": " https://canary"}, {"AWS_ENDPOINT_URL"}),
        ({"AWS_ENDPOINT_URL": "objects:9000"}, {"AWS_ENDPOINT_URL"}),
    ],
)
def test_what_a_bucket_needs_is_judged_by_its_variable_and_not_quoted(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], wrong: set[str]
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert "canary" not in repr(read_settings()), "with a folder they are nobody's concern"
    monkeypatch.setenv("REELWORKS_STORE", "s3://films")
    if not wrong:
        assert "canary" not in repr(read_settings())
        return
    with pytest.raises(SettingsInvalid) as caught:
        read_settings()
    assert set(caught.value.problems) == wrong
    assert "canary" not in str(caught.value)


def test_the_providers_own_variable_is_the_default_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTRIX_API_KEY", "sk-canary")
    assert read_settings().provider_keys == {"default": Secret("sk-canary")}
