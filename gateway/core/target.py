"""One canonical path from a raw request target, or a refusal where two readers could differ.

What one server reads as a segment another reads as two, or as its parent, or as the end of the path. So everything that
some server is known to read in its own way is refused: empty and dot segments however they are spelt, encoded slashes,
backslashes, NUL and other controls, encoded `?` and `#`, an escaped percent sign that a second decoding would turn into
something else, and a raw `;`, where Java servers cut a segment: `/admin;x` would be `/admin` there and not here. What
remains has one meaning, and one spelling: unreserved characters plain, escapes in capitals (RFC 3986 section 6.2.2).
"""

import re
from urllib.parse import unquote_to_bytes

from gateway.core.model import Reason, Target

MAX_TARGET_BYTES = 32 * 1024

# The whole target at once, for nearly all that come: no escapes and no segment that begins with a dot.
_PLAIN = re.compile(
    r"((?:/[A-Za-z0-9_~!$&'()*+,=:@|\[\]-][A-Za-z0-9._~!$&'()*+,=:@|\[\]-]*)+/?|/)(?:\?([!-\"$-~\x80-\xff]*))?"
)
_RAW_PATH = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,=:@|\[\]/-]|%[0-9A-Fa-f]{2})+")
_ESCAPE = re.compile(rb"%[0-9A-Fa-f]{2}")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_TWICE_ESCAPED = re.compile(rb"%25[0-9A-Fa-f]{2}")
_FORBIDDEN_DECODED = re.compile("[\x00-\x1f\x7f-\x9f/\\\\?#]")
_DOTS = re.compile(r"\.{1,2}(?:;.*)?", re.DOTALL)
_QUERY = re.compile(rb"[!-\"$-~\x80-\xff]*")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#@\\]*)([/?].*)?", re.DOTALL)


def canonical(raw: bytes, authority: str = "") -> Target | Reason:
    """The one target that `raw` can mean, or BAD_TARGET.

    authority: the request's Host; an absolute-form target (RFC 9112 section 3.2.2) must name it and is reduced to its
    path. The query is kept byte for byte: `query.encode("latin-1")` are the bytes that came.
    """
    if len(raw) > MAX_TARGET_BYTES:
        return Reason.BAD_TARGET
    plain = _PLAIN.fullmatch(raw.decode("latin-1"))
    if plain is not None:
        spelt, query = plain.groups()
        return Target(spelt, tuple(spelt[1:].split("/")), query)
    if not raw.startswith(b"/"):
        absolute = _ABSOLUTE.fullmatch(raw)
        if absolute is None or not authority or absolute[1].decode("latin-1").lower() != authority.lower():
            return Reason.BAD_TARGET
        rest = absolute[2] or b"/"
        raw = rest if rest.startswith(b"/") else b"/" + rest
    path, mark, raw_query = raw.partition(b"?")
    if mark and _QUERY.fullmatch(raw_query) is None:
        return Reason.BAD_TARGET
    return _escaped(path, raw_query.decode("latin-1") if mark else None)


def _escaped(path: bytes, query: str | None) -> Target | Reason:
    if _RAW_PATH.fullmatch(path) is None:
        return Reason.BAD_TARGET
    spelt = _ESCAPE.sub(_respelt, path)
    # In the new spelling, not the old: `%25%34%31` becomes `%2541` only now.
    if _TWICE_ESCAPED.search(spelt):
        return Reason.BAD_TARGET
    segments = []
    for part in spelt[1:].split(b"/"):
        try:
            segment = unquote_to_bytes(part).decode("utf-8")
        except UnicodeDecodeError:
            return Reason.BAD_TARGET
        if _FORBIDDEN_DECODED.search(segment) or _DOTS.fullmatch(segment):
            return Reason.BAD_TARGET
        segments.append(segment)
    if "" in segments[:-1]:
        return Reason.BAD_TARGET
    return Target(spelt.decode("ascii"), tuple(segments), query)


def _respelt(escape: re.Match[bytes]) -> bytes:
    byte = int(escape[0][1:], 16)
    return bytes((byte,)) if byte in _UNRESERVED else escape[0].upper()


def strip_prefix(target: Target, prefix: str) -> Target | Reason:
    """`target` without the leading segments that `prefix` spells, judged again; `/` when nothing is left."""
    path = target.path
    if path != prefix and not path.startswith(prefix + "/"):
        return Reason.BAD_TARGET
    rest = path[len(prefix) :] or "/"
    raw = rest.encode("ascii") if target.query is None else f"{rest}?{target.query}".encode("latin-1")
    return canonical(raw)
