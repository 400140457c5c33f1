"""What an embedded stack plans: which parts it starts, which it leaves to others, and what it tells of them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from workers import stackplan, supervisor
from workers.embedded import EmbeddedStack, ProviderKeyMissing, StackOptions, StoreNotWritable, _masked
from workers.folderlock import FolderLock
from workers.parts import Part
from workers.settings import SettingsInvalid
from workers.stackchecks import check_store
from workers.stackplan import SIMULATOR_KEYS, StackPlan

EMBEDDED = ["valkey", "simulator", "migrate", "lanes", "create", "finish", "flower"]


@pytest.fixture(autouse=True)
def _ports(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter(range(20_000, 20_100))
    monkeypatch.setattr(stackplan.probes, "free_port", lambda _host: next(numbers))


def planned(var: Path, env: dict[str, str] | None = None, **options: object) -> tuple[StackPlan, dict[str, Part]]:
    plan = StackPlan(StackOptions(var=var, env={"PATH": os.defpath, **(env or {})}, **options))  # type: ignore[arg-type]
    parts = {part.name: part for stage in plan.stages() for part in stage}
    plan.close()
    return plan, parts


def test_with_nothing_set_everything_is_embedded(tmp_path: Path) -> None:
    plan, parts = planned(tmp_path)
    assert list(parts) == EMBEDDED
    assert plan.shared["REELWORKS_DATABASE_URL"] == f"sqlite:///{tmp_path}/reelworks.db"
    assert plan.bill == tmp_path / "simulator" / "bill.jsonl"


@pytest.mark.parametrize(
    ("variable", "address", "absent"),
    [
        ("REELWORKS_REDIS_URL", "redis://elsewhere:6379/0", "valkey"),
        ("REELWORKS_PROVIDER_URL", "http://elsewhere:8900", "simulator"),
    ],
)
def test_an_address_that_is_set_replaces_the_part(tmp_path: Path, variable: str, address: str, absent: str) -> None:
    plan, parts = planned(tmp_path, {variable: address})
    assert [name for name in EMBEDDED if name not in parts] == [absent]
    assert plan.shared[variable] == parts["lanes"].env[variable] == address


def test_an_empty_address_is_as_good_as_none(tmp_path: Path) -> None:
    assert "valkey" in planned(tmp_path, {"REELWORKS_REDIS_URL": ""})[1]


def test_tables_are_made_before_workers_start(tmp_path: Path) -> None:
    first, second = StackPlan(StackOptions(var=tmp_path, env={"PATH": os.defpath})).stages()
    assert {part.name for part in first if part.once} == {"migrate"}
    assert {part.name for part in second} == {"lanes", "create", "finish", "flower"}


def test_the_real_provider_needs_a_key(tmp_path: Path) -> None:
    with pytest.raises(ProviderKeyMissing, match="VTRIX_API_KEY"):
        planned(tmp_path, provider="vtrix")


def test_the_real_provider_gets_the_key_and_no_simulator(tmp_path: Path) -> None:
    plan, parts = planned(tmp_path, {"VTRIX_API_KEY": "sk-canary"}, provider="vtrix")
    assert "simulator" not in parts
    assert plan.bill is None
    assert plan.shared["REELWORKS_PROVIDER_URL"] == "https://cloud.vtrix.ai"
    assert parts["create"].env["VTRIX_API_KEY"] == "sk-canary"


def test_outputs_may_come_from_the_simulators_private_address_and_no_other(tmp_path: Path) -> None:
    plan, parts = planned(tmp_path)
    place = plan.shared["REELWORKS_PROVIDER_URL"].removeprefix("http://")
    assert parts["finish"].env["REELWORKS_OUTPUT_PRIVATE"] == place


def test_private_places_of_the_environment_are_kept_beside_the_simulators(tmp_path: Path) -> None:
    plan, parts = planned(tmp_path, {"REELWORKS_OUTPUT_PRIVATE": "elsewhere:80"})
    place = plan.shared["REELWORKS_PROVIDER_URL"].removeprefix("http://")
    assert parts["finish"].env["REELWORKS_OUTPUT_PRIVATE"] == f"elsewhere:80,{place}"


def test_with_the_real_provider_no_private_address_is_opened(tmp_path: Path) -> None:
    _, parts = planned(tmp_path, {"VTRIX_API_KEY": "sk-canary"}, provider="vtrix")
    assert "REELWORKS_OUTPUT_PRIVATE" not in parts["finish"].env


@pytest.mark.parametrize("variable", ["VTRIX_API_KEY", "VTRIX_API_KEY_FILE"])
def test_a_real_key_reaches_no_part_of_a_rehearsal(tmp_path: Path, variable: str) -> None:
    _, parts = planned(tmp_path, {variable: "/sk-canary"})
    assert [part.name for part in parts.values() if "/sk-canary" in part.env.values()] == []


def test_servers_that_need_no_key_get_none(tmp_path: Path) -> None:
    _, parts = planned(tmp_path, {"REELWORKS_PROVIDER_KEYS": "a=sk-canary"})
    assert "sk-canary" not in str(parts["valkey"].env) + str(parts["simulator"].env)
    assert parts["create"].env["REELWORKS_PROVIDER_KEYS"] == "a=sk-canary"


def test_flower_gets_no_key_and_nobody_else_its_login(tmp_path: Path) -> None:
    env = {"REELWORKS_PROVIDER_KEYS": "a=sk-canary", "REELWORKS_FLOWER_LOGIN": "me:brass"}
    plan, parts = planned(tmp_path, env)
    assert [name for name, part in parts.items() if "brass" in str(part.env)] == ["flower"]
    assert "canary" not in str(parts["flower"].env)
    assert plan.flower_login == "***"


def test_each_start_makes_a_login_for_flower(tmp_path: Path) -> None:
    (plan, parts), (other, _) = planned(tmp_path), planned(tmp_path)
    assert plan.flower_login == parts["flower"].env["REELWORKS_FLOWER_LOGIN"]
    assert plan.flower_login is not None
    user, _, password = plan.flower_login.partition(":")
    assert (user, len(password)) == ("reelworks", 24)
    assert plan.flower_login != other.flower_login


def test_files_of_secrets_are_found_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _, parts = planned(tmp_path, {"REELWORKS_PROVIDER_KEYS_FILE": "keys", "REELWORKS_FLOWER_LOGIN_FILE": "login"})
    assert parts["create"].env["REELWORKS_PROVIDER_KEYS_FILE"] == str(tmp_path / "keys")
    assert parts["flower"].env["REELWORKS_FLOWER_LOGIN_FILE"] == str(tmp_path / "login")
    assert "REELWORKS_PROVIDER_KEYS" not in parts["create"].env  # the file counts, with the simulator too


def test_the_file_of_addresses_is_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor.Supervisor, "start", lambda _self: True)
    stack = EmbeddedStack(StackOptions(var=tmp_path, env={"PATH": os.defpath}))
    stack.start()
    try:
        assert stat.S_IMODE((tmp_path / "addresses.json").stat().st_mode) == 0o600
        assert str(stack.addresses["flower_login"]) in (tmp_path / "addresses.json").read_text()
    finally:
        monkeypatch.setattr(supervisor.Supervisor, "stop", lambda _self: None)
        stack.stop()


def test_keys_of_the_environment_are_no_address(tmp_path: Path) -> None:
    assert planned(tmp_path)[0].simulator_keys == SIMULATOR_KEYS
    for variable in ("REELWORKS_PROVIDER_KEYS", "REELWORKS_PROVIDER_KEYS_FILE"):
        assert planned(tmp_path, {variable: "a=sk-canary"})[0].simulator_keys is None


def test_flower_can_be_left_out(tmp_path: Path) -> None:
    plan, parts = planned(tmp_path, flower=False)
    assert "flower" not in parts
    assert plan.flower_url is plan.flower_login is None


def test_the_log_of_the_last_run_is_kept_beside_the_new_one(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "lanes.log"
    log.parent.mkdir()
    log.write_text("yesterday")
    planned(tmp_path)
    assert not log.exists()
    assert log.with_suffix(".log.1").read_text() == "yesterday"


def test_options_and_plan_print_no_environment(tmp_path: Path) -> None:
    options = StackOptions(var=tmp_path, env={"VTRIX_API_KEY": "sk-canary"})
    assert "sk-canary" not in repr(options) + repr(EmbeddedStack(options)) + repr(StackPlan(options).stages())


@pytest.fixture
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_self: object) -> bool:
        raise AssertionError("something was started")

    monkeypatch.setattr(supervisor.Supervisor, "start", start)


def test_a_store_that_cannot_be_written_to_is_named_before_anything_starts(
    tmp_path: Path, nothing_starts: None
) -> None:
    (tmp_path / "file").touch()
    store = tmp_path / "file" / "store"
    stack = EmbeddedStack(StackOptions(var=tmp_path / "var", env={"REELWORKS_STORE": str(store)}))
    with pytest.raises(StoreNotWritable, match="REELWORKS_STORE") as caught:
        stack.start()
    assert str(store) in str(caught.value)
    FolderLock(tmp_path / "var" / "stack.lock").acquire(wait_s=0)


def test_the_check_of_the_store_makes_it_and_leaves_nothing_in_it(tmp_path: Path) -> None:
    check_store(tmp_path / "films" / "kept", tmp_path / "parts")
    assert list((tmp_path / "films" / "kept").iterdir()) == []


def test_a_relative_store_is_the_same_folder_for_every_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _, parts = planned(tmp_path / "var", {"REELWORKS_STORE": "films"})
    assert parts["finish"].env["REELWORKS_STORE"] == str(tmp_path / "films")


def test_keys_of_a_bucket_go_to_those_alone_who_work_with_the_store(tmp_path: Path) -> None:
    env = {"REELWORKS_STORE": "s3://films/ours", "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "canary"}
    plan = StackPlan(StackOptions(var=tmp_path, gateway=True, env=env))
    parts = {part.name: part.env for stage in plan.stages() for part in stage}
    plan.close()
    assert {given["REELWORKS_STORE"] for given in parts.values()} == {"s3://films/ours"}
    told = {name for name, given in parts.items() if "AWS_SECRET_ACCESS_KEY" in given or "canary" in str(given)}
    assert told == {"lanes", "create", "finish", "gateway"}


def test_what_may_be_a_key_of_a_collector_goes_to_the_workers_alone(tmp_path: Path) -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_EXPORTER_OTLP_HEADERS": "api-key=canary"}
    plan = StackPlan(StackOptions(var=tmp_path, gateway=True, env=env))
    parts = {part.name: part.env for stage in plan.stages() for part in stage}
    plan.close()
    assert {name for name, given in parts.items() if "canary" in str(given)} == {"lanes", "create", "finish"}
    assert parts["lanes"]["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector:4318"


def test_settings_that_no_part_could_use_are_all_named_before_anything_starts(
    tmp_path: Path, nothing_starts: None
) -> None:
    before = dict(os.environ)
    env = {
        "REELWORKS_POLL_FIRST_S": "soon",
        "REELWORKS_HTTP_CONNECT_S": "-1",
        "REELWORKS_REDIS_URL": "sentinel://one,two/0",
    }
    with pytest.raises(SettingsInvalid) as caught:
        EmbeddedStack(StackOptions(var=tmp_path, env=env)).start()
    assert sorted(caught.value.problems) == sorted(env)
    assert dict(os.environ) == before
    FolderLock(tmp_path / "stack.lock").acquire(wait_s=0)


@pytest.mark.parametrize(
    ("env", "options", "grace_s"),
    [
        ({}, {}, 30),
        ({"VTRIX_API_KEY": "sk-canary"}, {"provider": "vtrix"}, 120),
        ({"REELWORKS_PROVIDER_URL": "http://elsewhere:8900"}, {}, 120),
        ({}, {"worker_grace_s": 3.0}, 3),
    ],
)
def test_a_worker_may_finish_a_create_that_may_cost_money(
    tmp_path: Path, env: dict[str, str], options: dict[str, object], grace_s: float
) -> None:
    _, parts = planned(tmp_path, env, **options)
    assert {parts[name].grace_s for name in ("lanes", "create", "finish")} == {grace_s}


def test_the_folder_of_all_state_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    planned(tmp_path / "deep" / "var")
    FolderLock(tmp_path / "other" / "stack.lock").acquire()
    for folder in ("deep/var", "other"):
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == 0o700


def test_a_folder_that_exists_keeps_its_rights(tmp_path: Path) -> None:
    var = tmp_path / "var"
    var.mkdir()
    var.chmod(0o755)
    planned(var)
    assert stat.S_IMODE(var.stat().st_mode) == 0o755


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://:canary@cache:6379/0", "redis://:***@cache:6379/0"),
        ("postgresql+psycopg://me:canary@db/reel?sslpassword=canary", "postgresql+psycopg://me:***@db/reel"),
        ("redis://cache/0?password=canary", "redis://cache/0"),
        ("rediss://cache/0?password=canary&ssl_ca_certs=/ca.pem", "rediss://cache/0?ssl_ca_certs=/ca.pem"),
        (
            "postgresql+psycopg://db/reel?sslmode=verify-full&sslpassword=c",
            "postgresql+psycopg://db/reel?sslmode=verify-full",
        ),
        ("sqlite:////var/reel.db", "sqlite:////var/reel.db"),
        ("sentinel://a,b:7/0?master=m&sentinel_password=canary", "sentinel://a:26379,b:7/0?master=m"),
        (
            "sentinels://me:canary@a,[::1]:7/2?master=m&ssl_ca_certs=/ca.pem&replicas=1",
            "sentinels://me:***@a:26379,[::1]:7/2?master=m&replicas=1&ssl_ca_certs=/ca.pem",
        ),
    ],
)
def test_addresses_show_no_password(url: str, shown: str) -> None:
    assert _masked(url) == shown
