"""Metrics and logs: one record for each request, and nothing in either that could be used to sign in.

Labels are bounded: route ids, reasons, operations, names of the route file. Request lines carry the path without its
query, for queries carry tokens. Text from clients is written as JSON strings, or with everything but printable ASCII
escaped, so that no line can be forged and no terminal spoken to.
"""

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quoted
from typing import TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway import __version__
from gateway.families import Together
from gateway.lines import write_lines
from gateway.steps import trace_id
from gateway.tallies import Counts, Levels, Timings

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_OWN_SECONDS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0)
_FLUSHED_AFTER_S = 0.05

log = structlog.stdlib.get_logger("gateway")


class Record:
    """What is known of one request when it is over. outcome: admitted, refused, failed or gone (the client left)."""

    # What nobody has set yet stands here once, and not in every record.
    method = ""
    host = ""
    path = ""
    client = ""
    route = ""
    upstream = ""
    outcome = "refused"
    reason = ""
    status = 0
    subject = ""
    seconds = 0.0
    upstream_seconds = 0.0
    sent_bytes = 0
    received_bytes = 0
    trace_id = ""

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id


class Metrics:
    """All metrics of one process in a registry of their own.

    together: by name, what each gauge comes to over several processes.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.together: dict[str, Together] = {}
        self.requests = Counts(
            "gateway_requests", "Requests by route and outcome.", ["route", "outcome", "reason"], registry
        )
        self.seconds = Timings("gateway_request_seconds", "From head to end of reply.", "route", _SECONDS, registry)
        self.overhead = Timings(
            "gateway_overhead_seconds",
            "Our own share of a request: everything but the exchange with the upstream.",
            "route",
            _OWN_SECONDS,
            registry,
        )
        self.upstream_seconds = Timings(
            "gateway_upstream_seconds", "Exchange with the upstream.", "upstream", _SECONDS, registry
        )
        self.upstream_connections = self._levels(
            "gateway_upstream_connections",
            "Connections to the upstream: busy, idle.",
            ["upstream", "state"],
            Together.SUM,
        )
        self.upstream_waiting = self._levels(
            "gateway_upstream_waiting", "Requests that wait for a connection.", ["upstream"], Together.SUM
        )
        self.upstream_healthy = self._levels(
            "gateway_upstream_healthy",
            "1 while the target is in, 0 while it is out.",
            ["upstream", "target"],
            Together.LEAST,
        )
        self.upstream_retries = Counts(
            "gateway_upstream_retries",
            "Requests that met a dead connection: repeated, over_budget.",
            ["upstream", "outcome"],
            registry,
        )
        self.refreshes = Counter(
            "gateway_refreshes", "Session renewals: renewed, refused, failed, reused.", ["outcome"], registry=registry
        )
        self.key_exchanges = Counter(
            "gateway_key_exchanges", "Access-key exchanges: exchanged, refused, failed.", ["outcome"], registry=registry
        )
        self.idp_requests = Counter(
            "gateway_idp_requests", "Calls to Descope.", ["operation", "outcome"], registry=registry
        )
        self.idp_rest = self._gauge(
            "gateway_idp_rest_seconds",
            "How long an operation at Descope was last put to rest; 0 once it answers again.",
            ["operation"],
            Together.KEEPER,
        )
        self.flow_errors = Counter(
            "gateway_flow_errors", "Flows that ended in an error on the sign-in page.", ["code"], registry=registry
        )
        self.keys_age = self._gauge(
            "gateway_signing_keys_age_seconds", "Since the signing keys were last confirmed.", [], Together.KEEPER
        )
        self.token_cache = Counts(
            "gateway_token_cache", "Verified tokens found in memory: hit, miss.", ["outcome"], registry
        )
        self.limited = Counter("gateway_limited", "Requests over a limit.", ["limit"], registry=registry)
        self.open_streams = self._gauge(
            "gateway_open_streams", "Streams open now: websocket, sse.", ["kind"], Together.SUM
        )
        self.streams_ended = Counter(
            "gateway_streams_ended",
            "Streams that ended: closed (by either side), or why we ended them.",
            ["kind", "reason"],
            registry=registry,
        )
        self.certificate_expiry = self._gauge(
            "gateway_certificate_expiry_timestamp_seconds",
            "When the public listener's certificate runs out, in Unix time; 0 without one.",
            [],
            Together.LEAST,
        )
        self.audit_lost = Counter("gateway_audit_lost", "Audit records that could not be written.", registry=registry)
        self.reload_success = self._gauge(
            "gateway_config_reload_success",
            "1 when the route file last read is the one that serves.",
            [],
            Together.KEEPER,
        )
        self.workers = self._gauge("gateway_workers", "Workers that serve now.", [], Together.KEEPER)
        self.worker_ends = Counter(
            "gateway_worker_ends",
            "Processes that ended without having been told to: worker, keeper.",
            ["process"],
            registry=registry,
        )
        for process in ("worker", "keeper"):
            self.worker_ends.labels(process)  # at 0 before the first, or nobody would see that one rise
        self.build = self._gauge("gateway_build_info", "The version that runs.", ["version"], Together.KEEPER)
        self.build.labels(__version__).set(1)

    def _gauge(self, name: str, help_text: str, labels: Sequence[str], together: Together) -> Gauge:
        self.together[name] = together
        return Gauge(name, help_text, labels, registry=self.registry)

    def _levels(self, name: str, help_text: str, labels: Sequence[str], together: Together) -> Levels:
        self.together[name] = together
        return Levels(name, help_text, labels, self.registry)

    def forget_upstream(self, name: str) -> None:
        """Nobody asks any more how an upstream of this name stands."""
        for family in (
            self.upstream_connections,
            self.upstream_waiting,
            self.upstream_healthy,
            self.upstream_retries,
        ):
            family.forget(name)

    def count(self, record: Record) -> None:
        """Count one request."""
        route = record.route or "none"
        self.requests.add((route, record.outcome, record.reason))
        self.seconds.add(route, record.seconds)
        self.overhead.add(route, record.seconds - record.upstream_seconds)
        if record.upstream:
            self.upstream_seconds.add(record.upstream, record.upstream_seconds)


class RequestLog:
    """One line for each request; lines are gathered for a moment and written together."""

    def __init__(self, form: str, stream: TextIO, now_s: Callable[[], float]) -> None:
        self._spell = {"json": _as_json, "text": _as_text}.get(form)
        self._stream = stream
        self._now_s = now_s
        self._lines: list[str] = []

    def write(self, record: Record) -> None:
        if self._spell is None:
            return
        if not self._lines:
            asyncio.get_running_loop().call_later(_FLUSHED_AFTER_S, self.flush)
        self._lines.append(self._spell(record, self._now_s()))

    def flush(self) -> None:
        if self._lines:
            lines, self._lines = self._lines, []
            write_lines(self._stream, lines)


def _as_json(record: Record, now_s: float) -> str:
    """The library's own encoder for every text; the frame around them is always the same."""
    return (
        f'{{"time": "{_second(int(now_s))}.{int(now_s * 1e3) % 1000:03d}+00:00", "event": "request"'
        f', "request_id": {_quoted(record.request_id)}, "route": {_quoted(record.route)}'
        f', "outcome": "{record.outcome}", "reason": "{record.reason}", "status": {record.status}'
        f', "method": {_quoted(record.method)}, "host": {_quoted(record.host)}, "path": {_quoted(record.path)}'
        f', "client": {_quoted(record.client)}, "subject": {_quoted(record.subject)}'
        f', "upstream": {_quoted(record.upstream)}, "ms": {record.seconds * 1e3:.2f}'
        f', "upstream_ms": {record.upstream_seconds * 1e3:.2f}'
        f', "received_bytes": {record.received_bytes}, "sent_bytes": {record.sent_bytes}'
        + (f', "trace_id": "{record.trace_id}"}}' if record.trace_id else "}")
    )


@lru_cache(maxsize=4)
def _second(now_s: int) -> str:
    return datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _as_text(record: Record, now_s: float) -> str:
    time = datetime.fromtimestamp(now_s, UTC).strftime("%H:%M:%S")
    why = f" {record.reason}" if record.reason else ""
    who = f" subject={record.subject}" if record.subject else ""
    trace = f" trace={record.trace_id}" if record.trace_id else ""
    line = (
        f"{time} {record.status or '---'} {record.outcome}{why} {record.method} {record.path}"
        f" route={record.route or '-'} client={record.client or '-'}{who} {record.seconds * 1e3:.1f}ms"
        f" id={record.request_id}{trace}"
    )
    return line.encode("unicode_escape").decode("ascii") if not (line.isascii() and line.isprintable()) else line


def _with_trace(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    found = trace_id()
    return {**event, "trace_id": found} if found else event


def set_up_logging(form: str, stream: TextIO | None = None, process: str = "") -> None:
    """Route everything that is logged through structlog; `form` is "json", "text" or "off".

    process: which one this is, of a gateway that has several.
    """
    level = logging.CRITICAL + 1 if form == "off" else logging.INFO
    out = stream or sys.stderr
    logging.basicConfig(format="%(message)s", stream=out, level=level, force=True)
    for noisy in ("httpx", "httpcore", "descope", "aiohttp.access", "aiohttp.server", "asyncio"):
        logging.getLogger(noisy).setLevel(max(level, logging.WARNING))
    rendered = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)
    )
    of_process = {"process": process} if process else {}
    structlog.configure(
        processors=[
            lambda _, __, event: {**of_process, **event},
            _with_trace,
            structlog.stdlib.filter_by_level,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            rendered,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
