"""A service that is behind the gateway, and beside it as well."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.bypass import is_loopback, machine_addresses
from tests.test_cli import GOOD, LOOPBACK, running, until


@asynccontextmanager
async def service(host: str, port: int = 0) -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(answer, host, port)
    async with server:
        yield server.sockets[0].getsockname()[1]


def warned(log: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"].startswith("THE SERVICE CAN BE REACHED PAST THE GATEWAY")]


@pytest.fixture
def routes(tmp_path: Path) -> Path:
    path = tmp_path / "routes.yaml"
    path.write_text(GOOD)
    return path


@pytest.fixture
def other() -> str:
    """An address of this machine beside loopback."""
    found = machine_addresses()
    if not found:
        pytest.skip("this machine has no address but loopback")
    return found[0]


async def test_a_service_on_every_interface_is_warned_of(routes: Path, other: str) -> None:
    async with service("0.0.0.0") as port, running(routes, LEGACY_URL=f"http://{LOOPBACK}:{port}") as process:
        (warning, *_) = await until(lambda: warned(process.log))

    assert (warning["level"], warning["upstream"]) == ("warning", "legacy")
    assert warning["address"] == f"{other}:{port}"


async def test_a_service_on_loopback_alone_is_not_warned_of(routes: Path, other: str) -> None:
    async with service(LOOPBACK) as quiet, service("0.0.0.0") as open_to_all:
        routes.write_text(GOOD.replace("limits:", f'  both: {{url: "http://localhost:{open_to_all}"}}\nlimits:'))
        async with running(routes, LEGACY_URL=f"http://{LOOPBACK}:{quiet}") as process:
            found = await until(lambda: warned(process.log))

    assert {warning["upstream"] for warning in found} == {"both"}


def test_this_machines_addresses_are_not_loopback() -> None:
    found = machine_addresses()

    assert len(set(found)) == len(found)
    assert [address for address in found if is_loopback(address)] == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "app.localhost"])
def test_what_only_this_machine_reaches_is_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "0.0.0.0", "localhost.example.com", "app", ""])
def test_what_others_may_reach_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)
