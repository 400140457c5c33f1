"""The compose file: valid by the Compose Specification, and the same commands, queues and settings as `workers up`.

The schema is the specification's own, as `check-jsonschema` ships it: the check needs neither docker nor a network.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema

from tests.support.crew import Worker
from tests.support.valkey import valkey_server
from tests.support.waiting import wait_until
from workers import pools
from workers.parts import Part
from workers.settings import read_settings
from workers.stackplan import (
    KEY_VARIABLES,
    PROVIDER_URL,
    VALKEY_DURABILITY,
    StackOptions,
    StackPlan,
    simulator_command,
)
from workers.storeplace import STORE_SECRETS

ROOT = Path(__file__).parents[2]
# What `up` decides by itself and a deployment by its .env, where the settings refuse to start without it.
FROM_ENV_FILE = {"REELWORKS_PROVIDER_KEYS", "REELWORKS_GATEWAY_URL", "REELWORKS_GATEWAY_SECRET"}
# What `up` keeps in a file of its folder, and a deployment in its .env.
KEPT_OTHERWISE = {"REELWORKS_GATEWAY_SECRET_FILE": "REELWORKS_GATEWAY_SECRET"}
# Who watches: `up` has nobody of the kind.
WATCHING = {"prometheus", "grafana"}
# What only a deployment knows.
_BUCKETS = {*STORE_SECRETS, "AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP"}
_WEBHOOKS = {f"REELWORKS_WEBHOOK_{name}" for name in ("HOSTS", "PORTS", "PRIVATE")}
OUTSIDE = {"gateway": {"REELWORKS_GATEWAY_URL", "REELWORKS_METRICS_TOKEN", *_WEBHOOKS, *_BUCKETS}}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return get_builtin_schema("vendor.compose-spec")


@pytest.fixture
def plan(tmp_path: Path) -> Iterator[StackPlan]:
    plan = StackPlan(StackOptions(var=tmp_path, gateway=True, env={"PATH": os.defpath}))
    yield plan
    plan.close()


def parts_of(plan: StackPlan) -> dict[str, Part]:
    return {part.name: part for stage in plan.stages() for part in stage}


def service(compose: dict[str, Any], name: str) -> dict[str, Any]:
    return compose["services"][name]


def without_python(line: list[str]) -> list[str]:
    assert Path(line[0]).name.startswith("python")
    return line[1:]


def interpolated(value: str, outside: dict[str, str]) -> str:
    """As compose does it, with the variables of its own environment and of the .env beside the file."""
    return re.sub(
        r"\$\{(\w+)(?::([-?])([^}]*))?\}",
        lambda found: outside.get(found[1]) or (found[3] if found[2] == "-" else ""),
        value,
    )


def test_the_file_is_valid_by_the_specification(compose: dict[str, Any], schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(schema).validate(compose)


def test_the_check_would_find_a_mistake(compose: dict[str, Any], schema: dict[str, Any]) -> None:
    wrong = {**compose, "services": {"lanes": {**service(compose, "lanes"), "comand": []}}}
    with pytest.raises(jsonschema.ValidationError, match="comand"):
        jsonschema.Draft202012Validator(schema).validate(wrong)


def test_every_part_of_up_is_a_service_and_the_database_is_added(compose: dict[str, Any], plan: StackPlan) -> None:
    assert set(compose["services"]) == set(parts_of(plan)) | {"postgres", *WATCHING}


@pytest.mark.parametrize("name", pools.POOLS)
def test_a_pool_runs_by_the_verb_that_runs_the_command_of_up(
    compose: dict[str, Any], plan: StackPlan, name: str
) -> None:
    assert service(compose, name)["command"] == ["python", "-m", "workers", "pool", name]
    assert parts_of(plan)[name].argv == pools.command(name, pools.PoolSizes())


def test_the_other_commands_are_those_of_up(compose: dict[str, Any], plan: StackPlan) -> None:
    own = parts_of(plan)
    assert service(compose, "migrate")["command"][1:] == without_python(list(own["migrate"].argv))
    assert " ".join(service(compose, "flower")["command"]) == "python -m workers flower --address 0.0.0.0 --port 5555"
    assert list(own["flower"].argv)[:-1] == pools.flower_command(address="127.0.0.1", port=1)[:-1]
    line = "python -m workers gateway --address 0.0.0.0 --port 8080"
    assert " ".join(service(compose, "gateway")["command"]) == line
    assert list(own["gateway"].argv)[1:4] == line.split()[1:4]
    options = StackOptions(var=Path("var"))
    assert service(compose, "simulator")["command"] == simulator_command(
        host="0.0.0.0",
        port=8900,
        folder=Path("/var/lib/reelworks"),
        speed=options.speed,
        seed=options.seed,
        python="python",
    )


def test_valkey_keeps_messages_as_durably_as_that_of_up(compose: dict[str, Any], plan: StackPlan) -> None:
    own = ["valkey-server", *VALKEY_DURABILITY]
    assert service(compose, "valkey")["command"] == [*own, "--maxmemory", "1gb"]
    assert service(compose, "valkey")["mem_limit"] == "2g", "full, it has to refuse, and not be ended"
    assert parts_of(plan)["valkey"].argv[-len(VALKEY_DURABILITY) :] == list(VALKEY_DURABILITY)


@pytest.mark.parametrize("name", ["migrate", "flower", "gateway", *pools.POOLS])
def test_a_service_has_every_setting_that_up_gives(compose: dict[str, Any], plan: StackPlan, name: str) -> None:
    given = {
        KEPT_OTHERWISE.get(variable, variable)
        for variable in parts_of(plan)[name].env
        if variable.startswith("REELWORKS_")
    }
    from_file = FROM_ENV_FILE if name in pools.POOLS else set()
    assert set(service(compose, name)["environment"]) == (given - from_file) | OUTSIDE.get(name, set())


@pytest.mark.parametrize("name", pools.POOLS)
def test_a_pool_has_all_of_the_env_file(compose: dict[str, Any], name: str) -> None:
    assert service(compose, name)["env_file"] == [{"path": ".env", "required": False}]


def test_the_providers_keys_go_to_the_pools_alone(compose: dict[str, Any]) -> None:
    """Above all not to Flower, which is on the web. The env file is where they stand."""
    for name in compose["services"].keys() - pools.POOLS.keys():
        assert service(compose, name).keys() & {"env_file", "secrets", "configs"} == set(), name
        given = service(compose, name).get("environment", {})
        assert given.keys() & set(KEY_VARIABLES) == set(), name
        assert not any(variable in str(value) for variable in KEY_VARIABLES for value in given.values()), name


@pytest.mark.parametrize("name", ["migrate", "flower", "gateway"])
def test_who_has_no_env_file_starts_with_what_it_is_given(
    compose: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in [variable for variable in os.environ if variable.startswith(("REELWORKS_", "VTRIX_"))]:
        monkeypatch.delenv(variable)
    outside = {
        "POSTGRES_PASSWORD": "secret",
        "REELWORKS_FLOWER_LOGIN": "somebody:secret",
        "REELWORKS_GATEWAY_SECRET": "s" * 32,
    }
    for variable, value in service(compose, name)["environment"].items():
        monkeypatch.setenv(variable, interpolated(value, outside))
    read = read_settings()
    assert read.database_url == "postgresql+psycopg://reelworks:secret@postgres:5432/reelworks"
    assert read.redis_url.startswith("redis://valkey:6379/0")
    assert read.flower_login is (name == "flower")
    assert (read.gateway_secret is not None) is (name == "gateway")
    assert read.provider_keys == {}


def test_the_defaults_of_pools_and_provider_are_those_of_up(compose: dict[str, Any]) -> None:
    settings = service(compose, "lanes")["environment"]
    sizes = pools.PoolSizes()
    for pool in pools.POOLS.values():
        assert settings[pool.variable] == f"${{{pool.variable}:-{getattr(sizes, pool.setting)}}}"
    assert settings["REELWORKS_PROVIDER_URL"] == f"${{REELWORKS_PROVIDER_URL:-{PROVIDER_URL}}}"


def test_no_secret_has_a_default(compose: dict[str, Any]) -> None:
    assert service(compose, "postgres")["environment"]["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")
    assert ":${POSTGRES_PASSWORD:?" in service(compose, "lanes")["environment"]["REELWORKS_DATABASE_URL"]
    assert service(compose, "flower")["environment"]["REELWORKS_FLOWER_LOGIN"].startswith("${REELWORKS_FLOWER_LOGIN:?")
    signs = service(compose, "gateway")["environment"]["REELWORKS_GATEWAY_SECRET"]
    assert signs.startswith("${REELWORKS_GATEWAY_SECRET:?")
    assert "sk-" not in (ROOT / "docker-compose.yml").read_text()


def test_workers_share_one_store_and_state_outlives_containers(compose: dict[str, Any]) -> None:
    for name in pools.POOLS:
        settings, volumes = service(compose, name)["environment"], service(compose, name)["volumes"]
        assert volumes == ["store:/var/lib/reelworks"]
        assert interpolated(settings["REELWORKS_STORE"], {}).startswith("/var/lib/reelworks/")
    mounted = [volume.split(":") for each in compose["services"].values() for volume in each.get("volumes", [])]
    assert {volume[0] for volume in mounted if not volume[0].startswith("./")} == set(compose["volumes"])


def test_what_is_mounted_from_the_checkout_is_there_and_can_not_be_changed(compose: dict[str, Any]) -> None:
    for name, each in compose["services"].items():
        for source, _, mode in (volume.split(":") for volume in each.get("volumes", []) if volume.startswith("./")):
            assert name in WATCHING
            assert (ROOT / source).exists(), source
            assert mode == "ro"


def test_nothing_runs_as_root_or_writes_beside_its_volumes_or_takes_the_machine(compose: dict[str, Any]) -> None:
    for name, each in compose["services"].items():
        user, _, group = each["user"].partition(":")
        assert int(user) > 0, name
        assert group.isdecimal(), name
        assert each["read_only"] is True, name
        assert each["cap_drop"] == ["ALL"], name
        assert each["security_opt"] == ["no-new-privileges:true"], name
        assert {"mem_limit", "cpus", "pids_limit"} <= each.keys(), name
        assert "privileged" not in each, name


def test_every_service_that_stays_says_whether_it_is_well(compose: dict[str, Any]) -> None:
    for name in compose["services"].keys() - {"migrate"}:
        assert service(compose, name)["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}, name


@pytest.mark.parametrize("name", pools.POOLS)
def test_a_pool_is_asked_by_the_name_of_its_worker(compose: dict[str, Any], name: str) -> None:
    assert service(compose, name)["healthcheck"]["test"][-1] == name


def test_a_pool_is_well_while_its_worker_answers(compose: dict[str, Any], tmp_path: Path) -> None:
    """By the lines that compose runs."""
    python, *line = service(compose, "create")["healthcheck"]["test"][1:]
    assert python == "python"
    with valkey_server(tmp_path) as server:
        env = {
            **os.environ,
            "REELWORKS_REDIS_URL": server.url,
            "REELWORKS_DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db",
            "REELWORKS_VAR": str(tmp_path / "var"),
            "VTRIX_API_KEY": "k",
        }

        def answers(*words: str) -> bool:
            asked = subprocess.run(
                [sys.executable, *words], cwd=ROOT, env=env, timeout=60, capture_output=True, check=False
            )
            return asked.returncode == 0

        assert not answers(*line)
        assert answers(*service(compose, "migrate")["command"][1:])
        worker = Worker("create", [sys.executable, *service(compose, "create")["command"][1:]], env, tmp_path / "log")
        try:
            worker.ready()
            wait_until(lambda: answers(*line), within_s=60, what="the worker to be well")
        finally:
            worker.kill()
        assert not answers(*line)


@pytest.mark.parametrize(
    ("name", "variable"), [("prometheus", "REELWORKS_METRICS_TOKEN"), ("grafana", "GF_SECURITY_ADMIN_PASSWORD")]
)
def test_who_watches_does_not_start_without_a_secret_of_its_own(
    compose: dict[str, Any], name: str, variable: str, tmp_path: Path
) -> None:
    """Its file would be asked for a secret by `:?` whether it is started or not; so it asks by itself."""
    shell, options, script, zero = service(compose, name)["entrypoint"]
    script = script.replace("$$", "$").replace("/run/secrets", str(tmp_path))
    for secret, runs in (("", False), ("a-long-one", True)):
        line = [shell, options, script, zero, "echo", "begun"]
        done = subprocess.run(
            line, env={"PATH": os.defpath, variable: secret}, capture_output=True, text=True, timeout=20, check=False
        )
        assert (done.stdout == "begun\n") is runs
        assert (done.returncode == 0) is runs
        assert "a-long-one" not in done.stderr
    assert interpolated(service(compose, name)["environment"][variable], {}) == ""


def test_prometheus_has_the_token_where_its_settings_look(compose: dict[str, Any]) -> None:
    settings = yaml.safe_load((ROOT / "ops" / "prometheus" / "prometheus.yml").read_text())
    file = settings["scrape_configs"][0]["authorization"]["credentials_file"]
    assert f"> {file}\n" in service(compose, "prometheus")["entrypoint"][2]
    assert any(each.startswith(f"{Path(file).parent}:") for each in service(compose, "prometheus")["tmpfs"])


def test_keys_of_a_bucket_go_to_the_pools_and_the_gateway_alone(compose: dict[str, Any]) -> None:
    for name in compose["services"].keys() - pools.POOLS.keys() - {"gateway"}:
        assert not any(variable in str(service(compose, name)) for variable in STORE_SECRETS), name
    outside = {"REELWORKS_STORE": "s3://films/ours", "POSTGRES_PASSWORD": "secret"}
    for name in ("migrate", "flower", "gateway", *pools.POOLS):
        assert interpolated(service(compose, name)["environment"]["REELWORKS_STORE"], outside) == "s3://films/ours"


def test_what_has_no_login_is_published_to_this_machine_alone(compose: dict[str, Any]) -> None:
    published = [port for each in compose["services"].values() for port in each.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_every_service_has_an_init_and_workers_time_to_finish(compose: dict[str, Any]) -> None:
    assert all(each["init"] is True for each in compose["services"].values())
    assert {service(compose, name)["stop_grace_period"] for name in pools.POOLS} == {"120s"}


def test_the_image_runs_without_root_on_locked_packages() -> None:
    lines = (ROOT / "ops" / "Dockerfile").read_text().splitlines()
    (user,) = [line for line in lines if line.startswith("USER ")]
    assert user == "USER 10001:10001"
    assert any("pip install --require-hashes" in line for line in lines)
    copied = {line.split()[1] for line in lines if line.startswith("COPY ") and "--from" not in line}
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == allowed
