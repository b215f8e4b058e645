"""Traces of OpenTelemetry: a span for each request and one for each of its steps (extra `otel`).

Which endpoint, which service name and which part of all requests: the environment says it in OpenTelemetry's own
variables, and its library reads them. The context of a trace is believed from trusted proxies alone (W3C Trace
Context); anybody else could make this one's traces endless, or join somebody else's. The upstream is told ours.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace as api
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway import __version__
from gateway.core.facts import is_trusted
from gateway.core.model import RequestFacts, ServerRules
from gateway.telemetry import Record

_CONTEXT = TraceContextTextMapPropagator()
_ENDING_MS = 3_000


class Trace:
    """The spans of one request; a `steps.Follower`. trace_id: 32 hexadecimal digits."""

    def __init__(self, tracer: Tracer, parent: Context, facts: RequestFacts) -> None:
        self._tracer = tracer
        self._span = tracer.start_span(facts.method, parent, SpanKind.SERVER, attributes=_asked(facts))
        self._inside = [self._span]
        self._upstream: Span | None = None
        self.trace_id = format_trace_id(self._span.get_span_context().trace_id)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """One step, a span of its own inside the one under way."""
        span = self._tracer.start_span(name, api.set_span_in_context(self._inside[-1]))
        self._inside.append(span)
        try:
            yield
        finally:
            self._inside.remove(span)
            span.end()

    def forwarded(self, upstream: str) -> Mapping[str, str]:
        """The exchange with the upstream begins; the headers that make its spans a part of this trace."""
        context = api.set_span_in_context(self._span)
        attributes = {"gateway.upstream": upstream}
        span = self._upstream = self._tracer.start_span("upstream", context, SpanKind.CLIENT, attributes=attributes)
        headers: dict[str, str] = {}
        _CONTEXT.inject(headers, api.set_span_in_context(span))
        return headers

    def end(self, record: Record) -> None:
        """The request is over, as `record` has it."""
        if self._upstream is not None:
            if record.status:
                self._upstream.set_attribute("http.response.status_code", record.status)
            self._upstream.end()
        span = self._span
        span.update_name(f"{record.method} {record.route or 'none'}".strip())
        span.set_attributes(_became(record))
        if record.outcome == "failed" or record.status >= 500:
            span.set_status(StatusCode.ERROR, record.reason or None)
        span.end()


class Traces:
    """Writes traces until it is stopped."""

    def __init__(self) -> None:
        """Reads OpenTelemetry's variables of the environment; ValueError for those that make no sense."""
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "gateway"}
        resource = Resource.create({**named, "service.version": __version__})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("gateway", __version__)
        # It tells of every attempt that failed, with a traceback; once would do, and the spans say what is missing.
        logging.getLogger("opentelemetry").setLevel(logging.ERROR)

    def begin(self, facts: RequestFacts, server: ServerRules) -> Trace:
        """The trace of a request, a part of the one that a trusted proxy names."""
        return Trace(self._tracer, _parent(facts, server), facts)

    def stop(self) -> None:
        """Send what has not been sent yet; blocks for three seconds at most."""
        self._provider.force_flush(_ENDING_MS)
        self._provider.shutdown()


def _parent(facts: RequestFacts, server: ServerRules) -> Context:
    parents = facts.named.get(b"traceparent", ())
    if len(parents) != 1 or not is_trusted(facts.peer, server):
        return Context()
    carrier = {"traceparent": parents[0].decode("latin-1")}
    states = facts.named.get(b"tracestate", ())
    if states:
        carrier["tracestate"] = b",".join(states).decode("latin-1")
    return _CONTEXT.extract(carrier, Context())


def _asked(facts: RequestFacts) -> dict[str, str]:
    """OpenTelemetry's names for HTTP; never the query, for queries carry tokens."""
    return {
        "http.request.method": facts.method,
        "url.scheme": facts.scheme,
        "url.path": facts.target.path,
        "server.address": facts.host,
        "client.address": facts.client,
    }


def _became(record: Record) -> dict[str, str | int]:
    said: dict[str, str | int] = {
        "gateway.request_id": record.request_id,
        "gateway.route": record.route,
        "gateway.outcome": record.outcome,
        "gateway.reason": record.reason,
        "enduser.id": record.subject,
        "http.response.status_code": record.status,
    }
    return {name: value for name, value in said.items() if value}
