"""What goes to the upstream, and what comes back.

Lines travel as the bytes that came. A line is left out when it is ours to say (identity, forwarded family, request id),
when it belongs to one connection only (hop-by-hop, RFC 9110 section 7.6.1, and whatever `Connection` names), or when it
carries one of our credentials. Names are judged in their folded spelling, `_` and `.` read as `-`, because the services
behind are often of the CGI and WSGI kind, which cannot tell them apart.

Longer than most: requests and replies leave out by one set of rules, and stand side by side for that.
"""

import re
from collections.abc import Iterable, Sequence
from enum import IntEnum
from functools import lru_cache
from typing import Any, Self

from gateway.core.about import LISTS, told_of
from gateway.core.credentials import ours, without_ours
from gateway.core.model import (
    X_AUTH,
    Admit,
    CookieRules,
    ForwardToken,
    HeaderLine,
    Identity,
    IdentityHeaders,
    RequestFacts,
    Route,
    Template,
    noun,
)
from gateway.core.tokens import claims_our_issuer

Line = tuple[bytes, bytes]

HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer transfer-encoding"
    b" upgrade http2-settings".split()
)
FORWARDED_FAMILY = frozenset(
    b"forwarded x-real-ip x-original-url x-rewrite-url x-original-uri x-original-method x-client-ip x-cluster-client-ip"
    b" true-client-ip cf-connecting-ip".split()
)
# A service that obeys one of these would run another method than the one that was judged.
METHOD_OVERRIDES = frozenset(b"x-http-method-override x-http-method x-method-override".split())
_OURS = (b"x-auth-", b"x-forwarded-", b"x-gateway-")
_WRITTEN_BY_US = frozenset(b"host content-length expect x-request-id".split())
_ONLY_OURS = FORWARDED_FAMILY | METHOD_OVERRIDES | _WRITTEN_BY_US
_ALWAYS_OUR_REPLY = frozenset(b"clear-site-data x-auth-assertion".split())
_DIRECTIVES = re.compile(rb'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)
_WORDS = re.compile(rb"[\s,;\"=\xa0\x85]+")
_USUAL_CONNECTION = frozenset({b"keep-alive", b"close", b"Keep-Alive", b"Upgrade"})
_NOBODY_NOMINATED: frozenset[bytes] = frozenset()
_ROUTES_KEPT = 8  # of one block of headers: what a caller sends to a route again and again
_KNOWN_NAMES = 4096  # fates remembered; names come from clients, so the memory is bounded


class _Fate(IntEnum):
    PASS = 0
    DROP = 1
    COOKIE = 2
    AUTHORIZATION = 3
    API_KEY = 4


_TRACE_NAMES = frozenset({b"traceparent", b"tracestate"})

# Looked up once: a member of an enumeration costs as much as a call.
_PASS, _DROP = _Fate.PASS, _Fate.DROP
_CREDENTIAL_FATES = {
    b"cookie": _Fate.COOKIE,
    b"authorization": _Fate.AUTHORIZATION,
    b"x-api-key": _Fate.API_KEY,
}


def folded(name: bytes) -> bytes:
    """A lower-cased name as a CGI or WSGI service reads it."""
    return name.replace(b"_", b"-").replace(b".", b"-")


def is_ours(name: bytes) -> bool:
    """Whether a lower-cased request header name, in any spelling, is one that only the gateway may say."""
    name = folded(name)
    return name.startswith(_OURS) or name in _ONLY_OURS


@noun
class Lines:
    """Header lines as they go out, each with its end. Made by its methods alone, which let no line hold another."""

    text: bytes

    @classmethod
    def of(cls, lines: Sequence[bytes]) -> Self:
        """Raises ValueError for a line break inside a line."""
        text = b"\r\n".join([*lines, b""])
        if text.count(b"\n") != len(lines) or text.count(b"\r") != len(lines) or b"\0" in text:
            raise ValueError("a line break inside a header of the forwarded request")
        return cls(text)

    def and_more(self, text: bytes, count: int) -> "Lines":
        """`count` more lines, each with its end; raises ValueError as `of`."""
        if text.count(b"\n") != count or text.count(b"\r") != count or b"\0" in text or text[-2:] != b"\r\n":
            raise ValueError("a line break inside a header of the forwarded request")
        return Lines(self.text + text)

    def and_one(self, name: str, value: str) -> "Lines":
        """One more line, in ASCII; raises ValueError as `of`, and for what no header can hold."""
        if not (value.isprintable() and name.isprintable()):
            raise ValueError("a control character inside a header of the forwarded request")
        return Lines(self.text + f"{name}: {value}\r\n".encode("ascii"))


class RequestWriter:
    """Writes the heads of forwarded requests for one route; made once for a route, its memory of names is bounded."""

    def __init__(self, route: Route, cookies: CookieRules, project_id: str, *, is_traced: bool = False) -> None:
        """is_traced: the upstream is told of a trace of ours, so it is not told of any other."""
        self._route = route
        self._told = Told(route.upstream.identity_headers)
        self._cookie_rules = cookies
        self._cookie_names = ours(cookies)
        self._project_id = project_id
        rules = route.header_rules
        self._replaced = {folded(name) for name in rules.remove}
        self._replaced |= {folded(name.lower().encode("ascii")) for name, _ in rules.set}
        self._replaced |= route.upstream.identity_headers.reserved
        self._replaced |= _TRACE_NAMES if is_traced else frozenset()
        self._takes_keys = route.auth.takes_keys
        self._forwards_token = route.upstream.forward_token is not ForwardToken.NO
        self._fates: dict[bytes, _Fate] = {}

    def lines(self, facts: RequestFacts, admit: Admit, request_id: str) -> Lines:
        """Header lines, `Host` first; framing and hop-by-hop lines are the connection's business."""
        heads = facts.kept.heads
        identity = admit.identity
        who = (identity.digest, identity.kind) if identity is not None else None
        about = (facts.client, facts.peer, facts.scheme, who, admit.tenant, admit.person, admit.token)
        known = heads.get(self)
        if known is None or known[0] != about:
            if len(heads) >= _ROUTES_KEPT:
                heads.clear()
            known = heads[self] = about, self._all_but_its_own(facts, admit)
        lines: Lines = known[1]
        lines = lines.and_one("X-Request-Id", request_id)
        for header, template in self._route.header_rules.set:
            text = _filled(template, facts, admit, request_id)
            if text:
                lines = lines.and_one(header, text)
        return lines

    def _all_but_its_own(self, facts: RequestFacts, admit: Admit) -> Lines:
        """The lines that are the same for every request with these headers, from this client, by this caller."""
        lines = self._around(facts, admit) or Lines.of(self._but_for_caller(facts, admit))
        return lines if admit.identity is None else self._told.after(lines, admit.identity, admit)

    def _around(self, facts: RequestFacts, admit: Admit) -> Lines | None:
        """Those lines that say nothing of the caller, where they are the same with any other bearer token."""
        kept = facts.kept
        outline = kept.outline
        # The bearer itself is left out, whichever it is. A key beside it is judged by the token, so it is judged anew.
        if outline is None or kept.bearer != admit.token or self._forwards_token or b"x-api-key" in facts.named:
            return None
        where = (facts.client, facts.peer, facts.scheme)
        known = outline.heads.get(self)
        if known is None or known[0] != where:
            if len(outline.heads) >= _ROUTES_KEPT:
                outline.heads.clear()
            known = outline.heads[self] = where, Lines.of(self._but_for_caller(facts, admit))
        lines: Lines = known[1]
        return lines

    def _but_for_caller(self, facts: RequestFacts, admit: Admit) -> list[bytes]:
        route = self._route
        upstream = route.upstream
        host = facts.authority if upstream.keep_host and facts.authority else upstream.authority
        out = [b"Host: " + host.encode("latin-1")]
        connection = facts.named.get(b"connection")
        nominated = nominated_by(connection) if connection else _NOBODY_NOMINATED
        fates = self._fates
        for lower, name, value in facts.headers:
            fate = fates.get(lower)
            if fate is None:
                fate = self._learn(lower)
            if fate is _PASS:
                if not nominated or lower not in nominated:
                    out.append(name + b": " + value)
            elif fate is not _DROP and lower not in nominated:
                kept = self._credential(fate, value, admit)
                if kept or not value:
                    out.append(name + b": " + kept)
        out += forwarded_lines(facts, route.strip_prefix)
        if self._forwards_token:
            self._forward_token(out, admit)
        return out

    def _learn(self, lower: bytes) -> _Fate:
        name = folded(lower)
        if name in HOP_BY_HOP or is_ours(name) or name in self._replaced:
            fate = _Fate.DROP
        elif name in _CREDENTIAL_FATES:
            # `X_Api_Key` would reach a folding service under the name that we judged by; only the true name is judged.
            fate = _CREDENTIAL_FATES[name] if name == lower else _Fate.DROP
        else:
            fate = _Fate.PASS
        if len(self._fates) < _KNOWN_NAMES:
            self._fates[lower] = fate
        return fate

    def _credential(self, fate: _Fate, value: bytes, admit: Admit) -> bytes:
        if fate is _Fate.COOKIE:
            return without_ours(value, self._cookie_names)
        takes_keys = self._takes_keys
        if fate is _Fate.API_KEY:
            return b"" if takes_keys or self._is_our_token(value.strip(), admit) else value
        token = admit.token.encode("ascii")
        # Where it stands as a rule is asked first, for to look for so long a text anywhere takes its time.
        if token and (value.endswith(token) or token in value):
            return b""  # the usual bearer, found without taking the line apart
        words = _WORDS.split(value)
        if takes_keys and b"bearer" in map(bytes.lower, words):
            return b""
        # Each word, for a service behind may read more into a line than we do.
        return b"" if any(self._is_our_token(word, admit) for word in words) else value

    def _is_our_token(self, raw: bytes, admit: Admit) -> bool:
        """However it is spelt: what only looks like a token of ours is no credential of the upstream's either."""
        text = raw.decode("latin-1")
        return text == admit.token or ("." in text and claims_our_issuer(text, self._project_id))

    def _forward_token(self, out: list[bytes], admit: Admit) -> None:
        if not admit.token:
            return
        match self._route.upstream.forward_token:
            case ForwardToken.BEARER:
                out[:] = [line for line in out if line[:14].lower() != b"authorization:"]
                out.append(b"Authorization: Bearer " + admit.token.encode("ascii"))
            case ForwardToken.COOKIE:
                pair = f"{self._cookie_rules.session}={admit.token}".encode("ascii")
                others = [line[8:] for line in out if line[:8].lower() == b"cookie: "]
                out[:] = [line for line in out if line[:8].lower() != b"cookie: "]
                out.append(b"Cookie: " + b"; ".join([*others, pair]))
            case ForwardToken.NO:
                pass


def nominated_by(connection: Iterable[bytes]) -> frozenset[bytes]:
    """The names that `Connection` lines name, lower-cased; the common `keep-alive` and `close` give the empty set."""
    names: set[bytes] = set()
    for line in connection:
        if line not in _USUAL_CONNECTION:
            names.update(part.strip().lower() for part in line.split(b","))
    return frozenset(names)


def forwarded_lines(facts: RequestFacts, prefix: str) -> tuple[bytes, ...]:
    """The forwarded family, rebuilt from what we know ourselves (RFC 7239 and its unwritten forebears)."""
    return _forwarded(facts.client, facts.peer, facts.scheme, facts.authority, prefix)


@lru_cache(maxsize=1024)
def _forwarded(client: str, peer: str, scheme: str, authority: str, prefix: str) -> tuple[bytes, ...]:
    out = []
    if client:
        chain = client if client == peer or not peer else f"{client}, {peer}"
        node = f'"[{client}]"' if ":" in client else client
        out.append(f"X-Forwarded-For: {chain}".encode("ascii"))
        out.append(f"X-Real-IP: {client}".encode("ascii"))
        forwarded = f"for={node};proto={scheme}"
    else:
        forwarded = f"for=unknown;proto={scheme}"
    out.append(f"X-Forwarded-Proto: {scheme}".encode("ascii"))
    if authority:
        _, _, port = authority.rpartition(":")
        shown = port if port.isdigit() else ("443" if scheme == "https" else "80")
        out.append(f"X-Forwarded-Host: {authority}".encode("latin-1"))
        out.append(f"X-Forwarded-Port: {shown}".encode("ascii"))
        forwarded += f';host="{authority}"'
    out.append(f"Forwarded: {forwarded}".encode("latin-1"))
    if prefix:
        out.append(f"X-Forwarded-Prefix: {prefix}".encode("ascii"))
    return tuple(out)


# --- identity -------------------------------------------------------------------------------------------------------

_PLAIN = re.compile(r"[ -$&-+\--~]*", re.ASCII)  # printable ASCII without `%` and comma


def spelt(text: str) -> str:
    """A header value that no reader can take apart: `%`, comma, controls and non-ASCII as percent-encoded UTF-8."""
    if _PLAIN.fullmatch(text):
        return text
    return "".join(
        c if _PLAIN.fullmatch(c) else "".join(f"%{b:02X}" for b in c.encode("utf-8", "surrogatepass")) for c in text
    )


class Told:
    """Writes the lines that say who calls; made once for a route. What is empty is absent."""

    def __init__(self, names: IdentityHeaders = X_AUTH) -> None:
        self._nouns = [about for about, _ in names.names]
        self._headers = [header for _, header in names.names]
        self._lists = [place for place, about in enumerate(self._nouns) if about in LISTS]
        self._forms: dict[tuple[bool, ...], str] = {}  # by which of them are there

    def after(self, lines: Lines, identity: Identity, admit: Admit) -> Lines:
        """`lines` and those about `identity`."""
        told = told_of(identity, admit)
        texts: list[Any] = list(map(told.__getitem__, self._nouns))
        commas = 0
        for place in self._lists:
            names = texts[place]
            if names:
                commas += len(names) - 1
            texts[place] = ",".join(names)
        # All of it in one look, for there is hardly ever anything to spell.
        whole = "".join(texts)
        if not (whole.isascii() and whole.isprintable() and "%" not in whole and whole.count(",") == commas):
            values = map(told.__getitem__, self._nouns)
            texts = [spelt(value) if isinstance(value, str) else ",".join(map(spelt, value)) for value in values]
        there = tuple(map(bool, texts))
        form = self._forms.get(there) or self._form(there)
        text = (form % tuple(filter(None, texts))).encode("ascii")
        return lines.and_more(text, sum(there)) if text else lines

    def _form(self, there: tuple[bool, ...]) -> str:
        headers = [header for header, is_there in zip(self._headers, there, strict=True) if is_there]
        form = self._forms[there] = "".join([f"{header}: %s\r\n" for header in headers])
        return form


def _filled(template: Template, facts: RequestFacts, admit: Admit, request_id: str) -> str:
    parts = [template.texts[0]]
    for name, text in zip(template.names, template.texts[1:], strict=True):
        parts += [spelt(_hole(name, facts, admit, request_id)), text]
    return "".join(parts)


def _hole(name: str, facts: RequestFacts, admit: Admit, request_id: str) -> str:
    area, _, rest = name.partition(".")
    if area == "path":
        return admit.match.captures.get(rest, "")
    if area == "request":
        return {"id": request_id, "host": facts.host, "client": facts.client}.get(rest, "")
    identity = admit.identity
    if identity is None:
        return ""
    if rest.startswith("claims."):
        value = identity.claims.get(rest.removeprefix("claims."))
        return str(value) if isinstance(value, str | int) else ""
    told = told_of(identity, admit).get(rest, "")
    return told if isinstance(told, str) else ",".join(told)


# --- replies --------------------------------------------------------------------------------------------------------

_REPLY_DROPPED = HOP_BY_HOP | _ALWAYS_OUR_REPLY | {b"content-length", b"x-request-id"}
_RESERVED_COOKIES = (b"__host-gateway", b"gateway-journey-")


@noun
class ReplyAdditions:
    """Lines of ours on a reply; cookies make it private, cors replaces what the upstream says of other origins."""

    request_id: str
    cookies: tuple[bytes, ...] = ()
    ratelimit: tuple[Line, ...] = ()
    cors: tuple[Line, ...] = ()


class ReplyWriter:
    """Writes the heads of replies on one route; made once for a route."""

    def __init__(self, route: Route, cookies: CookieRules) -> None:
        self._personal = route.auth.value != "public"
        self._cors = route.cors is not None
        self._cookie_names = ours(cookies)
        self._dropped = _REPLY_DROPPED | ({b"ratelimit", b"ratelimit-policy"} if route.limits else frozenset())
        self._plain: set[bytes] = set()  # names of lines that pass as they are

    def lines(self, reply: Sequence[HeaderLine], additions: ReplyAdditions) -> list[bytes]:
        """Header lines without line ends; framing and `Connection` are left to whoever writes the head."""
        out: list[bytes] = []
        nominated = _NOBODY_NOMINATED
        plain = self._plain
        for lower, name, value in reply:
            if lower in plain or self._learn(lower):
                out.append(name + b": " + value)
            elif lower == b"connection":
                nominated |= nominated_by((value,))
            else:
                shown = self._judged(lower, value, additions)
                if shown is not None:
                    out.append(name + b": " + shown)
        if nominated:
            out = [line for line in out if line.partition(b":")[0].lower() not in nominated]
        if additions.cookies:
            out.append(b"Cache-Control: no-store")
            out += [b"Set-Cookie: " + cookie for cookie in additions.cookies]
        if additions.ratelimit or additions.cors:
            out += [name + b": " + value for name, value in (*additions.ratelimit, *additions.cors)]
        out.append(b"X-Request-Id: " + additions.request_id.encode("ascii"))
        return out

    def _learn(self, lower: bytes) -> bool:
        """Whether lines of this name pass as they are; remembered, within a bound, if they do."""
        is_judged = (
            lower in self._dropped
            or lower in (b"set-cookie", b"cache-control")
            or lower.startswith(b"access-control-")
            or folded(lower).startswith(b"x-auth-")
        )
        if not is_judged and len(self._plain) < _KNOWN_NAMES:
            self._plain.add(lower)
        return not is_judged

    def _judged(self, lower: bytes, value: bytes, additions: ReplyAdditions) -> bytes | None:
        """The value that goes out; None for a line that does not."""
        if lower in self._dropped or folded(lower).startswith(b"x-auth-"):
            return None
        if lower == b"set-cookie":
            return None if self._is_our_cookie(value) else value
        if lower == b"cache-control":
            if additions.cookies:
                return None
            return kept_private(value) if self._personal else value
        return None if self._cors else value

    def _is_our_cookie(self, value: bytes) -> bool:
        # A nameless cookie (`=DS=x`) comes back from a browser as `DS=x`.
        name = value.partition(b";")[0].strip(b" \t=").partition(b"=")[0].strip()
        return name in self._cookie_names or name.lower().startswith(_RESERVED_COOKIES)


def kept_private(cache_control: bytes) -> bytes:
    """A Cache-Control value that no shared cache may store by: `public` and `s-maxage` become one `private`."""
    directives = [part.strip() for part in _DIRECTIVES.findall(cache_control) if part.strip()]
    kept = [d for d in directives if d.partition(b"=")[0].strip().lower() not in (b"public", b"s-maxage")]
    if len(kept) == len(directives):
        return cache_control
    if not any(d.lower() in (b"private", b"no-store") for d in kept):
        kept.append(b"private")
    return b", ".join(kept)
