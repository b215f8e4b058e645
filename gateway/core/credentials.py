"""Find credentials in a request, and spell and remove our cookies.

Cookies are read from the raw bytes, split at `;` and nowhere else: readers that split at blanks or commas see cookies
that nobody set. Several copies of a cookie are all handed on, for a parent domain can plant one; whoever verifies them
decides what they mean. A session too large for one cookie is split over `DS`, `DS.1` and so on.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from gateway.core.model import Auth, CookieRules, Credentials, Reason, RequestFacts
from gateway.core.tokens import is_jwt

PARTS = 4
COOKIE_BYTES = 3900
TOKEN_CHARS = 8 * 1024
JOINED_CHARS = 16 * 1024
_MAX_COPIES = 8
_KEY = re.compile(r"[!-~]{1,4096}", re.ASCII)


def find(facts: RequestFacts, auth: Auth, cookies: CookieRules) -> Credentials | Reason:
    """What the request brought for a route of kind `auth`; public routes look at nothing."""
    if auth is Auth.PUBLIC:
        return Credentials()
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
    return Credentials(bearer, sessions, refreshes, keys)


def _bearer(facts: RequestFacts) -> str | Reason:
    """What stands behind `Bearer`; "" for nothing or another scheme, which is the upstream's business."""
    lines = facts.named.get(b"authorization", ())
    if len(lines) > 1:
        return Reason.AMBIGUOUS_CREDENTIALS
    if not lines:
        return ""
    scheme, _, rest = lines[0].decode("latin-1").strip().partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else ""


def _keys(facts: RequestFacts, opaque: str) -> tuple[str, ...] | Reason:
    """The different access keys sent; `X-API-Key` is always an opaque one."""
    keys = [opaque] if opaque else []
    keys += [value.decode("latin-1").strip() for value in facts.named.get(b"x-api-key", ())]
    if any(is_jwt(key) for key in keys):
        return Reason.TOKEN_MALFORMED
    if not all(_KEY.fullmatch(key) for key in keys):
        return Reason.ACCESS_KEY_REFUSED
    return tuple(dict.fromkeys(keys))


def _cookies(lines: Iterable[bytes], rules: CookieRules) -> tuple[tuple[str, ...], tuple[str, ...]] | Reason:
    names = ours(rules)
    copies: dict[bytes, list[str]] = {}
    for line in lines:
        for pair in line.split(b";"):
            name, _, value = pair.partition(b"=")
            name = name.strip(b" \t")
            if name in names:
                copies.setdefault(name, []).append(value.strip(b" \t").decode("latin-1"))
    if not copies:
        return (), ()
    sessions, refreshes = _joined(copies, rules.session), _joined(copies, rules.refresh)
    if isinstance(sessions, Reason):
        return sessions
    if isinstance(refreshes, Reason):
        return refreshes
    return sessions, refreshes


def _joined(copies: dict[bytes, list[str]], name: str) -> tuple[str, ...] | Reason:
    """Every copy of a cookie, with its parts behind it where each part came once."""
    whole = [value for value in copies.get(name.encode(), ()) if value]
    if len(whole) > _MAX_COPIES:
        return Reason.AMBIGUOUS_CREDENTIALS
    tail = ""
    for number in range(1, PARTS):
        parts = copies.get(f"{name}.{number}".encode(), [])
        if not parts:
            break
        if len(parts) > 1:
            tail = ""
            break
        tail += parts[0]
    joined = tuple(dict.fromkeys(value + tail for value in whole))
    most = JOINED_CHARS if tail else TOKEN_CHARS
    return Reason.HEADERS_TOO_LARGE if any(len(value) > most for value in joined) else joined


@lru_cache(maxsize=64)
def ours(rules: CookieRules) -> frozenset[bytes]:
    """The names of all cookies that are ours, parts included."""
    whole = (rules.session, rules.refresh)
    return frozenset(name.encode() for base in whole for name in (base, *(f"{base}.{n}" for n in range(1, PARTS))))


@lru_cache(maxsize=64)
def _hidden(names: frozenset[bytes]) -> re.Pattern[bytes]:
    """One of our names where a reader that also splits at blanks, commas or quotes would see it."""
    spelt = b"|".join(re.escape(name) for name in sorted(names))
    return re.compile(rb"(?:^|[\s,\"'\x0b\x0c\x00])(?:" + spelt + rb")\s*=")


def without_ours(cookie_value: bytes, names: frozenset[bytes]) -> bytes:
    """A `Cookie` value without our pairs, nor those in which a careless reader would find one; else unchanged."""
    pattern = _hidden(names)
    kept = []
    dropped = False
    for pair in cookie_value.split(b";"):
        if pair.partition(b"=")[0].strip(b" \t") in names or pattern.search(pair):
            dropped = True
        else:
            kept.append(pair)
    return b";".join(kept).strip(b" \t") if dropped else cookie_value


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
