"""The demo's legacy service by itself, as containers and compose start it."""

import asyncio
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.conftest import LOOPBACK, ROOT


async def _started(*arguments: str) -> tuple[asyncio.subprocess.Process, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway.demo", *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    told = (await asyncio.wait_for(process.stdout.readline(), 10)).decode()
    return process, told.strip().rpartition(" ")[2]


async def _asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(b"GET /static/site.css HTTP/1.0\r\nHost: h\r\n\r\n")
    reply = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return reply


async def test_it_serves_a_port_of_loopback_until_sigterm() -> None:
    with socket.create_server((LOOPBACK, 0)) as free:
        port = free.getsockname()[1]
    process, url = await _started(str(port))
    reply = await _asked(*await asyncio.open_connection(LOOPBACK, port))
    process.send_signal(signal.SIGTERM)

    assert url == f"http://{LOOPBACK}:{port}"
    assert reply.startswith(b"HTTP/1.0 200 OK")
    assert await asyncio.wait_for(process.wait(), 10) == 0


@pytest.mark.parametrize("left_behind", [False, True], ids=["a new path", "a path left behind"])
async def test_it_serves_a_unix_socket_that_is_nobody_elses(tmp_path: Path, left_behind: bool) -> None:
    path = tmp_path / "s"
    if left_behind:
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
    process, url = await _started(str(path))
    reply = await _asked(*await asyncio.open_unix_connection(path))
    mode = path.stat().st_mode & 0o777
    process.send_signal(signal.SIGTERM)
    ended = await asyncio.wait_for(process.wait(), 10)

    assert (url, mode, ended) == (f"unix:{path}", 0o660, 0)
    assert reply.startswith(b"HTTP/1.0 200 OK")
    assert not path.exists()


async def test_a_taken_port_is_said_in_one_line() -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = str(taken.getsockname()[1])
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway.demo", port, cwd=ROOT, stderr=asyncio.subprocess.PIPE
        )
        _, told = await asyncio.wait_for(process.communicate(), 10)

    assert (process.returncode, told.count(b"\n")) == (1, 1)
    assert port.encode() in told
