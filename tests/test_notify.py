"""What a real process tells systemd, at a real socket."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.emulator import Emulator, load_seed
from gateway.emulator import serve as emulating
from gateway.notify import Supervisor
from tests.conftest import ROOT
from tests.test_cli import GOOD, LOOPBACK, Running, free_port, running


class Heard:
    """The supervisor's end of the socket."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self.told: list[str] = []

    async def until(self, line: str) -> None:
        """Wait until `line` was said."""
        async with asyncio.timeout(10):
            while line not in self.told:
                self.told += (await asyncio.get_running_loop().sock_recv(self._end, 4096)).decode().splitlines()


@pytest.fixture(params=["a path", "an abstract name"])
def heard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Heard]]:
    """The name as systemd would put it into the environment, and what arrives there."""
    name = f"@gateway-test-{os.getpid()}-{tmp_path.name}" if request.param == "an abstract name" else f"{tmp_path}/n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as end:
        end.bind("\0" + name[1:] if name.startswith("@") else name)
        yield name, Heard(end)


@asynccontextmanager
async def served(folder: Path, port: int, name: str, **environment: str) -> AsyncIterator[Running]:
    routes = folder / "routes.yaml"
    routes.write_text(GOOD + "shutdown: {delay: 500ms}\n")
    told = {"DESCOPE_BASE_URI": f"http://{LOOPBACK}:{port}", "NOTIFY_SOCKET": name, "WATCHDOG_USEC": "100000"}
    async with running(routes, **told | environment) as process:
        yield process


async def test_systemd_hears_of_readiness_of_life_and_of_the_end(heard: tuple[str, Heard], tmp_path: Path) -> None:
    name, supervisor = heard
    port = free_port()
    async with served(tmp_path, port, name) as process:
        before: list[str] = []
        for _ in range(3):  # alive, and yet not ready while there are no keys
            await supervisor.until("WATCHDOG=1")
            before += supervisor.told
            supervisor.told.clear()
        seed = load_seed(ROOT / "config" / "emulator.yaml")
        async with emulating(Emulator(seed), LOOPBACK, port):
            await supervisor.until("READY=1")
            process.process.send_signal(signal.SIGTERM)
            await supervisor.until("STOPPING=1")
            supervisor.told.clear()
            await supervisor.until("WATCHDOG=1")  # an orderly end is no death
            ended = await asyncio.wait_for(process.process.wait(), 10)

    assert "READY=1" not in before
    assert "STATUS=waiting for the signing keys" in before
    assert ended == 0


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_signs_of_life_come_as_often_as_systemd_asked_for_them(
    heard: tuple[str, Heard], tmp_path: Path, workers: str
) -> None:
    name, supervisor = heard
    seed = load_seed(ROOT / "config" / "emulator.yaml")
    port = free_port()
    async with (
        emulating(Emulator(seed), LOOPBACK, port),
        served(tmp_path, port, name, GATEWAY_WORKERS=workers, WATCHDOG_USEC="200000") as process,
    ):
        await supervisor.until("READY=1")
        async with asyncio.timeout(4):  # they take a second
            for _ in range(10):
                supervisor.told.clear()
                await supervisor.until("WATCHDOG=1")
        process.process.send_signal(signal.SIGTERM)
        await supervisor.until("STOPPING=1")
        supervisor.told.clear()
        await supervisor.until("WATCHDOG=1")
        assert await asyncio.wait_for(process.process.wait(), 10) == 0


async def test_a_process_that_is_not_watched_says_that_it_is_ready_and_no_more(
    heard: tuple[str, Heard], tmp_path: Path
) -> None:
    name, supervisor = heard
    port = free_port()
    async with (
        emulating(Emulator(load_seed(ROOT / "config" / "emulator.yaml")), LOOPBACK, port),
        served(tmp_path, port, name, WATCHDOG_PID="1") as process,
    ):
        await supervisor.until("READY=1")
        process.process.send_signal(signal.SIGTERM)
        await supervisor.until("STOPPING=1")

    assert "WATCHDOG=1" not in supervisor.told


@pytest.mark.parametrize("name", ["", "relative", "/nowhere/at/all", "@nobody-listens-here", "vsock:2:1"])
async def test_where_nobody_listens_nothing_is_told_and_nothing_breaks(name: str) -> None:
    supervisor = Supervisor({"NOTIFY_SOCKET": name}, 1)

    await supervisor.keep_told(lambda: True)
    supervisor.stopping()
