"""Traces, as a receiver of OTLP gets them: which spans, whose context, and nothing that could be used to sign in."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from gateway.traces import Traces
from tests.conftest import LOOPBACK, WORKER_KEY, OpenHouse, cookie_header, set_cookies

TRUSTING = '  trusted_proxies: ["127.0.0.1/32"]'
THEIRS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
THEIR_TRACE, THEIR_SPAN = THEIRS.split("-")[1:3]
EXPIRY_S = 700  # seconds after which a session of the emulator has run out


@dataclass
class Receiver:
    """An OTLP receiver: all spans so far, and of whom."""

    port: int = 0
    spans: list[Span] = field(default_factory=list)
    services: set[str] = field(default_factory=set)

    async def take(self, request: web.BaseRequest) -> web.Response:
        assert request.path == "/v1/traces"
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and body.startswith(b"\x1f\x8b"):
            body = gzip.decompress(body)
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {pair.key: pair.value.string_value for pair in group.resource.attributes}
            self.services.add(about["service.name"])
            self.spans += [span for scope in group.scope_spans for span in scope.spans]
        return web.Response(content_type="application/x-protobuf")

    def one(self, name: str) -> Span:
        found = [span for span in self.spans if span.name == name]
        assert len(found) == 1, [span.name for span in self.spans]
        return found[0]

    @property
    def names(self) -> list[str]:
        return sorted(span.name for span in self.spans)


def said(span: Span) -> dict[str, Any]:
    return {pair.key: pair.value.string_value or pair.value.int_value for pair in span.attributes}


@pytest.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    told = Receiver()
    runner = web.ServerRunner(web.Server(told.take))
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0).start()
    told.port = runner.addresses[0][1]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{LOOPBACK}:{told.port}")
    yield told
    await runner.cleanup()


async def test_an_admitted_request_is_a_trace_of_its_steps(built: OpenHouse, receiver: Receiver) -> None:
    async with built(traces=Traces()) as house:
        reply = await house.get("/admin/x?secret=1", headers=cookie_header(house.cookies("ada@example.com")))
        sent = house.upstream.last.value("traceparent")

    whole, exchange = receiver.one("GET admin"), receiver.one("upstream")
    assert receiver.names == ["GET admin", "caller", "match", "upstream"]
    assert {span.trace_id for span in receiver.spans} == {whole.trace_id}
    assert {span.parent_span_id for span in receiver.spans if span is not whole} == {whole.span_id}
    assert whole.parent_span_id == b""
    assert sent == f"00-{whole.trace_id.hex()}-{exchange.span_id.hex()}-03"  # sampled, and a random id
    assert receiver.services == {"gateway"}
    assert said(whole) == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "url.path": "/admin/x",
        "server.address": house.url.host,
        "client.address": "127.0.0.1",
        "gateway.request_id": reply.headers["X-Request-Id"],
        "gateway.route": "admin",
        "gateway.outcome": "admitted",
        "enduser.id": house.upstream.last.value("x-auth-subject"),
        "http.response.status_code": 200,
    }
    assert said(exchange) == {"gateway.upstream": "legacy", "http.response.status_code": 200}


async def test_a_refusal_says_why_and_asks_no_upstream(built: OpenHouse, receiver: Receiver) -> None:
    async with built(traces=Traces()) as house:
        await house.get("/admin/x", headers=cookie_header(house.cookies("bob@example.com")))

    assert receiver.names == ["GET admin", "caller", "match"]
    assert said(receiver.one("GET admin"))["gateway.reason"] == "role_missing"
    assert receiver.one("GET admin").status.code == 0  # the gateway did what it should


async def test_a_failure_is_an_error_of_the_trace(built: OpenHouse, receiver: Receiver) -> None:
    async with built(traces=Traces()) as house:
        house.upstream.reply = b"nonsense\r\n\r\n"
        await house.get("/public/x")

    assert receiver.one("GET public").status.code == 2
    assert receiver.one("GET public").status.message == "upstream_bad_reply"


async def test_what_is_asked_of_descope_is_a_step_of_knowing_the_caller(built: OpenHouse, receiver: Receiver) -> None:
    async with built(traces=Traces()) as house:
        cookies = house.cookies("ada@example.com")
        house.put_forward(EXPIRY_S)
        assert set_cookies(await house.get("/x", headers=cookie_header(cookies)))
        await house.get("/either/x", headers={"Authorization": f"Bearer {WORKER_KEY}"})

    refresh, exchange = receiver.one("refresh"), receiver.one("exchange")
    callers = {span.span_id: span.trace_id for span in receiver.spans if span.name == "caller"}
    assert callers[refresh.parent_span_id] == refresh.trace_id == receiver.one("GET rest").trace_id
    assert callers[exchange.parent_span_id] == exchange.trace_id != refresh.trace_id


async def test_a_request_with_a_body_has_the_same_steps(built: OpenHouse, receiver: Receiver) -> None:
    async with built(traces=Traces()) as house:
        await house.send("POST", "/public/x", data=b"abc")

    assert receiver.names == ["POST public", "match", "upstream"]


async def test_a_trusted_proxys_context_is_taken_and_passed_on(built: OpenHouse, receiver: Receiver) -> None:
    async with built(traces=Traces(), server=TRUSTING) as house:
        await house.get("/public/x", headers={"traceparent": THEIRS, "tracestate": "a=1,b=2"})
        seen = house.upstream.last

    whole = receiver.one("GET public")
    assert (whole.trace_id.hex(), whole.parent_span_id.hex()) == (THEIR_TRACE, THEIR_SPAN)
    assert seen.values("traceparent") == [f"00-{THEIR_TRACE}-{receiver.one('upstream').span_id.hex()}-01"]
    assert seen.values("tracestate") == ["a=1,b=2"]


async def test_nobody_elses_context_is_taken_or_passed_on(built: OpenHouse, receiver: Receiver) -> None:
    async with built(traces=Traces()) as house:
        await house.get("/public/x", headers={"Traceparent": THEIRS, "Trace_Parent": "x", "tracestate": "a=1"})
        seen = house.upstream.last

    assert receiver.one("GET public").trace_id.hex() != THEIR_TRACE
    assert len(seen.values("traceparent")) == 1
    assert THEIR_TRACE not in seen.values("traceparent")[0]
    assert seen.values("tracestate") == []


@pytest.mark.parametrize(
    "parent",
    [
        "nonsense",
        THEIRS.replace("00-", "ff-", 1),
        f"{THEIRS},{THEIRS}",
        f"{THEIRS}\r\nTraceparent: {THEIRS}",
        "\xe4" * 55,
    ],
)
async def test_a_context_that_cannot_be_read_begins_a_trace_of_its_own(
    built: OpenHouse, receiver: Receiver, parent: str
) -> None:
    async with built(traces=Traces(), server=TRUSTING) as house:
        head = b"GET /public/x HTTP/1.1\r\nHost: app.example.com\r\nConnection: close\r\nTraceparent: "
        reply = await house.raw(head + parent.encode("latin-1") + b"\r\n\r\n")

    assert reply.startswith(b"HTTP/1.1 200")
    assert receiver.one("GET public").parent_span_id == b""


async def test_a_proxy_that_does_not_sample_is_believed(built: OpenHouse, receiver: Receiver) -> None:
    async with built(traces=Traces(), server=TRUSTING) as house:
        await house.get("/public/x", headers={"traceparent": THEIRS[:-2] + "00"})
        sent = house.upstream.last.value("traceparent")

    assert receiver.spans == []
    assert sent is not None
    assert sent.startswith(f"00-{THEIR_TRACE}-")
    assert sent.endswith("-00")


async def test_log_lines_name_their_trace(built: OpenHouse, receiver: Receiver) -> None:
    stream = StringIO()
    async with built(traces=Traces(), log_form="json", log_stream=stream) as house:
        await house.get("/public/x")

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["trace_id"] for line in lines] == [receiver.one("GET public").trace_id.hex()]


async def test_without_traces_the_clients_context_passes_and_no_log_line_has_one(built: OpenHouse) -> None:
    stream = StringIO()
    async with built(log_form="json", log_stream=stream) as house:
        await house.get("/public/x", headers={"traceparent": THEIRS})

        assert house.upstream.last.value("traceparent") == THEIRS
    assert "trace_id" not in stream.getvalue()


async def test_t16_no_credential_is_in_a_trace(built: OpenHouse, receiver: Receiver) -> None:
    async with built(traces=Traces()) as house:
        cookies = house.cookies("ada@example.com")
        house.put_forward(EXPIRY_S)
        await house.get("/x?token=in-the-query", headers=cookie_header(cookies))
        await house.get("/either/x", headers={"Authorization": f"Bearer {WORKER_KEY}"})

    told = str(receiver.spans)
    for secret in (*cookies.values(), WORKER_KEY, "in-the-query"):
        assert secret not in told
    assert receiver.spans


async def test_requests_are_served_while_nobody_takes_the_traces(
    built: OpenHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{LOOPBACK}:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    async with built(traces=Traces()) as house:
        assert (await house.get("/public/x")).status == 200


# --- the program ----------------------------------------------------------------------------------------------------


def test_a_wrong_word_is_told_with_those_that_are_right() -> None:
    environment = {**os.environ, "GATEWAY_TRACES": "oltp"}
    ran = subprocess.run(
        [sys.executable, "-m", "gateway", "serve"], env=environment, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 2
    assert "GATEWAY_TRACES: 'oltp' is none of off, otlp; did you mean otlp?" in ran.stderr


async def test_without_the_extra_the_program_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "opentelemetry").mkdir()
    hidden = "raise ModuleNotFoundError(\"No module named 'opentelemetry'\", name='opentelemetry')"
    (tmp_path / "opentelemetry" / "__init__.py").write_text(hidden)
    routes = tmp_path / "routes.yaml"
    routes.write_text(
        "version: 1\ndescope: {project_id: P2abc0000000000000000000000}\nserver: {public_urls: ['https://a.example']}\n"
        "upstreams: {a: {url: 'http://127.0.0.1:9'}}\nroutes: [{id: a, match: {path: '/**'}, upstream: a}]\n"
    )
    environment = {**os.environ, "GATEWAY_TRACES": "otlp", "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(routes)]
    ran = subprocess.run(
        [*command, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 1, ran.stderr
    assert "install gateway[otel]" in ran.stderr
    assert "Traceback" not in ran.stderr
