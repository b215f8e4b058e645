"""The gateway's image built by its Dockerfile, and pods made from the manifests under `deploy/kubernetes`.

Needs root, buildah, podman, runc and debootstrap, and Debian's archive for the base image, which is made once and kept
with podman's own store in `GATEWAY_CONTAINER_CACHE` (/var/cache/gateway-tests where that is not set). Podman 4.3, which
Debian 12 has, knows no native sidecars, so an init container with `restartPolicy: Always` becomes a container; it keeps
secrets in a form of its own; and it would publish every `containerPort` on the machine, so they are left out with the
probes that name them. Everything else of the manifests is played as it stands.
"""

import asyncio
import json
import os
import shutil
import subprocess
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.real.browser import without

CACHE = Path(os.environ.get("GATEWAY_CONTAINER_CACHE") or "/var/cache/gateway-tests")
PROGRAMS = ("buildah", "podman", "runc", "debootstrap")
BASE, IMAGE = "localhost/gateway-tests-base:bookworm", "localhost/gateway:latest"
PACKAGES = "python3,python3-pip,python3-venv,ca-certificates"
MANIFESTS = ROOT / "deploy" / "kubernetes"
POD = "legacy-pod-0"
NETWORKS = Path("/usr/lib/podman/netavark")
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_LEFT_OUT = {"restartPolicy", "ports", "startupProbe", "readinessProbe", "livenessProbe"}
_PATIENCE = 400  # times a twentieth of a second

# crun, podman's usual choice, refuses machines without systemd's tree of control groups.
_CONTAINERS = """\
[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
_STORAGE = """\
[storage]
driver = "overlay"
graphroot = "{cache}/storage"
runroot = "{cache}/run"
"""


def kubectl() -> str:
    """The one that `make deploy-tools` installs."""
    path = ROOT / ".deploy" / "bin" / "kubectl"
    return str(path) if path.exists() else without("kubectl is not installed; `make deploy-tools` does it")


def rendered(folder: Path) -> list[Any]:
    """What `kubectl apply -k` would send to a cluster."""
    done = subprocess.run([kubectl(), "kustomize", folder], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # it tells there what is deprecated
    return list(yaml.safe_load_all(done.stdout))


def environment() -> Mapping[str, str]:
    """For podman and buildah: a store of their own, apart from the machine's."""
    return os.environ | {
        "CONTAINERS_CONF": str(CACHE / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(CACHE / "storage.conf"),
    }


def run(*command: str | Path, timeout_s: float = 240) -> str:
    """What the command wrote; fails with all that it said if it failed."""
    done = subprocess.run(
        command, env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    said = f"{' '.join(map(str, command))}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert done.returncode == 0, said
    return done.stdout


def built() -> str:
    """The name of the image, built from this tree; skips aloud where that cannot be."""
    for program in PROGRAMS:
        if shutil.which(program) is None:
            without(f"{program} is not installed")
    if not NETWORKS.exists():
        without("netavark is not installed")
    if os.geteuid() != 0:
        without("containers are made as root here")
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE / "containers.conf").write_text(_CONTAINERS, "utf-8")
    (CACHE / "storage.conf").write_text(_STORAGE.format(cache=CACHE), "utf-8")
    if subprocess.run(["podman", "image", "exists", BASE], env=environment(), check=False).returncode:
        _make_base()
    arguments = {"BASE": BASE, "REVISION": "0123abc"}
    options = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    run("buildah", "build", "--isolation=chroot", "--pull=never", "--format=docker", *options, "-t", IMAGE, ".")
    run("podman", "image", "prune", "--force")  # what earlier runs built
    return IMAGE


def _make_base() -> None:
    """Debian 12 with Python, imported as an image; with the machine's certificates and its way to Python packages."""
    folder = CACHE / "rootfs"
    shutil.rmtree(folder, ignore_errors=True)
    run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", folder, timeout_s=400)
    shutil.copyfile(_CERTIFICATES, folder / _CERTIFICATES.lstrip("/"))
    for waste in (folder / "var" / "cache" / "apt" / "archives", folder / "var" / "lib" / "apt" / "lists"):
        shutil.rmtree(waste, ignore_errors=True)
    left_out = [f"--exclude=./{name}/*" for name in ("proc", "sys", "dev")]
    run("tar", "-C", folder, *left_out, "-cf", CACHE / "base.tar", ".")
    settings = {"PIP_CERT": _CERTIFICATES} | {n: v for n in ("PIP_INDEX_URL",) if (v := os.environ.get(n))}
    changes = [f"--change=ENV {name}={value}" for name, value in settings.items()]
    run("podman", "import", "--quiet", *changes, CACHE / "base.tar", BASE)
    (CACHE / "base.tar").unlink()
    shutil.rmtree(folder)


# --- pods -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that runs; address: where this machine reaches it."""

    address: str

    async def podman(self, *arguments: str) -> str:
        return await asyncio.to_thread(run, "podman", *arguments)

    async def inside(self, container: str, *command: str) -> tuple[int, str]:
        """What a command in one of its containers ended with and wrote, errors included."""
        done = await asyncio.to_thread(
            subprocess.run,
            ["podman", "exec", f"{POD}-{container}", *command],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=30,
            check=False,
        )
        return done.returncode, done.stdout

    async def logs(self, container: str) -> str:
        return await self.podman("logs", f"{POD}-{container}")


@asynccontextmanager
async def playing(documents: list[Any], folder: Path) -> AsyncIterator[Pod]:
    """A pod made from rendered manifests, whose gateway is ready."""
    file = folder / "play.yaml"
    secrets = [document for document in documents if document["kind"] == "Secret"]
    file.write_text(yaml.safe_dump_all(_played(documents)), "utf-8")
    await _gone(secrets)
    try:
        for secret in secrets:
            data = folder / "secret.json"
            told = {name: b64encode(value.encode()).decode() for name, value in secret["stringData"].items()}
            data.write_text(json.dumps(told), "utf-8")
            await asyncio.to_thread(run, "podman", "secret", "create", secret["metadata"]["name"], data)
        await asyncio.to_thread(run, "podman", "play", "kube", file)
        infra = await asyncio.to_thread(run, "podman", "pod", "inspect", "-f", "{{.InfraContainerID}}", POD)
        found = await asyncio.to_thread(run, "podman", "inspect", infra.strip())
        (network,) = json.loads(found)[0]["NetworkSettings"]["Networks"].values()
        pod = Pod(network["IPAddress"])
        await _until_ready(pod)
        yield pod
    finally:
        await _gone(secrets)


async def _gone(secrets: list[Any]) -> None:
    await asyncio.to_thread(run, "podman", "pod", "rm", "--force", "--ignore", "--time=0", POD)
    for secret in secrets:
        command = ["podman", "secret", "rm", secret["metadata"]["name"]]
        await asyncio.to_thread(subprocess.run, command, env=environment(), capture_output=True, check=False)


def _played(documents: list[Any]) -> Iterator[Any]:
    for document in documents:
        if document["kind"] == "Deployment":
            spec = document["spec"]["template"]["spec"]
            every = [*spec.pop("initContainers", []), *spec["containers"]]
            spec["containers"] = [{k: v for k, v in one.items() if k not in _LEFT_OUT} for one in every]
            yield document
        elif document["kind"] == "ConfigMap":
            yield document


async def _until_ready(pod: Pod) -> None:
    for _ in range(_PATIENCE):
        if await status(pod, 9090, "/readyz") == 200:
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"the pod's gateway is not ready:\n{await pod.logs('gateway')}\n{await pod.podman('ps', '-a')}")


async def status(pod: Pod, port: int, path: str) -> int | None:
    """The status of a GET on a connection of its own; None where nobody listens."""
    try:
        reader, writer = await asyncio.open_connection(pod.address, port)
    except OSError:
        return None
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost:8080\r\nConnection: close\r\n\r\n".encode())
        head = await reader.readline()
    finally:
        writer.close()
    return int(head.split()[1]) if head else None
