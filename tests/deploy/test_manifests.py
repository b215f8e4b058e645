"""The files under `deploy/` and the Dockerfile, looked over by the programs that know their forms."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway import __version__, routefile
from gateway.explain import failures
from tests.conftest import ROOT
from tests.real.browser import without
from tests.real.containers import MANIFESTS, rendered

KUBERNETES = "1.29"  # the first that has native sidecars without a switch
SIDECARS = ["base", "overlays/demo", "overlays/unix-socket", "overlays/production"]
EVERY = [*SIDECARS, "standalone"]


def tool(name: str) -> Path:
    path = ROOT / ".deploy" / "bin" / name
    return path if path.exists() else without(f"{name} is not installed; `make deploy-tools` does it")


def ran(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    done = ran(tool("hadolint"), "--failure-threshold", "style", "Dockerfile")

    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_would_find_something(tmp_path: Path) -> None:
    poor = tmp_path / "Dockerfile"
    poor.write_text("FROM debian\nRUN cd /x && apt-get install gcc\n", "utf-8")

    done = ran(tool("hadolint"), poor)

    assert done.returncode == 1
    assert "DL3008" in done.stdout


def test_the_image_is_built_with_the_version_that_there_is() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")

    assert f"\nARG VERSION={__version__}\n" in text
    assert f"newTag: {__version__}\n" in (MANIFESTS / "overlays/production/kustomization.yaml").read_text("utf-8")


@pytest.fixture(scope="module")
def manifests() -> dict[str, list[Any]]:
    return {name: rendered(MANIFESTS / name) for name in EVERY}


def one(documents: list[Any], kind: str, name: str = "") -> Any:
    (found,) = [d for d in documents if d["kind"] == kind and d["metadata"]["name"].startswith(name)]
    return found


@pytest.mark.parametrize("name", EVERY)
def test_what_kustomize_renders_is_valid(manifests: dict[str, list[Any]], name: str, tmp_path: Path) -> None:
    # The Prometheus operator's kind is no part of Kubernetes, and its schema is nowhere among the packages.
    own = [document for document in manifests[name] if document["kind"] != "PodMonitor"]
    file = tmp_path / "all.yaml"
    file.write_text(yaml.safe_dump_all(own), "utf-8")

    done = ran(tool("kubernetes-validate"), "--strict", "-k", KUBERNETES, file)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("passed for resource") == len(own) >= 5
    assert "WARN" not in done.stdout + done.stderr


def test_the_validator_would_find_a_misspelt_key(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    text = (MANIFESTS / "base" / "deployment.yaml").read_text("utf-8")
    file.write_text(text.replace("readOnlyRootFilesystem", "readOnlyRootFileSystem"), "utf-8")

    done = ran(tool("kubernetes-validate"), "--strict", "-k", KUBERNETES, file)

    assert done.returncode != 0


@pytest.mark.parametrize("name", EVERY)
def test_every_container_is_locked_down_and_bounded(manifests: dict[str, list[Any]], name: str) -> None:
    spec = one(manifests[name], "Deployment")["spec"]["template"]["spec"]
    containers = [*spec.get("initContainers", []), *spec["containers"]]

    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert containers
    for container in containers:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert set(container["resources"]) == {"requests", "limits"}


@pytest.mark.parametrize("name", EVERY)
def test_several_workers_find_a_folder_to_meet_in(manifests: dict[str, list[Any]], name: str) -> None:
    spec = one(manifests[name], "Deployment")["spec"]["template"]["spec"]
    (gateway,) = [c for c in [*spec.get("initContainers", []), *spec["containers"]] if c["name"] == "gateway"]
    (mounted,) = [mount for mount in gateway["volumeMounts"] if mount["mountPath"] == "/tmp"]
    (volume,) = [volume for volume in spec["volumes"] if volume["name"] == mounted["name"]]

    assert not mounted.get("readOnly")
    assert "emptyDir" in volume


@pytest.mark.parametrize("name", SIDECARS)
def test_the_gateway_is_a_native_sidecar_and_the_service_has_no_port(
    manifests: dict[str, list[Any]], name: str
) -> None:
    spec = one(manifests[name], "Deployment")["spec"]["template"]["spec"]
    (gateway,) = spec["initContainers"]
    service = spec["containers"][0]

    assert (gateway["name"], gateway["restartPolicy"]) == ("gateway", "Always")
    assert {port["containerPort"] for port in gateway["ports"]} == {8080, 9090}
    assert "ports" not in service
    assert service["lifecycle"]["preStop"]


@pytest.mark.parametrize("name", EVERY)
def test_a_pod_has_time_to_end_in_order(manifests: dict[str, list[Any]], name: str) -> None:
    documents = manifests[name]
    spec = one(documents, "Deployment")["spec"]["template"]["spec"]
    config = served(documents)
    hook = spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["", "0"])

    assert config.shutdown.delay_s == 5
    assert spec["terminationGracePeriodSeconds"] > float(hook[1]) + config.shutdown.delay_s + config.shutdown.grace_s


def served(documents: list[Any]) -> routefile.Config:
    """The route file as the pod's gateway would read it."""
    spec = one(documents, "Deployment")["spec"]["template"]["spec"]
    (gateway,) = [c for c in [*spec.get("initContainers", []), *spec["containers"]] if c["name"] == "gateway"]
    environment = {
        variable["name"]: variable.get("value", "P2demo0000000000000000000000") for variable in gateway["env"]
    }
    text = one(documents, "ConfigMap", "gateway-routes")["data"]["routes.yaml"]
    return routefile.parse(text, "routes.yaml", environment)


@pytest.mark.parametrize("name", EVERY)
def test_the_route_file_can_be_served_and_does_what_its_tests_say(manifests: dict[str, list[Any]], name: str) -> None:
    config = served(manifests[name])

    assert failures(config) == ()
    assert bool(config.upstreams[0].socket_path) == (name == "overlays/unix-socket")


@pytest.mark.parametrize("name", EVERY)
def test_the_project_comes_from_a_secret_and_only_the_demos_is_in_the_tree(
    manifests: dict[str, list[Any]], name: str
) -> None:
    assert [d["kind"] for d in manifests[name]].count("Secret") == (1 if name.endswith("demo") else 0)
    assert "secretKeyRef" in yaml.safe_dump(one(manifests[name], "Deployment"))


@pytest.mark.parametrize("name", EVERY)
def test_the_admin_listener_is_for_prometheus_alone(manifests: dict[str, list[Any]], name: str) -> None:
    documents = manifests[name]
    pods = one(documents, "Deployment")["spec"]["template"]["metadata"]["labels"]
    (policy,) = [
        d for d in documents if d["kind"] == "NetworkPolicy" and d["spec"]["podSelector"]["matchLabels"] == pods
    ]
    open_to_all = [port["port"] for rule in policy["spec"]["ingress"] if "from" not in rule for port in rule["ports"]]
    service = one(documents, "Service")["spec"]

    assert open_to_all == [8080]
    assert [port["targetPort"] for port in service["ports"]] == ["http"]
    assert service["selector"] == pods == one(documents, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]


def test_the_pod_monitor_scrapes_a_port_that_there_is(manifests: dict[str, list[Any]]) -> None:
    documents = manifests["overlays/production"]
    monitor = one(documents, "PodMonitor")["spec"]
    template = one(documents, "Deployment")["spec"]["template"]
    ports = {port["name"] for port in template["spec"]["initContainers"][0]["ports"]}

    assert {endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]} == {"admin"} <= ports
    assert monitor["selector"]["matchLabels"] == template["metadata"]["labels"]
