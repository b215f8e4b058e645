"""Takes one document through shape, meaning and table, section by section, to a `Config`."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from gateway.core.imagined import imagined
from gateway.core.model import (
    Limit,
    ServerRules,
    Upstream,
)
from gateway.core.patterns import canonical_host
from gateway.core.routes import RouteTable, compile_or_flaws
from gateway.routefile import compile as compiled
from gateway.routefile.assertion import Assertion, assertion_rules
from gateway.routefile.checks import (
    check_flows,
    check_route,
    is_local,
    server_doubts,
    server_faults,
    warn_of_open_sign_up,
    warn_of_spellings,
    warn_of_unused,
)
from gateway.routefile.config import Config, Expectation
from gateway.routefile.forms import Section
from gateway.routefile.login import Login, login_rules
from gateway.routefile.reading import Piece, Reading, told, unknown_key
from gateway.routefile.rules import Route as RouteSpec
from gateway.routefile.schema import (
    AccessKeys,
    Caller,
    Defaults,
    Descope,
    Doors,
    Refresh,
    RouteFile,
    Server,
    Shutdown,
)
from gateway.routefile.schema import Expectation as ExpectationSpec
from gateway.routefile.schema import Limit as LimitSpec
from gateway.routefile.service_checks import (
    audit_place,
    check_assertion,
    check_listener_tls,
    check_upstream,
    warn_of_other_names,
)
from gateway.routefile.services import Upstream as UpstreamSpec
from gateway.routefile.urls import exact_host
from gateway.routefile.values import expected, name, request_line
from gateway.routefile.yamlmarks import Loc

S = TypeVar("S", bound=Section)

# Where routes of unknown upstreams go while the file is still searched for problems; no file with one is served.
_NOWHERE = Upstream(name="", authority="")
_REQUIRED = ("version", "descope", "server", "upstreams", "routes")


class WholeFile:
    """One route file on its way to a `Config`; whatever is wrong goes to the reading."""

    def __init__(self, reading: Reading, file: str) -> None:
        self._reading = reading
        self._file = file
        self._said: dict[str, Any] = reading.document.value
        # No names where they are in doubt: what a route says of them is not judged then.
        reading.context = {
            kind: frozenset(said)
            for kind, said in (("upstreams", self._said.get("upstreams")), ("limits", self._said.get("limits", {})))
            if isinstance(said, dict)
        }

    def config(self) -> Config | None:
        self._check_keys()
        reading = self._reading
        descope = self._section("descope", Descope)
        server = self._section("server", Server)
        login = self._section("login", Login)
        refresh = self._section("refresh", Refresh)
        access_keys = self._section("access_keys", AccessKeys)
        assertion = self._section("assertion", Assertion)
        shutdown = self._section("shutdown", Shutdown)
        doors = self._section("doors", Doors)
        defaults = self._section("defaults", Defaults)
        audit = audit_place(reading, self._said.get("audit"))
        server_rules = self._server(server)
        upstream_specs: dict[str, UpstreamSpec] = {}
        for declared, service in self._declared("upstreams", UpstreamSpec):
            check_upstream(reading, service)
            upstream_specs[declared] = service.spec
        limits = {declared: compiled.limit(declared, one.spec) for declared, one in self._declared("limits", LimitSpec)}
        upstreams = {name: compiled.upstream(name, spec) for name, spec in upstream_specs.items()}
        if assertion is not None and "assertion" in self._said:
            is_asked_for = any(upstream.assertion for upstream in upstreams.values())
            check_assertion(reading, assertion, is_asked_for=is_asked_for)
        pieces = self._routes()
        for piece in pieces:
            check_route(reading, piece, defaults, upstream_specs, limits)
        table = self._table(pieces, defaults, upstreams, limits)
        expectations = tuple(self._expectations())
        self._doubts(pieces, defaults, server_rules)
        if doors is not None and doors.spec.forward_auth and server_rules and not server_rules.trusted_proxies:
            reading.problem(
                ("doors", "forward_auth"), "nobody may ask yet; name the proxy's address in server.trusted_proxies"
            )
        if doors is not None and doors.spec.forward_auth:
            warn_of_other_names(reading, upstreams)
        if login is not None:
            check_flows(reading, pieces, login.spec)
        if login is not None and login.spec.sign_up:
            warn_of_open_sign_up(reading, pieces)
        # A section is None only where a problem has been told of it.
        if reading.problems or not (
            descope
            and server_rules
            and login
            and refresh
            and access_keys
            and assertion
            and shutdown
            and doors
            and table
        ):
            return None
        return Config(
            tokens=compiled.token_rules(descope.spec, server_rules.cookies),
            base_url=compiled.descope_url(descope.spec),
            static_url=compiled.static_url(descope.spec),
            server=server_rules,
            login=login_rules(login.spec),
            refresh=compiled.refresh_rules(refresh.spec),
            access_keys=compiled.access_key_rules(access_keys.spec),
            assertion=assertion_rules(assertion.spec, server_rules),
            shutdown=compiled.shutdown_rules(shutdown.spec),
            table=table,
            upstreams=tuple(upstreams.values()),
            limits=tuple(limits.values()),
            expectations=expectations,
            warnings=told(reading.warnings, self._file),
            forward_auth=compiled.forward_auth(doors.spec),
            audit=audit,
        )

    # --- pieces ---

    def _mapping(self, key: str) -> dict[str, Any]:
        value = self._said.get(key)
        return value if isinstance(value, dict) else {}

    def _list(self, key: str) -> list[Any]:
        value = self._said.get(key, [])
        if isinstance(value, list):
            return value
        if (key,) not in self._reading.document.spoiled:
            self._reading.problem((key,), "a list is wanted here; begin each item with `- `")
        return []

    def _check_keys(self) -> None:
        reading = self._reading
        meant = set()
        for key in self._said:
            if key not in RouteFile.model_fields:
                sentence, near = unknown_key(key, RouteFile.model_fields)
                reading.problem((key,), sentence, key=True)
                meant.add(near)
        for key in _REQUIRED:
            if key not in self._said and key not in meant:
                reading.problem((), f"the key `{key}` is missing; add it")
        version = self._said.get("version", 1)
        if (version != 1 or not isinstance(version, int)) and ("version",) not in reading.document.spoiled:
            reading.problem(("version",), "this gateway reads version 1 of the route file; write version: 1")
        if self._said.get("routes") == []:
            reading.problem(("routes",), "without a route nothing is ever forwarded; write at least one")

    def _section(self, key: str, model: type[S]) -> Piece[S] | None:
        if key in self._said:
            return self._reading.piece(model, (key,))
        return None if key in _REQUIRED else Piece(model(), (key,))

    def _server(self, piece: Piece[Server] | None) -> ServerRules | None:
        if piece is None:
            return None
        rules = compiled.server_rules(piece.spec)
        if piece.is_sure_of("tls", "public_urls"):
            check_listener_tls(self._reading, rules)
        if piece.is_sure_of("cookies", "public_urls"):
            for key, sentence in server_faults(rules):
                self._reading.problem(("server", key), sentence)
        return rules

    def _declared(self, key: str, model: type[S]) -> Iterator[tuple[str, Piece[S]]]:
        if not isinstance(self._said.get(key, {}), dict) and (key,) not in self._reading.document.spoiled:
            self._reading.problem((key,), "a mapping from names is wanted here: {name: {...}}")
        for declared in self._mapping(key):
            try:
                name(declared)
            except ValueError as err:
                self._reading.problem((key, declared), str(err), key=True)
            piece = self._reading.piece(model, (key, declared))
            if piece is not None:
                yield declared, piece

    def _routes(self) -> list[Piece[RouteSpec]]:
        declared = next(iter(self._mapping("upstreams")), "")
        stand_ins = {"id": "stand-in", "match": {"path": "/"}, "upstream": declared}
        found = (
            self._reading.piece(RouteSpec, ("routes", index), stand_ins) for index, _ in enumerate(self._list("routes"))
        )
        return [piece for piece in found if piece is not None]

    def _table(
        self,
        pieces: list[Piece[RouteSpec]],
        defaults: Piece[Defaults] | None,
        upstreams: Mapping[str, Upstream],
        limits: Mapping[str, Limit],
    ) -> RouteTable | None:
        sure = [piece for piece in pieces if piece.is_sure_of("id", "match")]
        fallback = defaults.spec if defaults is not None else Defaults()
        routes = [
            compiled.route(piece.spec, fallback, upstreams.get(piece.spec.upstream, _NOWHERE), limits) for piece in sure
        ]
        table = compile_or_flaws(routes)
        if isinstance(table, RouteTable):
            return table
        for flaw in table:
            loc: Loc = (*sure[flaw.index].loc, "id") if flaw.key == "id" else (*sure[flaw.index].loc, "match", flaw.key)
            self._reading.problem(loc, flaw.sentence)
        return None

    def _expectations(self) -> Iterator[Expectation]:
        for index, _ in enumerate(self._list("tests")):
            loc: Loc = ("tests", index)
            piece = self._reading.piece(ExpectationSpec, loc)
            if piece is None:
                continue
            spec = piece.spec
            method, target, host = request_line(spec.request)
            if host and spec.host:
                self._reading.problem((*loc, "host"), "the request names a host already; keep one of the two", key=True)
            caller = spec.caller.model_dump(exclude_unset=True) if isinstance(spec.caller, Caller) else None
            if caller is not None and piece.is_sure_of("as"):
                found = imagined(caller)
                if isinstance(found, str):
                    self._reading.problem((*loc, "as"), found)
            status, reason = expected(spec.expect)
            mark = self._reading.document.mark(loc)
            yield Expectation(
                request=spec.request,
                method=method,
                target=target,
                host=host or (exact_host(spec.host) if spec.host else ""),
                as_=caller,
                status=status,
                reason=reason,
                line=f"{self._file}:{mark.line}:{mark.column}",
            )

    # --- warnings ---

    def _doubts(
        self, pieces: list[Piece[RouteSpec]], defaults: Piece[Defaults] | None, server: ServerRules | None
    ) -> None:
        reading = self._reading
        warn_of_unused(
            reading, "upstreams", [piece.spec.upstream for piece in pieces], "take it away, or send a route to it"
        )
        used = [name for piece in pieces for name in piece.spec.limit or ()]
        used += defaults.spec.limit if defaults is not None else []
        warn_of_unused(reading, "limits", used, "take it away, or name it in a route's `limit`")
        for key in ("roles", "permissions"):
            warn_of_spellings(reading, key.removesuffix("s"), _named(self._said, key))
        url = self._mapping("descope").get("base_url")
        if isinstance(url, str) and url.startswith("http:") and not is_local(urlsplit(url).hostname or ""):
            reading.warn(
                ("descope", "base_url"), "sessions and keys travel to it unencrypted; use https outside of tests"
            )
        if server is None:
            return
        for key, sentence in server_doubts(server):
            reading.warn(("server", key), sentence)
        for piece in pieces:
            host = canonical_host(piece.spec.match.host or "")
            if host and server.hosts and not any(_is_for(host, one) for one in server.hosts):
                reading.warn(
                    (*piece.loc, "match", "host"), f"{host} is none of server.hosts, so this route is never reached"
                )


def _is_for(pattern: str, host: str) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def _named(said: object, key: str, loc: Loc = ()) -> Iterator[tuple[str, Loc]]:
    """Every text listed under `key` (roles, permissions), at whatever depth, in the file's order."""
    if isinstance(said, dict):
        for name, value in said.items():
            if name == key:
                yield from _texts(value, (*loc, name))
            else:
                yield from _named(value, key, (*loc, name))
    elif isinstance(said, list):
        for index, value in enumerate(said):
            yield from _named(value, key, (*loc, index))


def _texts(said: object, loc: Loc) -> Iterator[tuple[str, Loc]]:
    if isinstance(said, str):
        yield said, loc
    elif isinstance(said, dict):
        for name, value in said.items():
            yield from _texts(value, (*loc, name))
    elif isinstance(said, list):
        for index, value in enumerate(said):
            yield from _texts(value, (*loc, index))
