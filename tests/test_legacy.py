"""The service of the demo, asked directly."""

import base64
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import pytest

from gateway.demo import Legacy
from gateway.demo.sockets import echo


@pytest.fixture
def legacy() -> Iterator[str]:
    service = Legacy(sign_out="/.auth/logout")
    yield service.start()
    service.stop()


@contextmanager
def opened(base_url: str, path: str, method: str = "GET", body: Any = None, **headers: str) -> Iterator[HTTPResponse]:
    with closing(HTTPConnection(urlsplit(base_url).netloc, timeout=5)) as connection:
        connection.request(method, path, body=body, headers={n.replace("_", "-"): v for n, v in headers.items()})
        with connection.getresponse() as answer:
            yield answer


def text_of(base_url: str, path: str, method: str = "GET", body: Any = None, **headers: str) -> str:
    with opened(base_url, path, method, body, **headers) as answer:
        assert answer.status == 200
        return answer.read().decode()


def test_a_program_gets_the_request_back_as_json(legacy: str) -> None:
    text = text_of(legacy, "/a%20b?c=%2F", "PUT", b"four", X_Auth_Subject="U2ada")

    assert '"path": "/a%20b?c=%2F"' in text
    assert '"method": "PUT"' in text
    assert '"X-Auth-Subject": "U2ada"' in text
    assert '"body_bytes": 4' in text


def test_a_chunked_body_is_read_whole(legacy: str) -> None:
    text = text_of(legacy, "/echo", "POST", iter([b"one", b"three"]))

    assert '"body_bytes": 8' in text


def test_a_person_gets_a_page_on_which_everything_is_escaped(legacy: str) -> None:
    text = text_of(legacy, "/", Accept="text/html", X_Auth_Name="<script>alert(1)</script>")

    assert text.startswith("<!doctype html>")
    assert "&lt;script&gt;alert(1)" in text
    assert "<script>" not in text
    assert 'action="/.auth/logout"' in text


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("/welcome", "Welcome"),
        ("/admin/", "Administration"),
        ("/t/acme/docs/", "Documents of acme"),
        ("/jobs", "Jobs"),
        ("/events/page", "Events"),
        ("/ws/page", "WebSocket"),
    ],
)
def test_each_place_has_its_page(legacy: str, path: str, title: str) -> None:
    assert f"<h1>{title}</h1>" in text_of(legacy, path, Accept="text/html")


def test_events_come_one_by_one(legacy: str) -> None:
    with opened(legacy, "/events", X_Auth_Subject="U2ada") as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert answer.readline() == b"id: 1\n"
        assert answer.readline() == b"event: tick\n"
        assert b"U2ada" in answer.readline()


def test_stopping_ends_open_streams() -> None:
    service = Legacy()
    with opened(service.start(), "/events") as answer:
        assert answer.readline() == b"id: 1\n"

        service.stop()

        assert len(answer.read()) < 1000


def test_the_websocket_address_says_so_to_plain_requests(legacy: str) -> None:
    with opened(legacy, "/ws") as answer:
        assert answer.status == 426


def test_a_websocket_gives_back_text_and_answers_ping_and_close(legacy: str) -> None:
    address = urlsplit(legacy)
    with socket.create_connection((address.hostname, address.port or 0), timeout=5) as stream:
        key = base64.b64encode(os.urandom(16)).decode()
        stream.sendall(
            (
                "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
            ).encode()
            + frame(0x1, b"hello")
            + frame(0x9, b"are you there")
            + frame(0x1, b"x" * 300)
            + frame(0x8, struct.pack(">H", 1000))
        )
        heard = BytesIO()
        while data := stream.recv(4096):
            heard.write(data)

    head, _, frames = heard.getvalue().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert frames == (
        b"\x81\x05hello" + b"\x8a\x0dare you there" + b"\x81\x7e\x01\x2c" + b"x" * 300 + b"\x88\x02\x03\xe8"
    )


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(b"\x81\x02hi", 1002, id="a frame without a mask"),
        pytest.param(b"\x01\x82\x00\x00\x00\x00hi", 1003, id="a message in pieces"),
        pytest.param(b"\x82\x82\x00\x00\x00\x00hi", 1003, id="binary"),
        pytest.param(b"\x81\x82\x00\x00\x00\x00\xff\xff", 1007, id="text that is not UTF-8"),
        pytest.param(b"\x81\xff" + b"\x7f" * 8, 1009, id="a message too large to take"),
    ],
)
def test_a_frame_that_is_not_taken_closes_with_its_reason(sent: bytes, code: int) -> None:
    heard = BytesIO()

    echo(BytesIO(sent), heard, "x")

    assert heard.getvalue().endswith(b"\x88\x02" + struct.pack(">H", code))


def frame(opcode: int, payload: bytes) -> bytes:
    """One masked frame, as clients send them."""
    mask = b"\x11\x22\x33\x44"
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
    return bytes([0x80 | opcode]) + size + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
