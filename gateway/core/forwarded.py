"""The request that another proxy asks about, from what that proxy says of it.

Each dialect says it with headers of its own, and exactly those are read: a client can send every other dialect's. They
count only from a trusted proxy, whose business it is to overwrite what its client sent under these names. What is
missing, comes twice or cannot be read is refused, never filled in with something likely.
"""

from dataclasses import dataclass
from enum import StrEnum

from gateway.core.facts import HeaderBlock, gather, is_trusted, read_hop, read_host
from gateway.core.headers import Lines, folded, is_ours
from gateway.core.model import Kept, Reason, RequestFacts, Route, ServerRules

PREFIX = "/.auth/verify"
_HTTP11 = (1, 1)
_CREDENTIALS = frozenset({b"cookie", b"authorization", b"x-api-key"})
_THEIRS = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"host", b"content-length", b"expect"})


class Dialect(StrEnum):
    """Which proxy asks; its value is its name in `doors.forward_auth.dialect`."""

    NGINX = "nginx"
    TRAEFIK = "traefik"
    CADDY = "caddy"
    ENVOY = "envoy"
    HAPROXY = "haproxy"

    @property
    def carries_cookies(self) -> bool:
        """Whether the proxy can hand several `Set-Cookie` lines of a 200 on to the client."""
        return self in (Dialect.TRAEFIK, Dialect.ENVOY, Dialect.HAPROXY)

    @property
    def knows_all_statuses(self) -> bool:
        """Whether the proxy passes any refusal on as it is; nginx takes 401 and 403, and makes 500 of all others."""
        return self is not Dialect.NGINX


@dataclass(frozen=True, slots=True)
class ForwardAuth:
    """How `/.auth/verify` is asked. renew: whether an admitted request's answer may carry renewed cookies."""

    dialect: Dialect
    renew: bool = False


# Where a dialect says method, URI and host of the original request.
_ORIGINAL = (b"x-original-method", b"x-original-uri", b"x-original-host")
_FORWARDED = (b"x-forwarded-method", b"x-forwarded-uri", b"x-forwarded-host")
_NAMES = {
    Dialect.NGINX: _ORIGINAL,
    Dialect.TRAEFIK: _FORWARDED,
    Dialect.CADDY: _FORWARDED,
    Dialect.HAPROXY: _FORWARDED,
}


def original(asked: RequestFacts, raw_target: bytes, dialect: Dialect, server: ServerRules) -> RequestFacts | Reason:
    """Facts of the request that is asked about, or why there is no telling which one that is.

    asked, raw_target: the request for `/.auth/verify` itself, and its target as it came.
    """
    if not is_trusted(asked.peer, server):
        return Reason.CLIENT_NOT_ALLOWED
    if not _one(asked, b"x-forwarded-for") or _one(asked, b"x-forwarded-proto") not in (b"http", b"https"):
        return Reason.BAD_REQUEST
    names = _NAMES.get(dialect)
    if names is None:  # Envoy: a prefix before the path, and all else as it was
        method, uri, host = asked.method, raw_target.removeprefix(PREFIX.encode()), asked.authority.encode("latin-1")
        if uri == raw_target:
            return Reason.BAD_REQUEST
    else:
        said = [_one(asked, name) for name in names]
        # Caddy puts the original query behind its question; it says the same as the header does, and is not read.
        is_asked = asked.target.path == PREFIX and (asked.target.query is None or dialect is Dialect.CADDY)
        if not is_asked:
            return Reason.BAD_REQUEST
        method, uri, host = said[0].decode("latin-1"), said[1], said[2]
    found = read_host(host)
    # Only a path: an absolute form would bring a second host along.
    if found is None or not uri.startswith(b"/"):
        return Reason.BAD_REQUEST
    block = HeaderBlock(asked.headers, dict(asked.named), found[0], found[1], True, True, Kept())
    facts = gather(method=method, raw_target=uri, version=_HTTP11, block=block, peer=asked.peer, server=server)
    if isinstance(facts, RequestFacts) and is_trusted(facts.client, server):
        # As near as that a client is only by what is said of it, never because nobody could read what was said.
        hops = _one(asked, b"x-forwarded-for").decode("latin-1").split(",")
        if not all(map(read_hop, hops)):
            return Reason.BAD_REQUEST
    if isinstance(facts, RequestFacts) and f"/{facts.target.segments[0]}" == PREFIX.rpartition("/")[0]:
        return Reason.NOT_FOUND  # our own pages are asked for here, not asked about
    return facts


def is_socket(facts: RequestFacts) -> bool:
    """Whether a WebSocket is asked for. `Upgrade` belongs to one connection and is gone behind most proxies; browsers
    send this key with every such request, and no page can set or leave it out (WebSocket protocol, RFC 6455)."""
    upgrades = (value.strip().lower() for value in facts.named.get(b"upgrade", ()))
    return facts.method == "GET" and (b"sec-websocket-key" in facts.named or b"websocket" in upgrades)


def told_lines(lines: Lines, route: Route) -> list[bytes]:
    """Of the lines that would be forwarded here those that another proxy cannot know: what the caller is, what the
    route sets, and its credentials' headers without what is ours in them, each at most once."""
    told = {b"x-request-id"} | {folded(name.lower().encode("ascii")) for name, _ in route.header_rules.set}
    told |= route.upstream.identity_headers.reserved
    out: list[bytes] = []
    cookies: list[bytes] = []
    for line in lines.text.split(b"\r\n")[:-1]:
        raw_name, _, value = line.partition(b": ")
        name = folded(raw_name.lower())
        if name == b"cookie":
            cookies.append(value)
        elif name in told or name in _CREDENTIALS or name.startswith(b"x-auth-"):
            out.append(line)
    return [*out, b"Cookie: " + b"; ".join(cookies)] if cookies else out


def names_to_remove(facts: RequestFacts, told: list[bytes], route: Route) -> list[bytes]:
    """Headers that the client sent, in its own spelling of them, and that no service behind may see."""
    kept = {line.partition(b":")[0].lower() for line in told} | _THEIRS
    taken = _CREDENTIALS | route.upstream.identity_headers.reserved
    taken |= {folded(name.lower().encode("ascii")) for name, _ in route.header_rules.set}
    return [name for name in facts.named if name not in kept and (is_ours(name) or folded(name) in taken)]


def _one(facts: RequestFacts, name: bytes) -> bytes:
    """The value of a header that came once and says something; b"" otherwise."""
    values = facts.named.get(name, ())
    return values[0] if len(values) == 1 else b""
