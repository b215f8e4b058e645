"""Whether a request with cookies was sent by a page of ours (Fetch Metadata; RFC 6454 for `Origin`), and CORS answers.

A browser attaches cookies to whatever any page makes it send. So an unsafe method, an upgrade or a `/.auth/` post that
comes with our cookies must come from one of our own origins, or from one that the route's `cors` names.
"""

from collections.abc import Sequence

from gateway.core.model import Cors, RequestFacts

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_SAME = frozenset({b"same-origin", b"none"})


def is_cross_site(facts: RequestFacts, cors: Cors | None, public_urls: Sequence[str], *, is_upgrade: bool) -> bool:
    """The check itself; the caller has found that it applies (cookies present, or an upgrade)."""
    origin = origin_of(facts)
    if origin is not None and cors is not None and origin in cors.origins:
        return False
    site = facts.one(b"sec-fetch-site")
    if site is not None:
        return site.strip().lower() not in _SAME
    if origin is not None:
        return origin not in public_urls
    # Neither header: no browser of today. It may post, but not open a socket with somebody's cookies.
    return is_upgrade


def origin_of(facts: RequestFacts) -> str | None:
    """The `Origin` header in lower case; "null" for an opaque one; None where there is none."""
    raw = facts.one(b"origin")
    return raw.decode("latin-1").strip().lower() if raw is not None else None


def is_preflight(facts: RequestFacts) -> bool:
    """Only a true preflight: an OPTIONS request alone may be anybody's (Fetch standard, CORS-preflight fetch)."""
    return (
        facts.method == "OPTIONS"
        and facts.one(b"origin") is not None
        and facts.one(b"access-control-request-method") is not None
    )


def cors_lines(facts: RequestFacts, cors: Cors | None, *, preflight: bool = False) -> tuple[tuple[bytes, bytes], ...]:
    """CORS lines for a reply on a route with `cors`; only `Vary` for an origin that may not read it."""
    if cors is None:
        return ()
    wildcard = cors.origins == ("*",)
    lines = [] if wildcard else [(b"Vary", b"Origin")]
    origin = origin_of(facts)
    if origin is None or not (wildcard or origin in cors.origins):
        return tuple(lines)
    allowed = b"*" if wildcard else (facts.one(b"origin") or b"").strip()
    lines.append((b"Access-Control-Allow-Origin", allowed))
    if cors.credentials:
        lines.append((b"Access-Control-Allow-Credentials", b"true"))
    if preflight:
        lines.append((b"Access-Control-Allow-Methods", ", ".join(cors.methods).encode("ascii")))
        if cors.headers:
            lines.append((b"Access-Control-Allow-Headers", ", ".join(cors.headers).encode("ascii")))
        lines.append((b"Access-Control-Max-Age", b"%d" % cors.max_age_s))
    else:
        lines.append((b"Access-Control-Expose-Headers", b"Retry-After, RateLimit, RateLimit-Policy, X-Request-Id"))
    return tuple(lines)
