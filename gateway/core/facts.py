"""A request's facts, or why it is no request that anybody should judge.

Framing and names are checked here once more, though a parser has seen them: two parsers in a row must not differ, and
services behind fold `_` and `.` onto `-`. Who the client is, is believed only of proxies that the route file names.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import chain
from urllib.parse import urlsplit

from gateway.core.model import HeaderLine, HeadLimits, Kept, Network, Reason, RequestFacts, ServerRules, noun
from gateway.core.target import canonical

METHOD = re.compile(r"[A-Z][A-Z-]{0,31}", re.ASCII)
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HOST = re.compile(r"((?:[a-z0-9_-]+\.)*[a-z0-9_-]+\.?|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", re.ASCII)
_MAX_HOST_BYTES = 260
_MAX_KEPT_BYTES = 256
# One entry of X-Forwarded-For: [IPv6], IPv4, both perhaps with a port, or a bare IPv6 address.
_NODE = re.compile(
    r"\[([0-9A-Fa-f.]{0,4}:[0-9A-Fa-f:.]{1,45})(?:%[!-Z^-~]{1,16})?\](?::[0-9]{1,5})?"
    r"|([0-9.]{7,15})(?::[0-9]{1,5})?|([0-9A-Fa-f:.]{2,45})"
)
_FRAMING = frozenset({b"transfer-encoding", b"content-length"})
_HTTP10 = (1, 0)
_VERSIONS = ((1, 1), _HTTP10)
_USUAL_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REFUSED_METHODS = frozenset({"CONNECT", "TRACE"})
# Names that need neither check nor lower-casing in their two usual spellings. A fixed list and no memory of what was
# seen: names are the client's to choose, and so would the memory's size be.
_USUAL_NAMES = (
    "accept accept-charset accept-encoding accept-language access-control-request-headers "
    "access-control-request-method authorization cache-control connection content-encoding content-language "
    "content-length content-type cookie date dnt expect forwarded from host if-match if-modified-since "
    "if-none-match if-range if-unmodified-since keep-alive last-event-id max-forwards origin pragma priority "
    "range referer save-data sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest sec-fetch-mode "
    "sec-fetch-site sec-fetch-user sec-gpc sec-websocket-extensions sec-websocket-key sec-websocket-protocol "
    "sec-websocket-version te traceparent tracestate trailer transfer-encoding upgrade "
    "upgrade-insecure-requests user-agent via x-api-key x-csrf-token x-csrftoken x-forwarded-for "
    "x-forwarded-host x-forwarded-port x-forwarded-proto x-real-ip x-request-id x-requested-with x-xsrf-token"
)
_LOWER = {spelt.encode(): name.encode() for name in _USUAL_NAMES.split() for spelt in (name, name.title())}


@noun
class HeaderBlock:
    """The headers of a request, checked. authority, host: as in `RequestFacts`.

    framed, framed10: whether the body is framed plainly for HTTP/1.1 and for HTTP/1.0.
    """

    headers: tuple[HeaderLine, ...]
    named: dict[bytes, tuple[bytes, ...]]
    authority: str
    host: str
    framed: bool
    framed10: bool
    kept: Kept


RawHeaders = tuple[tuple[bytes, bytes], ...]


def read_block(raw: RawHeaders, limits: HeadLimits) -> HeaderBlock | Reason:
    """Headers as they came over the wire, checked, or why they are none."""
    lines = _lines(raw, limits)
    if isinstance(lines, Reason):
        return lines
    headers, named = lines
    values = named.get(b"host")
    found = ("", "") if values is None else _host(values)
    if found is None:
        return Reason.BAD_REQUEST
    framed = framed10 = True
    if b"transfer-encoding" in named or b"content-length" in named:
        framed, framed10 = _is_framed_plainly(named, http10=False), _is_framed_plainly(named, http10=True)
    return HeaderBlock(tuple(headers), named, found[0], found[1], framed, framed10, Kept())


def gather(
    *,
    method: str,
    raw_target: bytes,
    version: tuple[int, int],
    block: HeaderBlock | Reason,
    peer: str,
    server: ServerRules,
    tls: bool = False,
) -> RequestFacts | Reason:
    """Facts of a request as it came over the wire.

    block: from `read_block` or `Blocks`. peer: its address, "" for a Unix socket. tls: it came encrypted.
    """
    if method in _REFUSED_METHODS:
        return Reason.METHOD_NOT_ALLOWED
    if version not in _VERSIONS or (method not in _USUAL_METHODS and METHOD.fullmatch(method) is None):
        return Reason.BAD_REQUEST
    http10 = version == _HTTP10
    if isinstance(block, Reason):
        return block
    authority, host, named = block.authority, block.host, block.named
    if not (block.framed10 if http10 else block.framed) or (not authority and not http10):
        return Reason.BAD_REQUEST
    if server.hosts and host not in server.hosts:
        return Reason.BAD_REQUEST
    target = (
        canonical(raw_target, authority) if len(raw_target) > _MAX_KEPT_BYTES else _kept_target(raw_target, authority)
    )
    if isinstance(target, Reason):
        return target
    near = plain_address(peer)
    client, scheme = near, _scheme(authority, server.public_urls, tls)
    if server.trusted_proxies and is_trusted(near, server):
        client = _forwarded_for(near, b",".join(named.get(b"x-forwarded-for", ())), server.trusted_proxies)
        scheme = _forwarded_scheme(named.get(b"x-forwarded-proto", ())) or scheme
    return RequestFacts(method, target, authority, host, scheme, near, client, block.headers, named, http10, block.kept)


# Paths are asked for again and again; a long one is not worth its place in the memory.
_kept_target = lru_cache(maxsize=4096)(canonical)


def client_key(client: str) -> str:
    """Whose allowance an address spends: an IPv4 address its own, an IPv6 address its network's (/64)."""
    return _network_key(client) if ":" in client else client


@lru_cache(maxsize=4096)
def _network_key(client: str) -> str:
    address = _address(client)
    if isinstance(address, IPv6Address):
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return client if address is None else str(address)


def _lines(lines: RawHeaders, limits: HeadLimits) -> tuple[list[HeaderLine], dict[bytes, tuple[bytes, ...]]] | Reason:
    # All of it in one piece, for a search in every value costs more than the rest of this function.
    whole = b"".join(chain.from_iterable(lines))
    total = len(whole) + 4 * len(lines)
    if len(lines) > limits.lines or total > limits.total_bytes:
        return Reason.HEADERS_TOO_LARGE
    longest = limits.line_bytes
    if total > longest and any(len(name) + len(value) + 4 > longest for name, value in lines):
        return Reason.HEADERS_TOO_LARGE
    if b"\x00" in whole or b"\r" in whole or b"\n" in whole:
        return Reason.BAD_REQUEST
    headers: list[HeaderLine] = []
    named: dict[bytes, tuple[bytes, ...]] = {}
    for name, value in lines:
        lower = _LOWER.get(name) or _lower(name)
        if not lower:
            return Reason.BAD_REQUEST
        headers.append((lower, name, value))
        if lower in named:
            named[lower] += (value,)
        else:
            named[lower] = (value,)
    return headers, named


def _lower(name: bytes) -> bytes:
    """A header name in lower case; b"" for what is no name, or would frame the body for a service that folds names."""
    if _NAME.fullmatch(name) is None:
        return b""
    lower = name.lower()
    folded = lower.replace(b"_", b"-").replace(b".", b"-")
    return lower if folded == lower or folded not in _FRAMING else b""


def is_trusted(peer: str, server: ServerRules) -> bool:
    """Whether a plain address is one of the proxies that the route file trusts."""
    return bool(peer and server.trusted_proxies) and _is_within(peer, server.trusted_proxies)


def read_host(value: bytes) -> tuple[str, str] | None:
    """(authority as sent, canonical name) from the value of a `Host`; None for anything but one plain host."""
    return _host((value,))


def _is_framed_plainly(named: dict[bytes, tuple[bytes, ...]], *, http10: bool) -> bool:
    """At most one length, or exactly `chunked`; never both (RFC 9112 section 6.3)."""
    codings, lengths = named.get(b"transfer-encoding"), named.get(b"content-length")
    if codings is not None:
        # Blanks and tabs only: a coding behind a vertical tab is one that another parser does not know.
        return not http10 and lengths is None and len(codings) == 1 and codings[0].strip(b" \t").lower() == b"chunked"
    return lengths is None or (len(lengths) == 1 and lengths[0].isdigit() and len(lengths[0]) < 20)


def _host(values: Sequence[bytes]) -> tuple[str, str] | None:
    """(authority as sent, canonical name); None for anything but one plain host."""
    # The length first: what is refused for it must not lie in the cache.
    return _read_host(values[0]) if len(values) == 1 and len(values[0]) <= _MAX_HOST_BYTES else None


@lru_cache(maxsize=1024)
def _read_host(value: bytes) -> tuple[str, str] | None:
    authority = value.strip(b" \t").decode("latin-1")
    match = _HOST.fullmatch(authority.lower())
    if match is None:
        return None
    if match[2] is not None and not 0 < int(match[2]) < 65536:
        return None
    name = match[1]
    if name.startswith("[") and (":" not in name or _address(name[1:-1]) is None):
        return None
    return authority, name.removesuffix(".")


@lru_cache(maxsize=1024)
def _scheme(authority: str, public_urls: tuple[str, ...], tls: bool) -> str:
    """As the client sees us: what the public URL with this host and port says, else one with this host."""
    asked = urlsplit(f"//{authority}")
    host = (asked.hostname or "").removesuffix(".")
    same_host = [url for url in map(urlsplit, public_urls) if host and url.hostname == host]
    for url in same_host:
        usual = 443 if url.scheme == "https" else 80
        if (asked.port or usual) == (url.port or usual):
            return url.scheme
    if same_host:
        return same_host[0].scheme
    return "https" if tls else "http"


@lru_cache(maxsize=4096)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or (IPv6Address(int(address)) if address.scope_id else address)
    return address


@lru_cache(maxsize=4096)
def plain_address(text: str) -> str:
    """An address in its usual spelling, without zone, an IPv4 one inside IPv6 as itself; "" for what is none."""
    address = _address(text)
    return str(address) if address is not None else ""


@lru_cache(maxsize=4096)
def _is_within(text: str, networks: tuple[Network, ...]) -> bool:
    address = _address(text)
    return address is not None and any(address in network for network in networks)


def _forwarded_for(peer: str, hops: bytes, trusted: tuple[Network, ...]) -> str:
    """From the right, the first address that is no trusted proxy; what cannot be read ends the walk."""
    # A client repeats itself, but a long chain is not worth its place in the memory.
    return _walked(peer, hops, trusted) if len(hops) <= _MAX_KEPT_BYTES else _walked.__wrapped__(peer, hops, trusted)


@lru_cache(maxsize=4096)
def _walked(peer: str, hops: bytes, trusted: tuple[Network, ...]) -> str:
    client = peer
    for entry in reversed(hops.decode("latin-1").split(",")):
        address = read_hop(entry)
        if not address:
            return client
        client = address
        if not _is_within(address, trusted):
            return client
    return client


def read_hop(entry: str) -> str:
    """The address in one entry of `X-Forwarded-For`; "" for what is none."""
    node = _NODE.fullmatch(entry.strip(" \t"))
    return plain_address(node[1] or node[2] or node[3]) if node is not None else ""


def _forwarded_scheme(values: Sequence[bytes]) -> str:
    last = values[-1].rpartition(b",")[2].strip(b" \t").lower() if values else b""
    return last.decode("ascii") if last in (b"http", b"https") else ""
