"""A request's facts, or why it is no request that anybody should judge.

Framing and names are checked here once more, though a parser has seen them: two parsers in a row must not differ, and
services behind fold `_` and `.` onto `-`. Who the client is, is believed only of proxies that the route file names.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from gateway.core.model import HeaderLine, Network, Reason, RequestFacts, ServerRules
from gateway.core.target import canonical

MAX_LINE_BYTES = 32 * 1024
MAX_LINES = 200
MAX_HEAD_BYTES = 64 * 1024

_METHOD = re.compile(r"[A-Z][A-Z_-]{0,31}", re.ASCII)
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BAD_VALUE = re.compile(rb"[\x00\r\n]")
_HOST = re.compile(r"((?:[a-z0-9_-]+\.)*[a-z0-9_-]+\.?|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", re.ASCII)
_FRAMING = frozenset({b"transfer-encoding", b"content-length"})
_REFUSED_METHODS = frozenset({"CONNECT", "TRACE"})


def gather(
    *,
    method: str,
    raw_target: bytes,
    version: tuple[int, int],
    raw_headers: Iterable[tuple[bytes, bytes]],
    peer: str,
    server: ServerRules,
    tls: bool = False,
) -> RequestFacts | Reason:
    """Facts of a request as it came over the wire. peer: its address, "" for a Unix socket; tls: it came encrypted."""
    if method in _REFUSED_METHODS:
        return Reason.METHOD_NOT_ALLOWED
    if version not in ((1, 1), (1, 0)) or _METHOD.fullmatch(method) is None:
        return Reason.BAD_REQUEST
    http10 = version == (1, 0)
    lines = _lines(raw_headers)
    if isinstance(lines, Reason):
        return lines
    headers, named = lines
    if not _is_framed_plainly(named, http10=http10):
        return Reason.BAD_REQUEST
    found = _host(named.get(b"host", []), http10=http10)
    if found is None or (server.hosts and found[1] not in server.hosts):
        return Reason.BAD_REQUEST
    authority, host = found
    target = canonical(raw_target, authority)
    if isinstance(target, Reason):
        return target
    near = plain_address(peer)
    client, scheme = near, _scheme(authority, server.public_urls, tls)
    if near and server.trusted_proxies and _is_within(near, server.trusted_proxies):
        client = _forwarded_for(near, named.get(b"x-forwarded-for", ()), server.trusted_proxies)
        scheme = _forwarded_scheme(named.get(b"x-forwarded-proto", ())) or scheme
    return RequestFacts(
        method=method,
        target=target,
        authority=authority,
        host=host,
        scheme=scheme,
        peer=near,
        client=client,
        headers=tuple(headers),
        named={name: tuple(values) for name, values in named.items()},
        http10=http10,
    )


def client_key(client: str) -> str:
    """Whose allowance an address spends: an IPv4 address its own, an IPv6 address its network's (/64)."""
    address = _address(client)
    if isinstance(address, IPv6Address):
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return client


def _lines(raw: Iterable[tuple[bytes, bytes]]) -> tuple[list[HeaderLine], dict[bytes, list[bytes]]] | Reason:
    headers: list[HeaderLine] = []
    named: dict[bytes, list[bytes]] = {}
    total = 0
    for name, value in raw:
        size = len(name) + len(value) + 4
        total += size
        if size > MAX_LINE_BYTES:
            return Reason.HEADERS_TOO_LARGE
        if _NAME.fullmatch(name) is None or _BAD_VALUE.search(value):
            return Reason.BAD_REQUEST
        lower = name.lower()
        headers.append((lower, name, value))
        if lower in named:
            named[lower].append(value)
        else:
            named[lower] = [value]
            if (b"_" in lower or b"." in lower) and lower.replace(b"_", b"-").replace(b".", b"-") in _FRAMING:
                return Reason.BAD_REQUEST
    return Reason.HEADERS_TOO_LARGE if len(headers) > MAX_LINES or total > MAX_HEAD_BYTES else (headers, named)


def _is_framed_plainly(named: dict[bytes, list[bytes]], *, http10: bool) -> bool:
    """At most one length, or exactly `chunked`; never both (RFC 9112 section 6.3)."""
    codings, lengths = named.get(b"transfer-encoding"), named.get(b"content-length")
    if codings is not None:
        return not http10 and lengths is None and len(codings) == 1 and codings[0].strip().lower() == b"chunked"
    return lengths is None or (len(lengths) == 1 and lengths[0].isdigit() and len(lengths[0]) < 20)


def _host(values: Sequence[bytes], *, http10: bool) -> tuple[str, str] | None:
    """(authority as sent, canonical name); None for anything but one plain host."""
    if not values and http10:
        return "", ""
    return _read_host(values[0]) if len(values) == 1 else None


@lru_cache(maxsize=1024)
def _read_host(value: bytes) -> tuple[str, str] | None:
    authority = value.strip().decode("latin-1")
    match = _HOST.fullmatch(authority.lower())
    if match is None or len(authority) > 260:
        return None
    if match[2] is not None and not 0 < int(match[2]) < 65536:
        return None
    name = match[1]
    if name.startswith("[") and not isinstance(_address(name[1:-1]), IPv6Address):
        return None
    return authority, name.removesuffix(".")


@lru_cache(maxsize=1024)
def _scheme(authority: str, public_urls: tuple[str, ...], tls: bool) -> str:
    """As the client sees us: the scheme of the public URL with this host, for whatever ends TLS before us says so."""
    for url in public_urls:
        parts = urlsplit(url)
        if parts.netloc.lower() == authority.lower():
            return parts.scheme
    return "https" if tls else "http"


@lru_cache(maxsize=4096)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


@lru_cache(maxsize=4096)
def plain_address(text: str) -> str:
    """An address in its usual spelling, an IPv4 one inside IPv6 as itself; "" for what is none."""
    address = _address(text.partition("%")[0])
    return str(address) if address is not None else ""


@lru_cache(maxsize=4096)
def _is_within(text: str, networks: tuple[Network, ...]) -> bool:
    address = _address(text)
    return address is not None and any(address in network for network in networks)


def _forwarded_for(peer: str, values: Iterable[bytes], trusted: tuple[Network, ...]) -> str:
    """From the right, the first address that is no trusted proxy; what cannot be read ends the walk."""
    client = peer
    entries = [entry.strip() for value in values for entry in value.decode("latin-1").split(",")]
    for entry in reversed(entries):
        address = plain_address(_without_port(entry))
        if not address:
            return client
        client = address
        if not _is_within(address, trusted):
            return client
    return client


def _without_port(entry: str) -> str:
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry


def _forwarded_scheme(values: Sequence[bytes]) -> str:
    last = values[-1].rpartition(b",")[2].strip().lower() if values else b""
    return last.decode("ascii") if last in (b"http", b"https") else ""
