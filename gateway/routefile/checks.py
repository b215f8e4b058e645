"""Questions about a route file that no value answers alone. Problems refuse the file, doubts become warnings."""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from urllib.parse import urlsplit

from gateway.core.headers import folded
from gateway.core.model import (
    ConstantTenant,
    ForwardToken,
    HostLabel,
    Limit,
    PathCapture,
    Per,
    ServerRules,
    Target,
    TenantSource,
)
from gateway.core.patterns import Rank, canonical_host, pattern_pieces
from gateway.core.target import canonical
from gateway.routefile.identity_headers import identity_headers
from gateway.routefile.login import Login
from gateway.routefile.reading import Piece, Reading
from gateway.routefile.rules import Headers, Route
from gateway.routefile.schema import Defaults
from gateway.routefile.services import Upstream
from gateway.routefile.values import KNOWN_METHODS, prefix_path, template, tenant_source
from gateway.routefile.yamlmarks import Loc


def is_local(host: str) -> bool:
    return host in ("localhost", "::1") or host.endswith(".localhost") or host.startswith("127.")


def server_doubts(rules: ServerRules) -> Iterator[tuple[str, str]]:
    """Warnings about the server section: a key and a sentence each."""
    for url in rules.public_urls:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme == "https" and not rules.cookies.secure:
            yield "cookies", f"secure is false although {url} is https; set it to true where that is not a test"
        if parts.scheme == "http" and rules.cookies.secure and not is_local(host):
            yield "public_urls", f"browsers do not keep secure cookies from {url}; use https"
        if (
            rules.hosts
            and canonical_host(parts.netloc.rpartition(":")[0] if parts.port else parts.netloc) not in rules.hosts
        ):
            yield "hosts", f"{url} is a public URL, but its host is not accepted; add {host}"
    if rules.cookies.path != "/":
        yield "cookies", f"paths outside {rules.cookies.path}, /.auth/ among them, get no session cookie"


def server_faults(rules: ServerRules) -> Iterator[tuple[str, str]]:
    """Problems of the server section: a key and a sentence each."""
    domain = rules.cookies.domain
    for url in rules.public_urls:
        host = urlsplit(url).hostname or ""
        if domain and host != domain and not host.endswith(f".{domain}"):
            yield "cookies", f"browsers drop cookies for {domain} from {url}; the domain must cover every public URL"


def tenant_fault(source: TenantSource | None, captures: frozenset[str], host: str) -> str:
    """Why a tenant cannot be read from where `require.tenant` says; "" where it can."""
    match source:
        case PathCapture(name) if name not in captures:
            near = get_close_matches(name, captures, 1)
            hint = f"; did you mean {{path.{near[0]}}}?" if near else f"; write {{{name}}} into match.path"
            return f"the path pattern has no {{{name}}}{hint}"
        case HostLabel() if not host:
            return "a host label needs a host; add match.host, such as '*.example.com'"
        case HostLabel(index) if index >= host.count(".") + 1:
            return f"the host {host} has no label {index}; its first is label 0"
        case _:
            return ""


def tenant_doubt(source: TenantSource | None) -> str:
    if isinstance(source, ConstantTenant) and get_close_matches(source.value.lower(), ["selected"], 1, 0.75):
        return (
            f"this is the tenant with the id {source.value!a}; the one that a token has selected is written `selected`"
        )
    return ""


# --- routes ---------------------------------------------------------------------------------------------------------


def check_route(
    reading: Reading,
    piece: Piece[Route],
    defaults: Piece[Defaults] | None,
    upstreams: Mapping[str, Upstream],
    limits: Mapping[str, Limit],
) -> None:
    """Tell what the parts of one route make of each other; parts in doubt are not spoken of."""
    _check_public(reading, piece, limits)
    _check_keys(reading, piece, limits)
    _check_tenant(reading, piece)
    _check_methods(reading, piece)
    if piece.is_sure_of("match.path"):
        _check_prefix(reading, piece)
        for headers, loc in _headers(piece, defaults):
            _check_templates(reading, piece, headers, loc)
    if piece.is_sure_of("upstream"):
        _check_said_twice(reading, piece, defaults, upstreams)


def _check_public(reading: Reading, piece: Piece[Route], limits: Mapping[str, Limit]) -> None:
    spec, loc = piece.spec, piece.loc
    if not piece.is_sure_of("auth") or spec.auth != "public":
        return
    if "require" in reading.value(loc):
        reading.problem(
            (*loc, "require"),
            "a public route asks nobody who they are, so it can require nothing; choose another auth",
            key=True,
        )
    for index, name in _limit_names(reading, loc):
        if name in limits and limits[name].per is not Per.CLIENT:
            reading.problem(
                (*loc, "limit", index),
                f"{name!a} counts per {limits[name].per}, and a public route knows nobody; use one per client",
            )


def _check_keys(reading: Reading, piece: Piece[Route], limits: Mapping[str, Limit]) -> None:
    spec, loc = piece.spec, piece.loc
    if not piece.is_sure_of("auth") or spec.auth in ("access_key", "any"):
        return
    remedy = "this route takes no access keys; set auth: access_key or any"
    if spec.require is not None and spec.require.key_ids:
        reading.problem((*loc, "require", "key_ids"), remedy, key=True)
    if spec.access_keys is not None:
        reading.problem((*loc, "access_keys"), remedy, key=True)
    for index, name in _limit_names(reading, loc):
        if name in limits and limits[name].per is Per.ACCESS_KEY and spec.auth != "public":
            reading.warn((*loc, "limit", index), f"{name!a} counts access keys, and this route takes none")


def _limit_names(reading: Reading, loc: Loc) -> Iterator[tuple[int, str]]:
    """The names as they stand in the file: one that nobody knows does not hide the others."""
    names = reading.value(loc).get("limit")
    for index, name in enumerate(names if isinstance(names, list) else ()):
        if isinstance(name, str):
            yield index, name


def _check_tenant(reading: Reading, piece: Piece[Route]) -> None:
    require = piece.spec.require
    if require is None or require.tenant is None:
        return
    source = tenant_source(require.tenant)
    loc: Loc = (*piece.loc, "require", "tenant")
    host = canonical_host(piece.spec.match.host or "")
    if piece.is_sure_of("match.host" if isinstance(source, HostLabel) else "match.path"):
        fault = tenant_fault(source, captures(piece.spec.match.path), host)
        if fault:
            reading.problem(loc, fault)
    doubt = tenant_doubt(source)
    if doubt:
        reading.warn(loc, doubt)


def _check_prefix(reading: Reading, piece: Piece[Route]) -> None:
    rewrite, path = piece.spec.rewrite, piece.spec.match.path
    if rewrite is not None and not _begins_with(path, rewrite.strip_prefix):
        reading.problem(
            (*piece.loc, "rewrite", "strip_prefix"),
            f"the path pattern {path} does not begin with {rewrite.strip_prefix} in literal segments",
        )


def _check_methods(reading: Reading, piece: Piece[Route]) -> None:
    for index, method in enumerate(piece.spec.match.methods or ()):
        if method not in KNOWN_METHODS:
            near = get_close_matches(method, KNOWN_METHODS, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            reading.warn((*piece.loc, "match", "methods", index), f"{method} is no registered method{hint}")


def captures(path: str) -> frozenset[str]:
    return frozenset(piece.text for piece in pattern_pieces(path) if piece.rank is Rank.CAPTURE)


def _begins_with(path: str, prefix: str) -> bool:
    target = canonical(prefix_path(prefix).encode("ascii"))
    pieces = pattern_pieces(path)
    return (
        isinstance(target, Target)
        and len(target.segments) <= len(pieces)
        and all(
            piece.rank is Rank.LITERAL and piece.text == segment
            for piece, segment in zip(pieces, target.segments, strict=False)
        )
    )


def _headers(piece: Piece[Route], defaults: Piece[Defaults] | None) -> Iterator[tuple[Headers, Loc]]:
    yield piece.spec.headers, (*piece.loc, "headers", "set")
    if defaults is not None and piece.is_sure_of("headers"):
        own = {name.lower() for name in (*piece.spec.headers.set, *piece.spec.headers.remove)}
        kept = {name: text for name, text in defaults.spec.headers.set.items() if name.lower() not in own}
        yield Headers(set=kept), (*defaults.loc, "headers", "set")


def _check_templates(reading: Reading, piece: Piece[Route], headers: Headers, loc: Loc) -> None:
    spec = piece.spec
    known = captures(spec.match.path) if headers.set else frozenset()
    for header, text in headers.set.items():
        for name in template(text).names:
            area, _, rest = name.partition(".")
            if area == "path" and rest not in known:
                near = get_close_matches(rest, known, 1)
                hint = f"; did you mean {{path.{near[0]}}}?" if near else ""
                where = f"the path pattern {spec.match.path} of route {spec.id!a}"
                reading.problem((*loc, header), f"{where} has no {{{rest}}}{hint}")
            elif area == "identity" and spec.auth == "public" and loc[: len(piece.loc)] == piece.loc:
                reading.warn((*loc, header), "nobody is known on a public route, so this header will be left out")


def _check_said_twice(
    reading: Reading, piece: Piece[Route], defaults: Piece[Defaults] | None, upstreams: Mapping[str, Upstream]
) -> None:
    to = upstreams.get(piece.spec.upstream)
    if to is None:
        return
    reserved = identity_headers(to.identity_headers).reserved
    for headers, loc in _headers(piece, defaults):
        for header in headers.set:
            if folded(header.lower().encode("ascii")) in reserved:
                reading.problem(
                    (*loc, header),
                    f"the upstream {piece.spec.upstream!a} is told who calls in it (identity_headers); drop one",
                    key=True,
                )
            if header.lower() == "authorization" and to.forward_token == ForwardToken.BEARER.value:
                reading.problem(
                    (*loc, header),
                    f"the upstream {piece.spec.upstream!a} gets the session token as Authorization; drop one",
                    key=True,
                )


# --- across the file ------------------------------------------------------------------------------------------------


def warn_of_unused(reading: Reading, kind: str, used: Iterable[str], remedy: str) -> None:
    declared = reading.document.value.get(kind)
    known = set(used)
    for name in declared if isinstance(declared, dict) else ():
        if name not in known:
            reading.warn((kind, name), f"no route uses it; {remedy}", key=True)


def check_flows(reading: Reading, pieces: Iterable[Piece[Route]], login: Login) -> None:
    """A route's own flow needs the page that runs flows."""
    for piece in pieces:
        if piece.spec.flow and "flow" not in login.methods:
            reading.problem(
                (*piece.loc, "flow"),
                "no flow runs here, for login.methods has no `flow`; add it, or take this key away",
            )


def warn_of_open_sign_up(reading: Reading, pieces: Iterable[Piece[Route]]) -> None:
    """Where anybody may make an account, a session alone proves nothing but that."""
    for piece in pieces:
        asked = piece.spec.require
        is_particular = asked is not None and (asked.roles or asked.permissions or asked.tenant or asked.claims)
        if piece.spec.auth in ("session", "any") and not is_particular:
            reading.warn(
                (*piece.loc, "id"),
                f"anybody can make an account (login.sign_up) and come in here: route {piece.spec.id!a} asks for no "
                "role, permission, tenant or claim",
            )


def warn_of_spellings(reading: Reading, word: str, names: Iterable[tuple[str, Loc]]) -> None:
    """Roles and permissions are told apart by case, so two spellings of one are nearly always a slip."""
    first: dict[str, str] = {}
    told: set[str] = set()
    for name, loc in names:
        known = first.setdefault(name.lower(), name)
        if known != name and name not in told:
            told.add(name)
            reading.warn(loc, f"the {word} {name!a} is also written {known!a}; they are two {word}s to Descope")
