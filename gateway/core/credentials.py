"""Find credentials in a request, and spell and remove our cookies.

Cookies are read from the raw bytes, split at `;` and nowhere else: readers that split at blanks or commas see cookies
that nobody set. Several copies of a cookie are all handed on, for a parent domain can plant one; whoever verifies them
decides what they mean. A session too large for one cookie is split over `DS`, `DS.1` and so on.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from gateway.core.model import Auth, CookieRules, Credentials, Kept, Reason, RequestFacts
from gateway.core.tokens import is_jwt, token_digest

PARTS = 4
COOKIE_BYTES = 3900
TOKEN_CHARS = 8 * 1024
JOINED_CHARS = 16 * 1024
_MAX_COPIES = 8
_PUBLIC = Auth.PUBLIC  # looked up once: a member of an enumeration costs as much as a call
_KEY = re.compile(r"[!-~]{1,4096}", re.ASCII)
# What remembers sign-ins under way; their names end in a random id.
_OF_OUR_PAGES = rb"(?:__Host-)?gateway-journey-[A-Za-z0-9_-]*"
_SCHEME_CHAR = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]")


def find(facts: RequestFacts, auth: Auth, cookies: CookieRules) -> Credentials | Reason:
    """What the request brought for a route of kind `auth`; public routes look at nothing."""
    if auth is _PUBLIC:
        return Credentials()
    kept = facts.kept
    known = kept.found
    if known is not None and known[0] is auth and known[1] is cookies:
        return known[2]
    found = _found(facts, auth, cookies) if kept.outline is None else _with_bearer(kept.outline, facts, auth, cookies)
    kept.found = (auth, cookies, found)
    return found


def _with_bearer(outline: Kept, facts: RequestFacts, auth: Auth, cookies: CookieRules) -> Credentials | Reason:
    """As `_found`, for headers of which all but the bearer token may have been looked through before."""
    bearer, known = facts.kept.bearer, outline.found
    if known is None or known[0] is not auth or known[1] is not cookies or len(bearer) > TOKEN_CHARS:
        found = _found(facts, auth, cookies)
        if isinstance(found, Credentials) and found.bearer == bearer:
            outline.found = (auth, cookies, Credentials(None, found.sessions, found.refreshes))
        return found
    alike = known[2]
    if isinstance(alike, Reason):
        return alike
    return Credentials(bearer, alike.sessions, alike.refreshes, (), b"" if alike.sessions else token_digest(bearer))


def _found(facts: RequestFacts, auth: Auth, cookies: CookieRules) -> Credentials | Reason:
    sent = _bearer(facts)
    if isinstance(sent, Reason):
        return sent
    bearer = sent if sent and is_jwt(sent) else None
    if bearer is not None and len(bearer) > TOKEN_CHARS:
        return Reason.HEADERS_TOO_LARGE
    keys: tuple[str, ...] = ()
    if auth.takes_keys:
        given = _keys(facts, "" if bearer else sent)
        if isinstance(given, Reason):
            return given
        keys = given
    jar = facts.named.get(b"cookie", ())
    sessions: tuple[str, ...] = ()
    refreshes: tuple[str, ...] = ()
    if jar and auth is not Auth.ACCESS_KEY:
        found = _cookies(jar, cookies)
        if isinstance(found, Reason):
            return found
        sessions, refreshes = found
    if len(keys) > 1 or (keys and (bearer or sessions or refreshes)):
        return Reason.AMBIGUOUS_CREDENTIALS
    only = bearer if bearer and not sessions else sessions[0] if len(sessions) == 1 and not bearer else ""
    return Credentials(bearer, sessions, refreshes, keys, token_digest(only) if only else b"")


def _bearer(facts: RequestFacts) -> str | Reason:
    """What stands behind `Bearer`; "" for nothing or another scheme, which is the upstream's business."""
    lines = facts.named.get(b"authorization", ())
    if len(lines) > 1:
        return Reason.AMBIGUOUS_CREDENTIALS
    if not lines:
        return ""
    value = lines[0].strip(b" \t")
    rest = value[6:]
    if value[:6].lower() != b"bearer" or not rest or _SCHEME_CHAR.match(rest):
        return ""
    token = rest.lstrip(b" ")
    # A tab is where other readers end the scheme too: they would see a credential that nobody judged.
    return Reason.TOKEN_MALFORMED if token == rest or token.startswith(b"\t") else token.decode("latin-1")


def _keys(facts: RequestFacts, opaque: str) -> tuple[str, ...] | Reason:
    """The different access keys sent; `X-API-Key` is always an opaque one."""
    keys = [opaque] if opaque else []
    keys += [value.strip(b" \t").decode("latin-1") for value in facts.named.get(b"x-api-key", ())]
    if any(is_jwt(key) for key in keys):
        return Reason.TOKEN_MALFORMED
    if not all(_KEY.fullmatch(key) for key in keys):
        return Reason.ACCESS_KEY_REFUSED
    return tuple(dict.fromkeys(keys))


def _cookies(lines: Iterable[bytes], rules: CookieRules) -> tuple[tuple[str, ...], tuple[str, ...]] | Reason:
    names, session, refresh = _spellings(rules.session, rules.refresh)
    copies: dict[bytes, list[str]] = {}
    for line in lines:
        for pair in line.split(b";"):
            raw_name, _, value = pair.partition(b"=")
            name = raw_name.strip(b" \t")
            if name in names:
                text = value.strip(b" \t").decode("latin-1")
                if text:
                    copies.setdefault(name, []).append(text)
    if not copies:
        return (), ()
    if max(map(len, copies.values())) > _MAX_COPIES:
        return Reason.AMBIGUOUS_CREDENTIALS
    sessions, refreshes = _joined(copies, session), _joined(copies, refresh)
    if isinstance(sessions, Reason):
        return sessions
    if isinstance(refreshes, Reason):
        return refreshes
    return sessions, refreshes


def _joined(copies: dict[bytes, list[str]], spellings: tuple[bytes, ...]) -> tuple[str, ...] | Reason:
    """Every copy of a cookie, with its parts behind it where each part came once."""
    whole = copies.get(spellings[0])
    if whole is None:
        return ()
    tail = ""
    for name in spellings[1:]:
        parts = copies.get(name)
        if parts is None:
            break
        if len(parts) > 1:
            tail = ""
            break
        tail += parts[0]
    joined = tuple(whole) if len(whole) == 1 and not tail else tuple(dict.fromkeys([value + tail for value in whole]))
    most = JOINED_CHARS if tail else TOKEN_CHARS
    return Reason.HEADERS_TOO_LARGE if max(map(len, joined)) > most else joined


@lru_cache(maxsize=64)
def _spellings(session: str, refresh: str) -> tuple[frozenset[bytes], tuple[bytes, ...], tuple[bytes, ...]]:
    """All names that are ours, and for each of the two cookies its own and those of its parts, in order."""
    first, second = (
        tuple(f"{name}.{number}".encode() if number else name.encode() for number in range(PARTS))
        for name in (session, refresh)
    )
    return frozenset(first + second), first, second


def ours(rules: CookieRules) -> frozenset[bytes]:
    """The names of all cookies that are ours, parts included."""
    return _spellings(rules.session, rules.refresh)[0]


def cookie_pairs(facts: RequestFacts) -> Iterator[tuple[bytes, bytes]]:
    """Every cookie sent, in order, copies included."""
    for sent in facts.named.get(b"cookie", ()):
        for name, mark, value in (one.partition(b"=") for one in sent.split(b";")):
            if mark:
                yield name.strip(b"\t "), value.strip(b"\t ")


@lru_cache(maxsize=64)
def _patterns(names: frozenset[bytes]) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """One of our names anywhere; and one where a careless reader would see a cookie of that name.

    Such readers split at blanks, commas or quotes too, take what strips as white space in some character set (0x85 and
    0xA0 in latin-1, several longer ones in UTF-8) from both ends of a name, or overlook a leading equals sign.
    """
    spelt = b"|".join([*(re.escape(name) for name in sorted(names)), _OF_OUR_PAGES])
    seen = rb"(?:^=*|[\x00-\x20\"',\x7f-\xff]=*)(?:" + spelt + rb")[\x00-\x20\"'\x7f-\xff]*="
    return re.compile(spelt), re.compile(seen)


def without_ours(cookie_value: bytes, names: frozenset[bytes]) -> bytes:
    """A `Cookie` value without our pairs, nor those in which a careless reader would find one; else unchanged."""
    anywhere, seen = _patterns(names)
    if anywhere.search(cookie_value) is None:
        return cookie_value
    pairs = cookie_value.split(b";")
    kept = [pair for pair in pairs if pair.partition(b"=")[0].strip(b" \t") not in names and not seen.search(pair)]
    if len(kept) == len(pairs):
        return cookie_value
    left = b";".join(kept).strip(b" \t")
    return left if left.strip(b"; \t") else b""


def session_cookies(
    rules: CookieRules, session: str, refresh: str | None, session_max_age_s: int, refresh_max_age_s: int
) -> tuple[bytes, ...]:
    """`Set-Cookie` values of a session; raises ValueError for a token that four cookies cannot hold."""
    lines = _written(rules, rules.session, session, session_max_age_s)
    return lines + _written(rules, rules.refresh, refresh, refresh_max_age_s) if refresh else lines


def cleared_cookies(rules: CookieRules) -> tuple[bytes, ...]:
    """`Set-Cookie` values that take our cookies away, parts included."""
    names = [f"{base}.{n}" if n else base for base in (rules.session, rules.refresh) for n in range(PARTS)]
    return tuple(_line(rules, name, "", 0) for name in names)


def _written(rules: CookieRules, name: str, token: str, max_age_s: int) -> tuple[bytes, ...]:
    """The cookie or its parts, and the end of every higher part that an earlier, longer token left behind."""
    lines = []
    rest = token
    for number in range(PARTS):
        part_name = f"{name}.{number}" if number else name
        room = COOKIE_BYTES - len(part_name)
        part, rest = rest[:room], rest[room:]
        lines.append(_line(rules, part_name, part, max_age_s if part else 0))
    if rest:
        raise ValueError(f"a token for cookie {name} is too large for {PARTS} cookies")
    return tuple(lines)


def _line(rules: CookieRules, name: str, value: str, max_age_s: int) -> bytes:
    parts = [f"{name}={value}", f"Path={rules.path}", f"Max-Age={max_age_s}", "HttpOnly"]
    if rules.domain:
        parts.append(f"Domain={rules.domain}")
    if rules.secure:
        parts.append("Secure")
    parts.append(f"SameSite={rules.same_site.capitalize()}")
    return "; ".join(parts).encode("ascii")
