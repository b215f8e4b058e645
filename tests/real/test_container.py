"""The image as the Dockerfile makes it, in a pod made from the manifests, asked over the network."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from gateway import __version__
from tests.conftest import ROOT
from tests.real.browser import free_port, without
from tests.real.containers import BASE, IMAGE, MANIFESTS, POD, Pod, built, environment, playing, rendered, run, status

pytestmark = pytest.mark.timeout(500)  # the first run on a machine makes the base image
ADA, BOB = ("ada@example.com", "ada-demo-password"), ("bob@example.com", "bob-demo-password")
SITE = "http://localhost:8080"
HOST = {"Host": "localhost:8080"}


@pytest.fixture(scope="session")
def image() -> str:
    return built()


@pytest_asyncio.fixture(loop_scope="session", params=["loopback", "unix socket"])
async def pod(image: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Pod]:
    """The demo's pod; the service listens on loopback, or on a socket that it shares with the gateway."""
    folder = tmp_path / "kubernetes"
    shutil.copytree(MANIFESTS, folder)
    overlay = folder / "overlays" / "demo"
    if request.param == "unix socket":
        shutil.copyfile(folder / "overlays" / "unix-socket" / "socket.yaml", overlay / "socket.yaml")
        path = overlay / "kustomization.yaml"
        target = "target: {group: apps, version: v1, kind: Deployment, name: legacy}"
        path.write_text(path.read_text("utf-8") + f"  - path: socket.yaml\n    {target}\n", "utf-8")
    async with playing(rendered(overlay), tmp_path) as running:
        yield running


class Visitor:
    """Somebody's browser, as far as cookies go."""

    def __init__(self, http: aiohttp.ClientSession, pod: Pod) -> None:
        self._http = http
        self._url = f"http://{pod.address}:8080"
        self.cookies: dict[str, str] = {}

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, dict[str, str], bytes]:
        headers = HOST | {"Origin": SITE}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        async with self._http.request(method, self._url + path, headers=headers, **options) as reply:
            given = {name: morsel.value for name, morsel in reply.cookies.items()}
            self.cookies = {name: value for name, value in (self.cookies | given).items() if value}
            return reply.status, dict(reply.headers), await reply.read()

    async def sign_in(self, person: tuple[str, str]) -> None:
        told = {"login_id": person[0], "password": person[1]}
        answer, _, body = await self.ask("POST", "/.auth/password/signin", json=told)
        assert (answer, set(self.cookies)) == (200, {"DS", "DSR"}), body


@asynccontextmanager
async def visitor(pod: Pod) -> AsyncIterator[Visitor]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        yield Visitor(http, pod)


async def test_a_pod_refuses_signs_in_admits_and_renews(pod: Pod) -> None:
    async with visitor(pod) as nobody, visitor(pod) as ada, visitor(pod) as bob:
        refused, _, body = await nobody.ask("GET", "/")
        await ada.sign_in(ADA)
        await bob.sign_in(BOB)
        admitted, _, shown = await ada.ask("GET", "/admin/x")
        not_his, _, why = await bob.ask("GET", "/admin/x")
        first = bob.cookies.pop("DS")
        renewed, _, seen = await bob.ask("GET", "/x")

        assert (refused, json.loads(body)["reason"]) == (401, "no_credentials")
        assert (admitted, json.loads(shown)["headers"]["X-Auth-Roles"]) == (200, "admin,user")
        assert (not_his, json.loads(why)["reason"]) == (403, "role_missing")
        assert renewed == 200
        assert json.loads(seen)["headers"]["X-Auth-Subject"]
        assert bob.cookies["DS"] != first


async def test_from_outside_the_pod_nothing_but_the_gateway_is_reached(pod: Pod) -> None:
    places = {port: await status(pod, port, "/static/site.css") for port in (8080, 9000, 8200)}
    inside = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8200/_emulator/requests').status)"
    emulator = await pod.inside("gateway", "/opt/gateway/bin/python", "-c", inside)

    assert places == {8080: 200, 9000: None, 8200: None}
    assert emulator == (0, "200\n")  # it is there, for those inside


async def test_the_gateway_in_the_pod_has_no_rights_and_nothing_to_write_to(pod: Pod) -> None:
    what = "import os; print(os.getuid(), open('/proc/self/status').read())"
    _, told = await pod.inside("gateway", "/opt/gateway/bin/python", "-c", what)
    ended, why = await pod.inside("gateway", "touch", "/opt/gateway/x")
    rooted, why_not = await pod.inside("gateway", "touch", "/var/tmp/x")
    alive = await pod.inside("gateway", "gateway", "healthcheck")

    fields = dict(line.split(":\t", 1) for line in told.splitlines()[1:] if ":\t" in line)
    assert told.split()[0] == "65532"
    assert (fields["CapEff"], fields["CapBnd"], fields["NoNewPrivs"]) == ("0" * 16, "0" * 16, "1")
    assert (ended, rooted) == (1, 1)
    assert "Read-only file system" in why
    assert "Read-only file system" in why_not
    assert alive == (0, "alive\n")


async def _upload(pod: Pod, cookies: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(pod.address, 8080)
    head = (
        f"POST /x HTTP/1.1\r\nHost: localhost:8080\r\nOrigin: {SITE}\r\nCookie: {cookies}\r\nContent-Length: 8\r\n\r\n"
    )
    writer.write(head.encode() + b"four")
    await writer.drain()
    return reader, writer


async def _finished(upload: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> int:
    """The bytes that the service counted, of an upload now sent to its end."""
    reader, writer = upload
    writer.write(b"more")
    reply = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), reply
    return int(json.loads(body)["body_bytes"])


async def test_a_stop_loses_no_request_that_has_begun(pod: Pod) -> None:
    async with visitor(pod) as ada:
        await ada.sign_in(ADA)
        cookies = "; ".join(f"{name}={value}" for name, value in ada.cookies.items())
        begun = [await _upload(pod, cookies) for _ in range(20)]
        stopping = asyncio.ensure_future(pod.podman("stop", "--time=40", f"{POD}-gateway"))
        while await status(pod, 9090, "/readyz") != 503:
            await asyncio.sleep(0.02)
        # For as long as shutdown.delay, whoever has not yet noticed is served.
        meanwhile, _, _ = await ada.ask("GET", "/x")
        early = [await _finished(upload) for upload in begun[:10]]
        while await status(pod, 8080, "/static/site.css") is not None:
            await asyncio.sleep(0.05)
        late = [await _finished(upload) for upload in begun[10:]]
        await stopping
        ended = await pod.podman("inspect", "-f", "{{.State.ExitCode}}", f"{POD}-gateway")

        assert meanwhile == 200
        assert (early, late) == ([8] * 10, [8] * 10)
        assert ended.strip() == "0"


# --- the image --------------------------------------------------------------------------------------------------------


async def test_the_image_says_what_it_is_and_how_it_is_run(image: str) -> None:
    (about,) = json.loads(run("podman", "image", "inspect", image))
    config = about["Config"]

    assert {key.rpartition(".")[2]: value for key, value in config["Labels"].items() if "opencontainers" in key} == {
        "title": "gateway",
        "description": "Descope sessions in front of services that know nothing about sign-in",
        "licenses": "MIT",
        "version": __version__,
        "revision": "0123abc",
        "name": BASE,
    }
    assert (config["User"], config["StopSignal"]) == ("65532:65532", "SIGTERM")
    assert config["Entrypoint"] + config["Cmd"] == ["gateway", "serve"]
    assert about["Healthcheck"]["Test"] == ["CMD", "gateway", "healthcheck"]


def _in_image(script: str) -> subprocess.CompletedProcess[str]:
    options = ["--rm", "--network=none", "--read-only", "--cap-drop=ALL", "--entrypoint=/bin/sh"]
    return subprocess.run(
        ["podman", "run", *options, IMAGE, "-c", script],
        env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


async def test_nothing_that_installs_or_compiles_is_in_the_image(image: str) -> None:
    done = _in_image("for p in pip pip3 gcc cc make; do command -v $p; done; python3 -m pip --version")

    assert done.stdout == ""
    assert "No module named pip" in done.stderr


async def test_the_flow_component_is_in_the_image_when_it_was_fetched_before(image: str) -> None:
    where = "gateway/component/files/web-component.js"
    done = _in_image(f"ls /opt/gateway/lib/python3*/site-packages/{where}")

    assert (done.returncode == 0) == (ROOT / where).exists()


async def test_every_module_in_the_image_is_byte_compiled(image: str) -> None:
    count = "find . -name '*.py' | wc -l && find . -name '*.pyc' | wc -l"
    script = f"cd /opt/gateway/lib/python3*/site-packages/gateway && {count}"
    sources, compiled = _in_image(script).stdout.split()

    assert int(sources) == int(compiled) > 100


# --- compose ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def composed(folder: Path) -> AsyncIterator[tuple[int, str]]:
    """The project of deploy/compose, brought up by Docker's compose on podman: where it is published, and its name."""
    program = shutil.which("docker-compose") or without("docker-compose is not installed")
    engine = folder / "engine"
    port, project = free_port(), f"gateway-test-{free_port()}"
    compose = (program, "-p", project, "-f", str(ROOT / "deploy" / "compose" / "compose.yaml"))
    settings = {**environment(), "GATEWAY_PORT": str(port), "DOCKER_HOST": f"unix://{engine}"}
    settings.pop("DESCOPE_PROJECT_ID", None)
    service = await asyncio.create_subprocess_exec(
        "podman", "system", "service", "--time=0", f"unix://{engine}", env=settings, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        while not engine.exists():
            await asyncio.sleep(0.02)
        process = await asyncio.create_subprocess_exec(
            *(*compose, "up", "--detach", "--no-build"),
            env=settings,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await asyncio.wait_for(process.communicate(), 120)
        assert process.returncode == 0, said.decode()[-3000:]
        yield port, project
    finally:
        # Not `down`: podman 4.3 removes nothing whose network others share, and compose does not know the order.
        for command in ("rm --force --ignore --depend --time=0", "network rm --force"):
            name = f"{project}_gateway_1" if command.startswith("rm") else f"{project}_default"
            await asyncio.to_thread(run, "podman", *command.split(), name)
        service.terminate()
        await service.wait()


async def test_compose_brings_up_all_three_and_only_the_gateway_is_reached(image: str, tmp_path: Path) -> None:
    async with composed(tmp_path) as (port, project), aiohttp.ClientSession() as http:
        site = f"http://localhost:{port}"
        told = {"login_id": "ada@example.com", "password": "ada-demo-password"}
        answer = 0
        for _ in range(200):
            with suppress(aiohttp.ClientError):
                async with http.post(f"{site}/.auth/password/signin", json=told, headers={"Origin": site}) as reply:
                    answer = reply.status
            if answer == 200:
                break
            await asyncio.sleep(0.1)
        async with http.get(f"{site}/admin/x") as admitted:
            shown = await admitted.json(content_type=None)
        async with aiohttp.ClientSession() as nobody, nobody.get(f"{site}/admin/x") as refused:
            pass
        about = json.loads(run("podman", "inspect", f"{project}_gateway_1"))[0]
        (network,) = about["NetworkSettings"]["Networks"].values()
        beside = [await status(Pod(network["IPAddress"]), other, "/static/site.css") for other in (8080, 9000, 8200)]

        assert (admitted.status, shown["headers"]["X-Auth-Roles"]) == (200, "admin,user")
        assert refused.status == 401
        assert beside == [200, None, None]
        assert about["HostConfig"]["ReadonlyRootfs"] is True
