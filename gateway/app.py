"""Builds what serves from its settings, starts it and stops it.

The public listener and the admin listener share nothing but this process.
"""

import asyncio
import ssl
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from socket import socket
from typing import TYPE_CHECKING, TextIO

from aiohttp import http_parser, web

from gateway.admin import Admin, rendered, watched_of
from gateway.assertion_keys import AssertionKeys, Assertions
from gateway.audit import Audit
from gateway.certificates import server_certificate
from gateway.clock import Clock, SystemClock
from gateway.core import tokens
from gateway.core.errors import ConfigError
from gateway.core.limits import Allowances, AllowanceTable
from gateway.core.model import Reason
from gateway.decisions import Decided, Decisions
from gateway.doors.auth.flow import FlowSetting
from gateway.doors.listener import Listener
from gateway.doors.proxy import Inside, ProxyDoor
from gateway.doors.signin import SignIn
from gateway.gate import Gate
from gateway.holding import Holding, observer
from gateway.holds import Holds
from gateway.keyring import Keyring
from gateway.listening import Address, listen
from gateway.places import Place
from gateway.pool import Pool
from gateway.reload import refuse_restart
from gateway.routefile import Config
from gateway.sessions import Sessions
from gateway.sight import Sight, sight_of
from gateway.state import State
from gateway.status import StatusPage, Watched
from gateway.streams import Streams
from gateway.tasks import Tasks
from gateway.telemetry import Metrics, Record, RequestLog, log
from gateway.upstream import Upstreams

if TYPE_CHECKING:
    from gateway.traces import Traces

_LAST_REQUESTS_S, _LAST_LOOKS = 0.25, 25  # the way there and back of clients far away
_MOST_LOOKS = 200
# Signed by nobody, for nobody: if this ever verifies, the gateway must not serve.
_FORGED = "eyJhbGciOiJub25lIiwia2lkIjoieCIsInR5cCI6IkpXVCJ9.eyJleHAiOjQxMDI0NDQ4MDAsInN1YiI6IlUyeCJ9.AA"


@dataclass(frozen=True, slots=True)
class Shared:
    """What a gateway has in common with the other workers, where it is one of several."""

    state: State
    keyring: Keyring
    allowances: AllowanceTable
    sign_in_allowances: AllowanceTable
    workers: int = 1


class Gateway:
    """One gateway: construct, `start`, `stop`. Nothing is listened on and nobody asked before `start`."""

    def __init__(
        self,
        config: Config,
        *,
        log_form: str = "json",
        log_stream: TextIO | None = None,
        clock: Clock | None = None,
        traces: "Traces | None" = None,
        tasks: Tasks | None = None,
        shared: Shared | None = None,
    ) -> None:
        """traces: where to write a trace for each request; stopped with the gateway. shared: None for one alone."""
        _refuse_slow_parser()
        self.config = config
        self.clock = clock or SystemClock()
        self.metrics = Metrics()
        self.tasks = tasks or Tasks()
        self.request_log = RequestLog(log_form, log_stream or sys.stdout, self.clock.now_s)
        self._traces = traces
        lost = self.metrics.audit_lost
        self.audit = Audit(config.audit, log_stream or sys.stdout, self.clock.now_s, lost.inc) if config.audit else None
        self.decisions = Decisions(self.clock)
        self.status_address: Address | None = None
        self._draining = False
        self._stopping = False
        self._runners: list[web.ServerRunner] = []
        metrics = self.metrics
        self.holding: Holding | None = None
        if shared is None:
            self.holding = Holding(config, metrics, self.audit, self.tasks, self.clock)
            allowances = Allowances(), Allowances(capacity=20_000)
            shared = Shared(self.holding.state, self.holding.keyring, *allowances)
        self._shared = shared
        self.keyring = shared.keyring
        self.sessions = Sessions(
            config.refresh, shared.state, tasks=self.tasks, clock=self.clock, observe=observer(metrics, self.audit)
        )
        verifier = self.sessions.verifier
        metrics.token_cache.read_from(("hit",), lambda: verifier.hits)
        metrics.token_cache.read_from(("miss",), lambda: verifier.misses)
        self.upstreams = Upstreams(self.clock, self.tasks, shared.workers)
        self.certificate = server_certificate(config.server.tls) if config.server.tls is not None else None
        self.assertion_keys: AssertionKeys | None = None
        self._holds = Holds(self.clock)
        self._listener: Listener | None = None
        self.gate = self._gate(config)
        self.streams = Streams(self.gate, metrics, self.clock)
        self.door = self._door(config)

    def _gate(self, config: Config) -> Gate:
        return Gate(config.table, config.server, self.sessions, self._shared.allowances, self.clock)

    def _door(self, config: Config) -> ProxyDoor:
        """What follows from a route file; all that outlives it is shared with the door before."""
        metrics = self.metrics
        # Nobody needs keys where no upstream gets assertions, and then none are published.
        asserted = any(upstream.assertion for upstream in config.upstreams)
        if asserted and self.assertion_keys is None:
            self.assertion_keys = AssertionKeys(config.assertion, self.clock, follows=self.holding is None)
        keys = self.assertion_keys if asserted else None
        flows = FlowSetting(
            config.tokens.project_id,
            config.static_url,
            config.table,
            lambda code: metrics.flow_errors.labels(code).inc(),
        )
        inside = Inside(
            gate=self.gate,
            sign_in=SignIn(
                self.sessions,
                config.server,
                config.login,
                self.tasks,
                self.clock,
                flows=flows,
                allowances=self._shared.sign_in_allowances,
                keys=keys,
                renews_by_redirect=config.forward_auth is not None,
            ),
            forward_auth=config.forward_auth,
            sessions=self.sessions,
            upstreams=self.upstreams,
            streams=self.streams,
            holds=self._holds,
            assertions=Assertions(config.assertion, keys, self.clock) if keys is not None else None,
            traces=self._traces,
            noted=self._noted,
            is_audited=self.audit is not None,
            server=config.server,
            project_id=config.tokens.project_id,
            login_url=config.login.url,
            metrics=metrics,
            request_log=self.request_log,
            tasks=self.tasks,
            clock=self.clock,
            is_draining=lambda: self._draining,
        )
        return ProxyDoor(inside)

    def take_up(self, config: Config) -> None:
        """Serve by another route file from now on; raises ConfigError, and changes nothing, where that needs a restart.

        Requests under way are finished by the one that they came to; streams are judged by this one when their next
        look is due.
        """
        self.prepared(config)()

    def prepared(self, config: Config) -> Callable[[], None]:
        """All of `take_up` that can fail; what is returned does the rest, and cannot."""
        refuse_restart(self.config, config)
        had_keys, before = self.assertion_keys is not None, self.gate
        self.gate = gate = self._gate(config)
        try:
            door = self._door(config)
        finally:
            self.gate = before
        return lambda: self._swap(config, gate, door, had_keys=had_keys)

    def _swap(self, config: Config, gate: Gate, door: ProxyDoor, *, had_keys: bool) -> None:
        before, self.config = self.config, config
        self.gate = self.streams.gate = gate
        self.door = door
        if self._listener is not None:
            self._listener.door = door
        for upstream in before.upstreams:
            self.metrics.forget_upstream(upstream.name)
        self._serve_upstreams()
        if self.certificate is not None:
            self.certificate.look()  # whoever has it renewed need not wait
        if not had_keys:
            self._watch_assertion_keys()
        if self.holding is not None:
            for warning in config.warnings:
                log.warning(warning)

    def _serve_upstreams(self) -> None:
        for pool in self.upstreams.serve(self.config.upstreams):
            _watch(self.metrics, pool)

    def _watch_assertion_keys(self) -> None:
        if self.assertion_keys is not None and self.config.assertion.key_file and self.holding is not None:
            self.tasks.start(self.assertion_keys.keep_watch(), "watch the file of assertion keys")

    @property
    def is_ready(self) -> bool:
        return self.keyring.is_ready and not self._stopping

    async def start(
        self, where: Address | Sequence[socket], admin: Address | None, status: Address | None = None
    ) -> tuple[Address, Address | None]:
        """Listen, and fetch the signing keys meanwhile; returns the bound addresses. Raises ConfigError or OSError.

        where: clients come in, at an address or through sockets that stay open behind this gateway. status: where the
        status page is; then in `status_address`.
        """
        if self.holding is not None:
            for warning in self.config.warnings:
                log.warning(warning)
            self.metrics.reload_success.set(1)
            self.metrics.workers.set(1)
            self.metrics.keys_age.set_function(lambda: self.keyring.age_s if self.keyring.is_ready else -1)
        self.tasks.start(self.keyring.keep_fresh(), "keep the signing keys fresh")
        self.tasks.start(self.streams.keep_watch(), "watch over open streams")
        self._watch_assertion_keys()
        certificate = self.certificate
        if certificate is not None:
            self.metrics.certificate_expiry.set_function(certificate.expires_s)
            self.tasks.start(certificate.keep_watch(), "watch the files of the certificate")
        self._serve_upstreams()
        context = certificate.context if certificate is not None else None
        self._listener = Listener(self.door, self.config.server.head_limits)
        public = await self._listen(self._listener, where, context)
        private = await self._listen(web.Server(Admin(self).serve), admin) if admin is not None else None
        if status is not None:
            self.status_address = await self._listen(web.Server(StatusPage(self.watched, self.look).serve), status)
            log.info("status page", url=f"http://{self.status_address}/")
        self.tasks.start(self._self_test(), "self-test")
        if self.holding is not None:
            descope = self.holding.idp.base_url
            log.info("serving", listen=str(public), admin=str(private) if private else None, descope=descope)
        return public, private

    async def _listen(
        self, server: web.Server, where: Address | Sequence[socket], context: ssl.SSLContext | None = None
    ) -> Address:
        runner, address = await listen(server, where, self.config.shutdown.grace_s, context)
        self._runners.append(runner)
        return address

    async def _self_test(self) -> None:
        """A token that nobody signed must not verify; if it does, nothing is safe and the process ends."""
        keys = await self.keyring.ready()
        if not isinstance(tokens.session(_FORGED, keys, self.config.tokens), Reason):
            log.critical("self-test failed: a forged token verified")
            sys.exit(70)

    async def stop(self, before_end: Callable[[], None] = lambda: None) -> None:
        """Not ready at once; after `shutdown.delay` no new connections; what runs may end within `shutdown.grace`.

        before_end: called when everything has been served.
        """
        self._stopping = True
        if self.config.shutdown.delay_s:
            await asyncio.sleep(self.config.shutdown.delay_s)
        self._draining = True
        self.streams.stop()
        if self._listener is not None and self._listener.connections:
            # The public one is the first; the others tell how this one ends.
            for site in tuple(self._runners[0].sites):
                await site.stop()
            await self._answer_last(self._listener)
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()
        before_end()
        self.upstreams.close()
        await self.tasks.close()
        if self.holding is not None:
            await self.holding.idp.close()
        self.request_log.flush()
        if self.audit is not None:
            self.audit.close()
        if self._traces is not None:
            await asyncio.to_thread(self._traces.stop)
        log.info("stopped")

    @staticmethod
    async def _answer_last(listener: Listener) -> None:
        """A request may be on its way to a connection that seems idle; it is answered, and told that it is the last.

        As long as such come, others may; but not for ever.
        """
        left, quiet_looks = len(listener.connections), 0
        for _ in range(_MOST_LOOKS):
            if not left or quiet_looks >= _LAST_LOOKS:
                break
            await asyncio.sleep(_LAST_REQUESTS_S / _LAST_LOOKS)
            before, left = left, len(listener.connections)
            quiet_looks = 0 if left < before else quiet_looks + 1

    # --- as operators see it ----------------------------------------------------------------------------------------

    def standing(self) -> str:
        return "ready" if self.is_ready else ("stopping" if self._stopping else "no signing keys yet")

    @property
    def version(self) -> str:
        return self.config.version

    async def exposition(self) -> bytes:
        return await rendered(self.metrics.registry)

    async def decided(self) -> Sequence[Decided]:
        return tuple(self.decisions.newest())

    async def look(self) -> None:
        """There is nobody to ask."""

    def sight(self) -> Sight:
        """What this process sees of routes, limits and upstreams."""
        return sight_of(self.metrics, [self.upstreams.pool(upstream) for upstream in self.config.upstreams])

    def watched(self) -> Watched:
        """What the status page shows, as it is now; of a gateway that is alone."""
        assert self.holding is not None  # noqa: S101  # no worker has a status page
        seen = self.decisions.newest()
        return watched_of(self.config, self.holding, self.clock, self.sight(), decisions=seen, standing=self.standing())

    def _noted(self, record: Record) -> None:
        """A request that was not simply admitted is over."""
        if record.outcome not in ("refused", "failed"):
            return
        self.decisions.note(record)
        if self.audit is not None:
            self.audit.refused(record)


def _watch(metrics: Metrics, pool: Pool) -> None:
    """Let the metrics tell how a pool stands."""
    name = pool.upstream.name
    metrics.upstream_connections.read_from((name, "busy"), lambda: pool.busy)
    metrics.upstream_connections.read_from((name, "idle"), lambda: pool.idle)
    metrics.upstream_waiting.read_from((name,), lambda: pool.waiting)
    metrics.upstream_retries.read_from((name, "repeated"), lambda: pool.repeats)
    metrics.upstream_retries.read_from((name, "over_budget"), lambda: pool.repeats_refused)
    for place in pool.places.balance.members:
        metrics.upstream_healthy.read_from((name, place.target.name), partial(_is_in, place))


def _is_in(place: Place) -> int:
    return int(place.is_in)


def _refuse_slow_parser() -> None:
    """aiohttp's parser in Python accepts HTTP versions and chunk sizes that no parser should."""
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise ConfigError(
            ("aiohttp runs without its C parser; install a wheel for this platform and unset AIOHTTP_NO_EXTENSIONS",)
        )
