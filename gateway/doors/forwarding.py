"""From the permit to the exchange with the upstream, and from its reply's head to the lines that the client gets."""

import math

from gateway.assertion_keys import Assertions
from gateway.clock import Clock
from gateway.connection import Connection
from gateway.core import target as targets
from gateway.core.crosssite import cors_lines
from gateway.core.headers import ReplyAdditions, ReplyWriter, RequestWriter
from gateway.core.limits import ratelimit_lines
from gateway.core.model import Admit, Reason, Refuse, Route, ServerRules
from gateway.core.retry_after import parse_retry_after
from gateway.doors.visit import Visit, Writers
from gateway.holds import Holds
from gateway.streams import Streams
from gateway.upstream import Upstreams


class Forwarding:
    """What is made once for a route is made when its first request is admitted."""

    def __init__(
        self,
        *,
        upstreams: Upstreams,
        streams: Streams,
        holds: Holds,
        assertions: Assertions | None,
        is_traced: bool,
        server: ServerRules,
        project_id: str,
        clock: Clock,
    ) -> None:
        self._upstreams = upstreams
        self._streams = streams
        self._holds = holds
        self._assertions = assertions
        self._is_traced = is_traced
        self._server = server
        self._project_id = project_id
        self._clock = clock
        self._writers: dict[str, Writers] = {}

    def prepare(self, visit: Visit, admit: Admit) -> Refuse | None:
        """Make the exchange with the upstream, not begun yet; or say why there will be none after all."""
        facts, route, record = visit.facts, admit.match.route, visit.record
        assert facts is not None  # noqa: S101  # for the type checker: nobody is admitted without
        visit.admit = admit
        upstream, identity = route.upstream, admit.identity
        record.outcome, record.route, record.upstream = "admitted", route.id, upstream.name
        if identity is not None:
            record.subject = identity.subject
        sent = facts.target
        if route.strip_prefix:
            rewritten = targets.strip_prefix(sent, route.strip_prefix)
            if isinstance(rewritten, Reason):
                return Refuse(rewritten, route, set_cookies=admit.set_cookies)
            sent = rewritten
        if upstream.hold_on_retry_after:
            wait_s = self._holds.remaining_s(route.id, record.subject or facts.client)
            if wait_s:
                seconds = math.ceil(wait_s)
                return Refuse(Reason.UPSTREAM_BUSY, route, retry_after_s=seconds, set_cookies=admit.set_cookies)
        writers = visit.writers = self._writers.get(route.id) or self._compiled(route)
        visit.learn(facts)
        lines = writers.request.lines(facts, admit, record.request_id)
        if upstream.assertion and identity is not None and self._assertions is not None:
            lines = lines.and_one("X-Auth-Assertion", self._assertions.of(identity, admit, record.request_id))
        if visit.trace is not None:
            for name, value in visit.trace.forwarded(upstream.name).items():
                lines = lines.and_one(name, value)
        visit.exchange = self._upstreams.exchange(
            admit,
            writers.pool,
            visit,
            method=facts.method,
            path=upstream.base_path + sent.text,
            lines=lines,
            is_upgrade=visit.is_upgrade,
        )
        return None

    def reply_lines(self, visit: Visit, reply: Connection, cookies: tuple[bytes, ...]) -> list[bytes]:
        """Header lines of a reply, framing left out."""
        record, facts, admit, writers = visit.record, visit.facts, visit.admit, visit.writers
        assert facts is not None and admit is not None and writers is not None  # noqa: S101, PT018  # by `prepare`
        route = admit.match.route
        if route.upstream.hold_on_retry_after:
            self._note_hold(record.subject or facts.client, route, reply)
        record.status = reply.status
        if reply.is_event_stream or reply.status == 101:
            visit.stream = self._streams.open("websocket" if reply.status == 101 else "sse", facts, admit)
        additions = ReplyAdditions(
            record.request_id,
            cookies,
            ratelimit_lines(visit.standings) if visit.standings else (),
            cors_lines(facts, route.cors) if route.cors is not None else (),
        )
        return writers.reply.lines(reply.headers, additions)

    def _note_hold(self, caller: str, route: Route, reply: Connection) -> None:
        asked = next((value.decode("latin-1") for lower, _, value in reply.headers if lower == b"retry-after"), None)
        self._holds.note(route.id, caller, reply.status, parse_retry_after(asked, self._clock.now_s()))

    def _compiled(self, route: Route) -> Writers:
        cookies = self._server.cookies
        writers = self._writers[route.id] = Writers(
            RequestWriter(route, cookies, self._project_id, is_traced=self._is_traced),
            ReplyWriter(route, cookies),
            self._upstreams.pool(route.upstream),
        )
        return writers
