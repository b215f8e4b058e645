"""The command as people run it: real processes, real signals, and never a traceback."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import certifi
import pytest

from gateway.emulator import Emulator, load_seed
from gateway.emulator import serve as emulating

ROOT = Path(__file__).parent.parent
LOOPBACK = "127.0.0.1"
PROJECT = "P2demo0000000000000000000000"
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "SSL_CERT_FILE": certifi.where()}
CLOSED = "http://127.0.0.1:1"  # nobody listens there

GOOD = """\
version: 1
descope: {project_id: P2demo0000000000000000000000, base_url: "${DESCOPE_BASE_URI:-http://127.0.0.1:1}"}
server: {public_urls: ["http://app.example.com"], cookies: {secure: false}}
upstreams:
  legacy: {url: "${LEGACY_URL:-http://127.0.0.1:9000}"}
limits:
  person: {rate: 20/s, burst: 40, per: subject}
routes:
  - {id: open, match: {path: "/static/**"}, auth: public, upstream: legacy}
  - {id: admin, match: {path: "/admin/**"}, require: {roles: {any: [admin]}}, limit: [person], upstream: legacy}
tests:
  - {request: "GET /admin/x", as: {roles: [user]}, expect: "403 role_missing"}
  - {request: "GET /admin/x", as: anonymous, expect: "401 no_credentials"}
"""


def gateway(
    *arguments: str, environment: Mapping[str, str] | None = None, cwd: Path = ROOT, given: str = ""
) -> subprocess.CompletedProcess[str]:
    """One run of the command to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        env={**ENVIRONMENT, **(environment or {})},
        cwd=cwd,
        input=given,
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    return done


@pytest.fixture
def routes(tmp_path: Path) -> Path:
    path = tmp_path / "routes.yaml"
    path.write_text(GOOD)
    return path


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.create_server((LOOPBACK, 0)) as listening:
        yield listening.getsockname()[1]


def free_port() -> int:
    with taken_port() as port:
        return port


# --- saying what there is -------------------------------------------------------------------------------------------


def test_help_names_every_command() -> None:
    done = gateway("--help")

    assert done.returncode == 0
    named = [line.split()[0] for line in done.stdout.partition("Commands:")[2].splitlines() if line.strip()]
    assert named == ["serve", "check", "explain", "diff", "schema", "healthcheck", "emulator", "demo"]


def test_help_loads_nothing_that_takes_long() -> None:
    heavy = "{'aiohttp', 'descope', 'httpx', 'jinja2', 'pydantic', 'rich', 'structlog', 'uvloop', 'yaml'}"
    code = f"import sys, gateway.cli; print(sorted({heavy} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_serving_loads_nothing_that_draws_in_colours_and_leaves_it_to_others() -> None:
    code = (
        "import sys; from gateway.process import import_to_serve; import_to_serve();"
        " print(sorted({'rich', 'pygments', 'gateway.app'} & set(sys.modules))); import gateway.reports"
    )

    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "['gateway.app']"


def test_the_version_is_told() -> None:
    assert gateway("--version").stdout.startswith("gateway 0.")


def test_the_schema_is_json() -> None:
    done = gateway("schema")

    assert done.returncode == 0
    assert "routes" in json.loads(done.stdout)["properties"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        pytest.param(["serv"], "serv", id="an unknown command"),
        pytest.param(["serve"], "GATEWAY_CONFIG", id="no route file"),
        pytest.param(["serve", "--config", "x", "--listen", "8080"], "--listen", id="a listen address without a host"),
        pytest.param(["serve", "--config", "x", "--admin", "a:b"], "--admin", id="an admin address without a port"),
        pytest.param(["explain", "GET", "/"], "--config", id="explain without a file"),
        pytest.param(["healthcheck", "--admin", "nowhere"], "--admin", id="a wrong address to check"),
        pytest.param(["emulator", "--listen", "8200"], "--listen", id="a wrong address for the emulator"),
        pytest.param(["emulator", "--listen", "0.0.0.0:0"], "--allow-remote", id="an emulator for everybody"),
        pytest.param(["demo", "--port", "0"], "--port", id="a demo without a port"),
        pytest.param(["demo", "--port", "9000"], "9000", id="a demo with one port twice"),
    ],
)
def test_wrong_usage_is_said_and_ends_with_2(arguments: list[str], named: str) -> None:
    done = gateway(*arguments)

    assert done.returncode == 2
    assert named in done.stderr
    assert not done.stdout


@pytest.mark.parametrize(
    ("options", "named"),
    [
        pytest.param(["--as", "{roles: [admin]}"], "not JSON", id="a caller that is not JSON"),
        pytest.param(["--as", "[]"], "JSON object", id="a caller that is a list"),
        pytest.param(["--as", '{"rolls": []}'], "'rolls'", id="a caller with a misspelt property"),
        pytest.param(["--as", "{}", "--token", "x"], "--token and --as", id="two callers"),
        pytest.param(["--client", "somewhere"], "--client", id="a client without an address"),
    ],
)
def test_a_wrong_caller_is_said_and_ends_with_2(routes: Path, options: list[str], named: str) -> None:
    done = gateway("explain", "GET", "/", "--config", str(routes), *options)

    assert done.returncode == 2
    assert named in done.stderr


def test_a_url_without_scheme_and_slash_is_said(routes: Path) -> None:
    done = gateway("explain", "GET", "app.example.com/admin", "--config", str(routes))

    assert done.returncode == 2
    assert "neither a path such as /admin/" in done.stderr


# --- check ----------------------------------------------------------------------------------------------------------


def test_check_counts_what_is_good(routes: Path) -> None:
    done = gateway("check", str(routes))

    assert done.returncode == 0, done.stdout
    assert "good; 2 routes, 2 tests, all passed" in done.stdout


def test_check_tells_every_problem_with_its_place(routes: Path) -> None:
    text = GOOD.replace("auth: public", "auth: pubilc").replace("limit: [person]", "limit: [persons]")
    routes.write_text(text)

    done = gateway("check", str(routes))

    assert done.returncode == 1
    assert f"{routes}:9:" in done.stdout
    assert f"{routes}:10:" in done.stdout
    assert "2 problems" in done.stdout


def test_check_tells_each_failed_test_with_what_happened_and_why(routes: Path) -> None:
    routes.write_text(GOOD + '  - {request: "GET /admin/x", as: {roles: [user]}, expect: "200"}\n')

    done = gateway("check", str(routes))

    assert done.returncode == 1
    assert f"{routes}:14:" in done.stdout
    assert "403 role_missing" in done.stdout
    assert "roles any of admin" in done.stdout
    assert "3 tests, 1 of them failed" in done.stdout


def test_an_unset_variable_is_named(routes: Path) -> None:
    routes.write_text(GOOD.replace("P2demo0000000000000000000000", '"${DESCOPE_PROJECT_ID}"'))

    done = gateway("check", str(routes))

    assert done.returncode == 1
    assert "DESCOPE_PROJECT_ID" in done.stdout


@pytest.mark.parametrize("name", ["missing.yaml", "."], ids=["no such file", "a folder"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name

    for arguments in (["check", str(path)], ["serve", "--config", str(path)]):
        done = gateway(*arguments)

        assert done.returncode == 1
        assert str(path) in done.stdout + done.stderr


def test_the_repositorys_route_file_is_good() -> None:
    done = gateway("check", "config/routes.yaml", environment={"DESCOPE_PROJECT_ID": PROJECT})

    assert done.returncode == 0, done.stdout


# --- explain --------------------------------------------------------------------------------------------------------


def test_explain_tells_routes_conditions_and_verdict(routes: Path) -> None:
    done = gateway("explain", "get", "/admin/x", "--config", str(routes), "--as", '{"roles": ["user"]}')

    assert done.returncode == 1
    assert "http://app.example.com/admin/x" in done.stdout
    assert "> admin" in done.stdout
    assert "miss  roles any of admin  role_missing" in done.stdout
    assert "Refused: 403 role_missing" in done.stdout
    assert "Not simulated: the route's limits person (per subject)" in done.stdout


@pytest.mark.parametrize(
    ("url", "options", "code", "verdict"),
    [
        pytest.param("/static/x", [], 0, "Admitted", id="public"),
        pytest.param("/admin/x", ["--as", '{"roles": ["admin"]}'], 0, "Admitted", id="an admin"),
        pytest.param("/admin/x", [], 1, "Refused: 401 no_credentials", id="nobody"),
        pytest.param("/admin/x", ["--as", "anonymous"], 1, "Refused: 401 no_credentials", id="nobody, said"),
        pytest.param("/nowhere", [], 1, "Refused: 404 no_route", id="no route"),
        pytest.param("/a/../b", [], 1, "Refused: 400 bad_target", id="an ambiguous path"),
        pytest.param("/.auth/me", [], 0, "Answered by the gateway", id="the gateway's own"),
    ],
)
def test_explains_exit_code_is_the_verdict(routes: Path, url: str, options: list[str], code: int, verdict: str) -> None:
    done = gateway("explain", "GET", url, "--config", str(routes), *options)

    assert done.returncode == code
    assert verdict in done.stdout


def test_what_could_speak_to_a_terminal_is_escaped(routes: Path) -> None:
    done = gateway("explain", "GET", "/", "--config", str(routes), "--as", '{"subject": "U2\\u001b[31m[red]x"}')

    assert "\x1b" not in done.stdout
    assert "U2\\x1b[31m[red]x" in done.stdout


async def _explained(routes: Path, base_url: str, token: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "explain", "GET", "/admin/", "--config", str(routes), "--token", "-"),
        env={**ENVIRONMENT, "DESCOPE_BASE_URI": base_url},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate(token.encode())
    assert process.returncode is not None
    told = output.decode()
    assert token not in told
    assert "Traceback" not in told
    return process.returncode, told


async def test_a_token_is_verified_with_the_projects_keys(routes: Path, signing_keys: Any) -> None:
    emulator = Emulator(load_seed(ROOT / "config" / "emulator.yaml"), keys=signing_keys)
    ada, ada_refresh = emulator.sign_in("ada@example.com")
    head, claims, _ = ada.split(".")
    forged = ".".join((head, claims, emulator.sign_in("bob@example.com")[0].split(".")[2]))

    async with emulating(emulator, LOOPBACK, 0) as base_url:
        answers = await asyncio.gather(*(_explained(routes, base_url, one) for one in (ada, forged, ada_refresh)))

    assert [code for code, _ in answers] == [0, 1, 1]
    assert "Admitted" in answers[0][1]
    assert "token_bad_signature" in answers[1][1]
    assert "token_wrong_kind" in answers[2][1]


async def test_a_token_that_cannot_be_verified_admits_nobody_and_says_why(routes: Path) -> None:
    code, told = await _explained(routes, CLOSED, "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJVMmFkYSJ9.c2lnbmF0dXJl")

    assert code == 1
    assert f"could not be had from {CLOSED}" in told
    assert "503 identity_provider_unavailable" in told


async def test_an_access_key_given_as_a_token_is_said(routes: Path) -> None:
    code, told = await _explained(routes, CLOSED, "K2worker00000000000000000000demoworkerkey")

    assert code == 1
    assert "access keys are not exchanged here" in told


# --- serve ----------------------------------------------------------------------------------------------------------


@dataclass
class Running:
    """A gateway in a process of its own."""

    process: asyncio.subprocess.Process
    url: str
    admin: str
    log: Path

    async def ended(self) -> int:
        async with asyncio.timeout(10):
            return await self.process.wait()


async def until(true: Callable[[], Any]) -> Any:
    async with asyncio.timeout(10):
        while not (found := true()):
            await asyncio.sleep(0.02)
    return found


def serving(log: Path) -> dict[str, Any] | None:
    """The log line that says where a gateway listens, once it is there."""
    events = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
    return next((event for event in events if event["event"] == "serving"), None)


@asynccontextmanager
async def running(routes: Path, **environment: str) -> AsyncIterator[Running]:
    log = routes.with_suffix(".log")
    with log.open("w") as stream:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "serve", "--listen", f"{LOOPBACK}:0", "--admin", f"{LOOPBACK}:0"),
            env={**ENVIRONMENT, "GATEWAY_CONFIG": str(routes), **environment},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=stream,
        )
    try:
        event = await until(lambda: serving(log) or process.returncode is not None)
        assert isinstance(event, dict), log.read_text()
        yield Running(process, f"http://{event['listen']}", f"http://{event['admin']}", log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        assert "Traceback" not in log.read_text()


@asynccontextmanager
async def slow_upstream() -> AsyncIterator[tuple[str, asyncio.Event, asyncio.Event]]:
    """Where a request waits for leave: its URL, the event that one has come, the event that lets it go on."""
    come, leave = asyncio.Event(), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            come.set()
            await leave.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, LOOPBACK, 0)
    async with server:
        yield f"http://{LOOPBACK}:{server.sockets[0].getsockname()[1]}", come, leave
        leave.set()


async def test_sigterm_finishes_what_runs_and_ends_with_0(routes: Path) -> None:
    async with (
        slow_upstream() as (url, come, leave),
        running(routes, LEGACY_URL=url) as served,
        aiohttp.ClientSession() as http,
    ):
        asked = asyncio.create_task(http.get(f"{served.url}/static/x"))
        await come.wait()

        served.process.send_signal(signal.SIGTERM)
        await until_not_ready(http, served)
        leave.set()

        async with await asked as answer:
            assert (answer.status, await answer.text()) == (200, "done")
        assert await served.ended() == 0
        assert '"stopped"' in served.log.read_text()


async def test_sigint_alone_ends_orderly(routes: Path) -> None:
    async with running(routes) as served:
        served.process.send_signal(signal.SIGINT)

        assert await served.ended() == 0


async def test_a_second_sigint_ends_at_once(routes: Path) -> None:
    async with (
        slow_upstream() as (url, come, _leave),
        running(routes, LEGACY_URL=url) as served,
        aiohttp.ClientSession() as http,
    ):
        asked = asyncio.create_task(http.get(f"{served.url}/static/x"))
        await come.wait()
        served.process.send_signal(signal.SIGINT)
        await until_not_ready(http, served)

        served.process.send_signal(signal.SIGINT)

        assert await served.ended() == 130
        with pytest.raises(aiohttp.ClientError):
            await asked


async def until_not_ready(http: aiohttp.ClientSession, served: Running) -> None:
    """Wait until the gateway has begun to stop."""
    async with asyncio.timeout(10):
        while True:
            async with http.get(f"{served.admin}/readyz") as answer:
                if (await answer.text()).startswith("stopping\n"):
                    return
            await asyncio.sleep(0.02)


async def test_healthcheck_tells_life_from_silence(routes: Path) -> None:
    async with running(routes) as served:
        alive = await asyncio.to_thread(gateway, "healthcheck", "--admin", served.admin.removeprefix("http://"))
    silent = gateway("healthcheck", environment={"GATEWAY_ADMIN": f"{LOOPBACK}:{free_port()}"})

    assert (alive.returncode, alive.stdout) == (0, "alive\n")
    assert silent.returncode == 1
    assert "--admin" in silent.stderr


@pytest.mark.parametrize("option", ["--listen", "--admin"])
def test_a_taken_port_is_named_with_the_remedy(routes: Path, option: str) -> None:
    with taken_port() as port:
        other = "--admin" if option == "--listen" else "--listen"
        addresses = [option, f"{LOOPBACK}:{port}", other, f"{LOOPBACK}:0"]

        done = gateway("serve", "--config", str(routes), *addresses)

    assert done.returncode == 1
    assert f"port {port} on {LOOPBACK} is taken; stop what uses it, or give another with {option}" in done.stderr


def test_an_address_of_another_machine_is_named(routes: Path) -> None:
    done = gateway("serve", "--config", str(routes), "--listen", "192.0.2.1:8080")

    assert done.returncode == 1
    assert "this machine has no address 192.0.2.1" in done.stderr


def test_a_bad_route_file_starts_nothing(routes: Path) -> None:
    routes.write_text(GOOD.replace("auth: public", "auth: pubilc").replace("limit: [person]", "limit: [persons]"))

    done = gateway("serve", "--config", str(routes), "--listen", f"{LOOPBACK}:0", "--admin", f"{LOOPBACK}:0")

    assert done.returncode == 1
    assert f"{routes}:9:" in done.stderr
    assert f"{routes}:10:" in done.stderr
    assert "serving" not in done.stderr


# --- emulator -------------------------------------------------------------------------------------------------------


async def test_the_emulator_serves_its_seed_until_it_is_told_to_end() -> None:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "emulator", "--listen", f"{LOOPBACK}:{port}"),
        env=ENVIRONMENT,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    told = (await process.stdout.readuntil(b"Ctrl-C ends it.\n")).decode()
    async with aiohttp.ClientSession() as http, http.get(f"http://{LOOPBACK}:{port}/v2/keys/{PROJECT}") as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGINT)
    rest, _ = await process.communicate()

    assert "development and tests only" in told
    assert f"DESCOPE_BASE_URI=http://{LOOPBACK}:{port}" in told
    assert process.returncode == 0
    assert b"has ended" in rest


def test_a_seed_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = gateway("emulator", "--seed", str(tmp_path / "none.yaml"))

    assert done.returncode == 1
    assert "none.yaml: cannot be read" in done.stderr
