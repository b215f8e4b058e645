"""Sign-ins that end where they began: noticed on the third turn at the latest, and told with their cause.

Two circles are looked for. A browser that does not give the session cookies back signs in and is asked to sign in
again: therefore whoever signs in from the sign-in page comes by it once more on the way (`coming_by`), and what the
browser then brings says what is wrong. And a page that does not take a session which is good here sends the browser
back at once: therefore a small cookie counts how often it was sent on to the same place. That cookie is the probe of
the first circle, too: a browser that gives it back, but no session, keeps cookies and not those.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from gateway.core.credentials import cookie_pairs
from gateway.core.model import CookieRules, Reason, RequestFacts, ServerRules
from gateway.doors.answers import SENTENCES
from gateway.doors.auth.outcome import Form, fields_of

TURNS = 3
_PAGE = "/.auth/login"
# Stripped before the upstream, as are the cookies of sign-ins that leave the site.
_NAME = "gateway-journey-turns"
_LIFE_S = 600
_TURN_S = 5  # an unaided circle goes faster; a person who opens the sign-in page again and again does not
_NESTED = 3
_ONE_COOKIE = 4096

_CLOCK = "The session has just begun, and by this server's clock it is not valid: a clock is off."
_CONTRADICTION = "Cookies of this site contradict each other. Delete this site's cookies, then try again."
_NOT_SECURE = "The browser keeps the session cookie for https, and this page was opened over http. Open it over https."
_NO_COOKIE = (
    "The browser gave no cookie back. Allow cookies for this site, and open it by the address that it is meant to have."
)
_ONLY_THE_SESSION = "The browser gives other cookies back, but not those of the session."
_SENT_BACK = (
    "You are signed in, but the page that you want does not take your session. It may be meant for programs with an "
    "access key, or stand on another server whose clock is off or whose settings differ."
)


@dataclass(frozen=True, slots=True)
class Way:
    """What the address of the sign-in page says. returned: how many sign-ins have led here again."""

    rd: str
    returned: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """What the counting cookie says. sent_on: how often in a row; size: bytes of the session cookies, 0 if unknown."""

    sent_on: int = 0
    size: int = 0


def way_of(query: Form, back: Callable[[str], str]) -> Way:
    """Where the address leads, and on which turn; a way by the sign-in page itself is followed to its end.

    The turn inside such a way is that of a sign-in yet to come: a link back to all methods carries it.
    """
    way = Way(back(query.text("rd") or "/"), _returned(query))
    for _ in range(_NESTED):
        if not is_coming_by(way.rd):
            return way
        try:
            inner = fields_of(way.rd.partition("?")[2])
        except ValueError:
            break
        way = Way(back(inner.text("rd") or "/"), max(way.returned, _returned(inner) - 1))
    return Way("/", way.returned)


def coming_by(way: Way) -> str:
    """Where a sign-in from the sign-in page leads: to that page once more, and from there on to `way.rd`."""
    return f"{_PAGE}?rd={quote(way.rd.encode('latin-1'), safe='/')}&turn={way.returned + 1}"


def is_coming_by(rd: str) -> bool:
    return rd.partition("?")[0] == _PAGE


def read(facts: RequestFacts, rd: str, now_s: float, rules: CookieRules) -> Seen | None:
    """What came back; None where no such cookie did, and so perhaps no cookie at all."""
    name = _name(rules).encode()
    values = [value.decode("latin-1").split("-") for named, value in cookie_pairs(facts) if named == name]
    if not values:
        return None
    if len(values) > 1 or len(values[0]) != 4 or not all(part.isascii() and part.isalnum() for part in values[0]):
        return Seen()
    sent_on, at_s, place, size = values[0]
    if not all(part.isdigit() and len(part) <= 12 for part in (sent_on, at_s, size)):
        return Seen()
    in_a_row = place == _digest(rd) and 0 <= now_s - int(at_s) <= _TURN_S
    return Seen(int(sent_on) if in_a_row else 0, int(size))


def cookie(rd: str, seen: Seen, now_s: float, rules: CookieRules) -> bytes:
    value = f"{seen.sent_on}-{int(now_s)}-{_digest(rd)}-{seen.size}"
    return _line(value, _LIFE_S, rules)


def ended(rules: CookieRules) -> bytes:
    return _line("", 0, rules)


def reaches(rules: CookieRules, path: str) -> bool:
    """Whether browsers send the session cookies along to `path` (RFC 6265 section 5.1.4)."""
    base = rules.path.rstrip("/")
    path = path.partition("?")[0]
    return path == rules.path or path.startswith(base + "/")


def is_seen_here(rules: CookieRules) -> bool:
    """Whether the sign-in page gets the session cookies at all."""
    return reaches(rules, _PAGE)


def why(facts: RequestFacts, server: ServerRules, rd: str, reason: Reason, seen: Seen | None) -> str:
    """Why a session that has just begun is not here. reason: why there is none; seen: the probe, if it came."""
    rules = server.cookies
    if reason in (Reason.TOKEN_NOT_YET_VALID, Reason.TOKEN_EXPIRED):
        return _CLOCK
    if reason is Reason.AMBIGUOUS_CREDENTIALS:
        return _CONTRADICTION
    if reason is not Reason.NO_CREDENTIALS:
        return f"The session came back and is not accepted. {SENTENCES[reason]}"
    if rules.domain and facts.host != rules.domain and not facts.host.endswith(f".{rules.domain}"):
        return f"The session cookie is for {rules.domain}, and this address is another. Open the site there."
    if not reaches(rules, rd):
        return f"The session cookie is for what lies below {rules.path}, and the page that you want does not."
    if seen is None:
        return _NOT_SECURE if rules.secure and _is_plain(facts, server) else _NO_COOKIE
    if seen.size > _ONE_COOKIE:
        return (
            f"{_ONLY_THE_SESSION} They take {seen.size} bytes, which is more than some browsers and proxies pass on. "
            "Whoever runs this service can make the session smaller."
        )
    if rules.domain:
        return f"{_ONLY_THE_SESSION} They are for {rules.domain}, which it may not take for this site's own."
    return f"{_ONLY_THE_SESSION} Delete this site's cookies, then try again."


def why_sent_back(rules: CookieRules, rd: str) -> str:
    """Why a page sends somebody back who is signed in."""
    if not reaches(rules, rd):
        return f"The session cookie is for what lies below {rules.path}, and the page that you want does not."
    return _SENT_BACK


def _is_plain(facts: RequestFacts, server: ServerRules) -> bool:
    return facts.scheme == "http" or any(urlsplit(url).scheme == "http" for url in server.public_urls)


def _returned(query: Form) -> int:
    turn = query.text("turn")
    return min(int(turn), TURNS) if len(turn) == 1 and turn.isascii() and turn.isdigit() else 0


def _digest(rd: str) -> str:
    return hashlib.sha256(rd.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _name(rules: CookieRules) -> str:
    return f"__Host-{_NAME}" if rules.secure else _NAME


def _line(value: str, max_age_s: int, rules: CookieRules) -> bytes:
    parts = [f"{_name(rules)}={value}", "Path=/", f"Max-Age={max_age_s}", "HttpOnly", "SameSite=Lax"]
    return "; ".join([*parts, "Secure"] if rules.secure else parts).encode("ascii")
