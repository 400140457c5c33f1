"""The manifests for Kubernetes: valid by its schemas, locked up, with the commands and series that there are.

The schemas are those that `kubernetes-validate` ships: the check needs neither a cluster nor a network. KEDA's own kind
is held to the fields that its definition requires.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.support import promql
from workers import pools

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "ops" / "kubernetes"
VERSION = "1.33"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
OBJECTS: list[dict[str, Any]] = [
    each for name in KUSTOMIZATION["resources"] for each in yaml.safe_load_all((FOLDER / name).read_text())
]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
SECRETS = {
    "pools": {"reelworks-servers", "reelworks-provider", "reelworks-links", "reelworks-store"},
    "gateway": {"reelworks-servers", "reelworks-links", "reelworks-metrics", "reelworks-store"},
    "flower": {"reelworks-servers", "reelworks-flower"},
    "migrate": {"reelworks-servers"},
}


def of_kind(*kinds: str) -> list[dict[str, Any]]:
    return [each for each in OBJECTS if each["kind"] in kinds]


def named(each: dict[str, Any]) -> str:
    return f"{each['kind']}/{each['metadata']['name']}"


RUNNING = of_kind("Deployment", "StatefulSet", "Job")
SCALED = of_kind("ScaledObject")


def component(each: dict[str, Any]) -> str:
    return each["metadata"]["labels"]["app.kubernetes.io/component"]


def spec(each: dict[str, Any]) -> dict[str, Any]:
    return each["spec"]["template"]["spec"]


def container(each: dict[str, Any]) -> dict[str, Any]:
    (only,) = spec(each)["containers"]
    return only


def running(name: str) -> dict[str, Any]:
    (found,) = [each for each in RUNNING if component(each) == name]
    return found


def test_every_manifest_is_in_the_base() -> None:
    assert {file.name for file in FOLDER.glob("*.yaml")} == {*KUSTOMIZATION["resources"], "kustomization.yaml"}
    assert len({named(each) for each in OBJECTS}) == len(OBJECTS)


@pytest.mark.parametrize("each", [each for each in OBJECTS if each["kind"] != "ScaledObject"], ids=named)
def test_an_object_is_valid_by_the_schema_of_its_kind(each: dict[str, Any]) -> None:
    kubernetes_validate.validate(each, VERSION, strict=True)


def test_the_check_would_find_a_mistake() -> None:
    wrong = copy.deepcopy(running("gateway"))
    container(wrong)["comand"] = []
    with pytest.raises(kubernetes_validate.ValidationError, match="comand"):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


@pytest.mark.parametrize("each", RUNNING, ids=named)
def test_a_pod_is_locked_up(each: dict[str, Any]) -> None:
    """As Pod Security's level `restricted` asks for, and a root file system that nobody writes to."""
    of_pod, of_container = spec(each)["securityContext"], container(each)["securityContext"]
    assert of_pod["runAsNonRoot"] is True
    assert of_pod["runAsUser"] == of_pod["runAsGroup"] == of_pod["fsGroup"] == 10001
    assert of_pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert of_container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec(each)["automountServiceAccountToken"] is False
    assert spec(each)["enableServiceLinks"] is False
    resources = container(each)["resources"]
    assert {"cpu", "memory"} <= resources["requests"].keys()
    assert "memory" in resources["limits"]


@pytest.mark.parametrize("each", RUNNING, ids=named)
def test_a_pod_runs_the_command_and_image_of_the_compose_file_and_has_as_long_to_end(each: dict[str, Any]) -> None:
    twin = COMPOSE[component(each)]
    assert container(each)["command"] == twin["command"]
    assert container(each)["image"] == twin["image"]
    assert spec(each)["terminationGracePeriodSeconds"] >= int(twin.get("stop_grace_period", "10s").removesuffix("s"))


@pytest.mark.parametrize("each", RUNNING, ids=named)
def test_a_pod_is_given_the_secrets_that_it_needs_and_no_value_of_one(each: dict[str, Any]) -> None:
    name = component(each)
    given = {source["secretRef"]["name"] for source in container(each)["envFrom"] if "secretRef" in source}
    assert given == SECRETS["pools" if name in pools.POOLS else name]
    assert "env" not in container(each)
    assert of_kind("Secret") == []


def test_settings_are_known_and_none_of_them_is_secret() -> None:
    (settings,) = of_kind("ConfigMap")
    known = set(re.findall(r"^(REELWORKS_\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert settings["data"].keys() <= known
    assert not re.search("KEY|SECRET|TOKEN|LOGIN|DATABASE_URL|REDIS_URL", " ".join(settings["data"]))


@pytest.mark.parametrize("name", pools.POOLS)
def test_a_pool_is_ready_while_its_worker_answers_and_is_never_restarted_for_it(name: str) -> None:
    only = container(running(name))

    def close(line: list[str]) -> list[str]:
        return [re.sub(r"\s", "", word) for word in line]

    assert close(only["readinessProbe"]["exec"]["command"]) == close(COMPOSE[name]["healthcheck"]["test"][1:])
    assert "livenessProbe" not in only, "while Redis is away, all would be restarted"


@pytest.mark.parametrize(
    ("name", "alive", "ready"), [("gateway", "/livez", "/readyz"), ("flower", *["/healthcheck"] * 2)]
)
def test_a_server_is_asked_by_http(name: str, alive: str, ready: str) -> None:
    only = container(running(name))
    assert only["livenessProbe"]["httpGet"]["path"] == only["startupProbe"]["httpGet"]["path"] == alive
    assert only["readinessProbe"]["httpGet"]["path"] == ready
    assert [port["name"] for port in only["ports"]] == [only["readinessProbe"]["httpGet"]["port"]] == ["http"]
    assert str(only["ports"][0]["containerPort"]) == only["command"][-1]


def test_answers_that_are_not_in_the_database_yet_outlive_the_pod() -> None:
    create = running("create")
    assert create["kind"] == "StatefulSet"
    assert create["spec"]["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    (claim,) = create["spec"]["volumeClaimTemplates"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container(create)["volumeMounts"]}
    (settings,) = of_kind("ConfigMap")
    assert mounts[claim["metadata"]["name"]] == settings["data"]["REELWORKS_VAR"]


def test_every_pool_and_the_gateway_may_lose_one_pod_at_a_time() -> None:
    kept = {component(each): each["spec"] for each in of_kind("PodDisruptionBudget")}
    assert kept.keys() == {*pools.POOLS, "gateway"}
    for name, budget in kept.items():
        assert budget["maxUnavailable"] == 1
        assert budget["selector"] == running(name)["spec"]["selector"]


def test_selectors_find_the_pods_that_they_mean() -> None:
    for each in of_kind("Deployment", "StatefulSet"):
        assert each["spec"]["selector"]["matchLabels"] == each["spec"]["template"]["metadata"]["labels"]
    for service in of_kind("Service"):
        assert service["spec"]["selector"] == running(component(service))["spec"]["template"]["metadata"]["labels"]


class TestScaling:
    def test_every_pool_scales_and_says_its_number_nowhere_else(self) -> None:
        assert {component(each) for each in SCALED} == set(pools.POOLS)
        for each in SCALED:
            target, pool = each["spec"]["scaleTargetRef"], running(component(each))
            assert target == {
                "apiVersion": pool["apiVersion"],
                "kind": pool["kind"],
                "name": pool["metadata"]["name"],
            }
            assert "replicas" not in pool["spec"]

    @pytest.mark.parametrize("each", SCALED, ids=named)
    def test_it_has_what_the_definition_of_keda_requires(self, each: dict[str, Any]) -> None:
        """`scaleTargetRef.name`, and of each trigger `type` and `metadata`, whose values are strings; the scaler for
        Prometheus requires `serverAddress`, `query` and `threshold`; a fallback takes averages alone."""
        assert each["apiVersion"] == "keda.sh/v1alpha1"
        assert 1 <= each["spec"]["minReplicaCount"] < each["spec"]["maxReplicaCount"]
        assert each["spec"]["fallback"].keys() == {"failureThreshold", "replicas"}
        assert each["spec"]["triggers"]
        for trigger in each["spec"]["triggers"]:
            assert trigger["type"] == "prometheus"
            assert trigger["metricType"] == "AverageValue"
            assert {"serverAddress", "query", "threshold"} <= trigger["metadata"].keys()
            assert all(isinstance(value, str) for value in trigger["metadata"].values())
            assert trigger["metadata"]["ignoreNullValues"] == "false", "no figures are not nothing to do"

    @pytest.mark.parametrize("each", SCALED, ids=named)
    def test_it_goes_by_what_waits_and_not_by_messages_alone(self, each: dict[str, Any]) -> None:
        asked = [trigger["metadata"]["query"] for trigger in each["spec"]["triggers"]]
        assert [promql.problems(query) for query in asked] == [[]] * len(asked)
        assert set().union(*map(promql.names, asked)) - {"reelworks_queue_messages"}


class TestNetwork:
    def chosen(self, policy: dict[str, Any]) -> set[str]:
        """The parts whose pods a policy is for."""
        selector = policy["spec"]["podSelector"]
        labels = selector.get("matchLabels", {})
        for each in selector.get("matchExpressions", []):
            assert each["operator"] == "In"
            if each["key"] == "app.kubernetes.io/component":
                return set(each["values"])
        only = labels.get("app.kubernetes.io/component")
        return {component(each) for each in RUNNING} if only is None else {only}

    def parts(self, name: str) -> set[str]:
        (policy,) = [each for each in of_kind("NetworkPolicy") if each["metadata"]["name"] == f"reelworks-{name}"]
        return self.chosen(policy)

    def test_every_pod_is_closed_to_begin_with(self) -> None:
        (closed,) = [each for each in of_kind("NetworkPolicy") if each["metadata"]["name"] == "reelworks-nothing-else"]
        assert closed["spec"]["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "reelworks"}}
        assert closed["spec"]["policyTypes"] == ["Ingress", "Egress"]
        assert "ingress" not in closed["spec"]
        assert [port["port"] for rule in closed["spec"]["egress"] for port in rule["ports"]] == [53, 53]
        for each in RUNNING:
            assert each["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"] == "reelworks"

    def test_each_part_reaches_what_it_needs_and_no_more(self) -> None:
        everybody = {*pools.POOLS, "gateway", "flower", "migrate"}
        assert self.parts("to-redis") == everybody - {"migrate"}
        assert self.parts("to-database") == everybody - {"flower"}
        assert self.parts("to-outside") == {*pools.POOLS, "gateway"}
        assert self.parts("to-gateway") == {"gateway"}

    def test_what_is_called_by_https_is_on_no_private_address(self) -> None:
        (outside,) = [each for each in of_kind("NetworkPolicy") if each["metadata"]["name"] == "reelworks-to-outside"]
        (rule,) = outside["spec"]["egress"]
        (four,) = [each["ipBlock"] for each in rule["to"] if each["ipBlock"]["cidr"] == "0.0.0.0/0"]
        assert {"10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"} <= set(four["except"])
        assert rule["ports"] == [{"port": 443, "protocol": "TCP"}]
