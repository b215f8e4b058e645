"""`gateway demo` as a newcomer runs it: one command, and the lines it prints answer as they say."""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import certifi
import pytest

ROOT = Path(__file__).parent.parent
LOOPBACK = "127.0.0.1"
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "SSL_CERT_FILE": certifi.where()}
OPTIONS = ("--port", "--admin-port", "--emulator-port", "--legacy-port")
NOBODY = aiohttp.DummyCookieJar


@dataclass(frozen=True)
class Demo:
    """A demo that runs. told: what it had printed when it was ready."""

    process: subprocess.Popen[str]
    log: Path
    told: str
    ports: dict[str, int]

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.ports['--port']}"

    def examples(self) -> list[tuple[int, str]]:
        """Announced status and shell line of each example."""
        found = re.findall(r"^\d\. .* Answers (\d{3})\b.*\n +(curl .*)$", self.told, re.MULTILINE)
        return [(int(status), line) for status, line in found]


@contextmanager
def demonstrated(folder: Path) -> Iterator[Demo]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server((LOOPBACK, 0))) for _ in OPTIONS]
        ports = {option: one.getsockname()[1] for option, one in zip(OPTIONS, sockets, strict=True)}
    log = folder / "demo.log"
    given = [text for option, port in ports.items() for text in (option, str(port))]
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "demo", *given],
            env=ENVIRONMENT,
            cwd=folder,
            stdout=stream,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        deadline_s = time.monotonic() + 15
        while "Ctrl-C ends all of it" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline_s, log.read_text()
            time.sleep(0.05)
        yield Demo(process, log, log.read_text(), ports)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with demonstrated(tmp_path_factory.mktemp("demo")) as running:
        yield running


def needs(program: str) -> None:
    if shutil.which(program) is None:
        message = f"{program} is not installed, so the printed lines cannot be run"
        if os.environ.get("GATEWAY_REQUIRE_PROGRAMS") == "1":
            pytest.fail(message)
        pytest.skip(message)


async def signed_in(demo: Demo, http: aiohttp.ClientSession, name: str) -> dict[str, str]:
    """The cookies of somebody who signed in at the gateway's page."""
    form = {"login_id": f"{name}@example.com", "password": f"{name}-demo-password"}
    async with http.post(f"{demo.url}/.auth/login", data=form) as answer:
        assert answer.status == 200, await answer.text()
        cookies = {one.key: one.value for one in answer.cookies.values() if one.value}  # the others clear old parts
    assert cookies.keys() == {"DS", "DSR"}
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}


def test_the_five_printed_lines_answer_as_they_say(demo: Demo) -> None:
    needs("curl")
    examples = demo.examples()

    answers = [
        subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=15, check=False)
        for _, line in examples
    ]

    assert [status for status, _ in examples] == [401, 200, 403, 200, 200], demo.told
    for (status, line), answer in zip(examples, answers, strict=True):
        assert answer.stdout.startswith(f"HTTP/1.1 {status} "), f"{line}\n{answer.stdout}{answer.stderr}"
    assert '"reason": "no_credentials"' in answers[0].stdout
    assert '"reason": "role_missing"' in answers[2].stdout
    assert "\nSet-Cookie: DS=" in answers[3].stdout
    assert "X-Auth-Roles" in answers[1].stdout
    assert "K2worker00000000000000000000" in answers[4].stdout


def test_it_says_who_can_sign_in_and_where_everything_is(demo: Demo) -> None:
    for words in ("ada@example.com", "ada-demo-password", "bob-demo-password", "cannot sign in: disabled", "admin"):
        assert words in demo.told
    for port in demo.ports.values():
        assert f"http://{LOOPBACK}:{port}/" in demo.told
    assert "For development only" in demo.told


async def test_the_people_it_names_can_sign_in(demo: Demo) -> None:
    async with aiohttp.ClientSession(cookie_jar=NOBODY()) as http:
        ada = await signed_in(demo, http, "ada")
        async with http.get(f"{demo.url}/admin/", headers={**ada, "Accept": "text/html"}) as answer:
            assert answer.status == 200
            assert "Administration" in await answer.text()


async def test_events_come_through_as_they_happen(demo: Demo) -> None:
    async with aiohttp.ClientSession(cookie_jar=NOBODY()) as http:
        bob = await signed_in(demo, http, "bob")
        async with asyncio.timeout(5), http.get(f"{demo.url}/events", headers=bob) as answer:
            assert answer.headers["Content-Type"] == "text/event-stream"
            assert await answer.content.readline() == b"id: 1\n"


async def test_a_websocket_gives_back_what_it_hears(demo: Demo) -> None:
    async with aiohttp.ClientSession(cookie_jar=NOBODY()) as http:
        bob = await signed_in(demo, http, "bob")
        async with asyncio.timeout(5), http.ws_connect(f"{demo.url}/ws", headers=bob, origin=demo.url) as socket_:
            await socket_.send_str("hello")
            assert await socket_.receive_str() == "hello"


async def test_the_log_of_requests_holds_no_credential(demo: Demo) -> None:
    async with aiohttp.ClientSession(cookie_jar=NOBODY()) as http:
        bob = await signed_in(demo, http, "bob")
        async with http.get(f"{demo.url}/logged-here?token=secret-in-query", headers=bob) as answer:
            assert answer.status == 200
    deadline_s = time.monotonic() + 5
    while "/logged-here" not in demo.log.read_text():
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.02)

    log = demo.log.read_text().removeprefix(demo.told)
    assert "secret-in-query" not in log
    assert "bob-demo-password" not in log
    assert not any(part.partition("=")[2] in log for part in bob["Cookie"].split("; "))


async def test_ctrl_c_ends_all_of_it_open_streams_too(tmp_path: Path) -> None:
    with demonstrated(tmp_path) as running:
        cookie_file = Path(re.findall(r"-c (\S+)", running.told)[0])
        assert cookie_file.parent.is_dir()
        async with aiohttp.ClientSession(cookie_jar=NOBODY()) as http:
            bob = await signed_in(running, http, "bob")
            async with http.get(f"{running.url}/events", headers=bob) as events:
                assert await events.content.readline() == b"id: 1\n"

                running.process.send_signal(signal.SIGINT)

                assert await asyncio.to_thread(running.process.wait, 5) == 0
        log = running.log.read_text()
        assert "Traceback" not in log
        assert "All of it has ended" in log
        assert not cookie_file.parent.exists()
        for port in running.ports.values():
            with pytest.raises(ConnectionRefusedError), socket.create_connection((LOOPBACK, port), timeout=1):
                pass


@pytest.mark.parametrize("option", OPTIONS)
def test_a_taken_port_is_named_with_the_remedy(option: str) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]

        done = subprocess.run(
            [sys.executable, "-m", "gateway", "demo", *_others(option), option, str(port)],
            env=ENVIRONMENT,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=15,
            check=False,
        )

    assert done.returncode == 1
    assert done.stderr == f"port {port} on {LOOPBACK} is taken; stop what uses it, or give another with {option}\n"


def _others(option: str) -> list[str]:
    """Free ports for the other options, so that only one thing is wrong."""
    with ExitStack() as held:
        sockets = {
            other: held.enter_context(socket.create_server((LOOPBACK, 0))) for other in OPTIONS if other != option
        }
        return [text for other, one in sockets.items() for text in (other, str(one.getsockname()[1]))]
