"""Refusals, spelt for whoever reads them: a browser goes to sign in or sees a small page, a program gets a problem.

The form follows RFC 9457 (problem details) and Fetch Metadata. Nothing of what the client sent is repeated, apart from
the place to return to after sign-in, which is its own canonical path.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, urlsplit

from gateway.core.crosssite import cors_lines
from gateway.core.limits import Standing, ratelimit_lines
from gateway.core.model import Reason, Refuse, RequestFacts
from gateway.doors.look import Look, plain_look

RENEW_URL = "/.auth/renew"
_CSP = b"default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
# Never an address, for one may have a token in it; but the origin, for without it browsers send `Origin: null` along
# with a form, and those that know no Fetch Metadata, or use none over plain http, could not be told from another site.
_REFERRER = b"Referrer-Policy: strict-origin"

# What a person is told; what an operator does about it stands in docs/reasons.md.
SENTENCES = {
    Reason.NO_CREDENTIALS: "You are not signed in.",
    Reason.TOKEN_MALFORMED: "What was sent as a session token is not one.",
    Reason.TOKEN_UNKNOWN_KEY: "The session was signed with a key that is not, or no longer, valid.",
    Reason.TOKEN_BAD_SIGNATURE: "The session's signature does not match.",
    Reason.TOKEN_EXPIRED: "The session has expired.",
    Reason.TOKEN_NOT_YET_VALID: "The session is not valid yet; a clock may be wrong.",
    Reason.TOKEN_WRONG_ISSUER: "The session belongs to another project.",
    Reason.TOKEN_WRONG_AUDIENCE: "The session was made for another service.",
    Reason.TOKEN_WRONG_KIND: "That token is not a session token.",
    Reason.SESSION_REVOKED: "The session was signed out.",
    Reason.REFRESH_REFUSED: "The session could not be renewed. Sign in again.",
    Reason.ACCESS_KEY_REFUSED: "The access key was not accepted.",
    Reason.AMBIGUOUS_CREDENTIALS: "The request carries credentials that contradict each other.",
    Reason.BAD_TARGET: "The address can be read in more than one way. Write it plainly.",
    Reason.BAD_REQUEST: "The request is not well formed.",
    Reason.LOGIN_STATE_INVALID: "The sign-in was not started here, or has taken too long. Start again.",
    Reason.SESSION_NOT_KEPT: "Sign-in goes round in a circle.",
    Reason.SIGN_IN_REFUSED: "The sign-in was refused.",
    Reason.ROLE_MISSING: "Your account lacks a role that this page needs.",
    Reason.PERMISSION_MISSING: "Your account lacks a permission that this page needs.",
    Reason.TENANT_MISMATCH: "Your account is no member of this organisation, or has not selected it.",
    Reason.CLAIM_MISMATCH: "Your account lacks a property that this page needs.",
    Reason.KEY_NOT_ALLOWED: "This access key may not be used here.",
    Reason.CLIENT_NOT_ALLOWED: "Requests from your network address are not allowed here.",
    Reason.WRONG_CREDENTIAL_KIND: "This kind of credential is not accepted here.",
    Reason.CROSS_SITE: "The request was sent by another site.",
    Reason.NO_ROUTE: "There is nothing here.",
    Reason.NOT_FOUND: "There is nothing here.",
    Reason.METHOD_NOT_ALLOWED: "This address does not take that method.",
    Reason.BODY_TOO_LARGE: "The request's body is larger than allowed here.",
    Reason.HEADERS_TOO_LARGE: "The request's headers are larger than allowed.",
    Reason.RATE_LIMITED: "Too many requests. Wait before you try again.",
    Reason.IDENTITY_PROVIDER_BUSY: "Descope is busy just now; try again shortly.",
    Reason.IDENTITY_PROVIDER_UNAVAILABLE: "Descope cannot be reached just now; try again shortly.",
    Reason.UPSTREAM_BUSY: "The service is busy. Try again shortly.",
    Reason.STOPPING: "The gateway is stopping. Try again.",
    Reason.UPSTREAM_UNREACHABLE: "The service behind cannot be reached.",
    Reason.UPSTREAM_BAD_REPLY: "The service behind gave no usable answer.",
    Reason.UPSTREAM_TIMEOUT: "The service behind did not answer in time.",
    Reason.INTERNAL_ERROR: "Something went wrong inside the gateway. The request id helps to find it.",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole reply of ours, framing left out."""

    status: int
    lines: tuple[bytes, ...]
    body: bytes = b""


def html(
    status: int,
    template: str,
    *lines: bytes,
    look: Look | None = None,
    script: bool = False,
    picture: bool = False,
    csp: bytes = b"",
    wait_s: int | None = None,
    **values: object,
) -> Answer:
    """A page of ours; it loads nothing but our style sheet and the logo, and stands in nobody's frame.

    script: the page may load scripts of ours, and they may ask us. picture: it has one written into it. csp: another
    policy altogether, for the page with the flow component. wait_s: a wait that the page counts down.
    """
    look = look or plain_look()
    policy = _CSP
    if script or wait_s is not None:
        policy += b"; script-src 'self'; connect-src 'self'"
    pictures = [b"'self'"] if look.brand.logo else []
    if picture:
        pictures.append(b"data:")
    if pictures:
        policy += b"; img-src " + b" ".join(pictures)
    return Answer(
        status,
        (
            b"Content-Type: text/html; charset=utf-8",
            b"Content-Security-Policy: " + (csp or policy),
            b"X-Content-Type-Options: nosniff",
            _REFERRER,
            b"Cache-Control: no-store",
            *lines,
        ),
        look.page(template, wait_s=wait_s, **values).encode(),
    )


def as_json(status: int, document: object, *lines: bytes) -> Answer:
    body = json.dumps(document).encode()
    return Answer(status, (b"Content-Type: application/json", b"Cache-Control: no-store", *lines), body)


def is_navigation(facts: RequestFacts) -> bool:
    """Whether a person's browser is going somewhere, as opposed to a page or a program fetching something."""
    if facts.method not in ("GET", "HEAD") or facts.is_upgrade:
        return False
    mode = facts.one(b"sec-fetch-mode")
    if mode is not None:
        return mode.strip().lower() == b"navigate"
    return b"text/html" in (facts.one(b"accept") or b"").lower()


def _is_page_form(facts: RequestFacts) -> bool:
    """Whether a page of ours was posted: people read the answer, too."""
    if facts.method != "POST" or facts.target.segments[:1] != (".auth",):
        return False
    mode = facts.one(b"sec-fetch-mode")
    return mode.strip().lower() == b"navigate" if mode is not None else b"text/html" in (facts.one(b"accept") or b"")


def refusal(
    refuse: Refuse,
    request_id: str,
    facts: RequestFacts | None = None,
    *,
    login_url: str = "",
    public_url: str = "",
    cookies: tuple[bytes, ...] = (),
    standings: tuple[Standing, ...] = (),
    look: Look | None = None,
) -> Answer:
    """The answer to a refused request; facts: None where the request could not even be read."""
    lines = [b"X-Request-Id: " + request_id.encode("ascii"), *(b"Set-Cookie: " + cookie for cookie in cookies)]
    if refuse.retry_after_s is not None:
        lines.append(b"Retry-After: %d" % refuse.retry_after_s)
    if refuse.allow:
        lines.append(b"Allow: " + ", ".join(refuse.allow).encode("ascii"))
    if standings:
        lines += [name + b": " + value for name, value in ratelimit_lines(standings)]
    if facts is not None and refuse.route is not None:
        lines += [name + b": " + value for name, value in cors_lines(facts, refuse.route.cors)]
    if refuse.status == 401:
        lines.append(b"WWW-Authenticate: " + _challenge(refuse.reason))
    if facts is not None and (is_navigation(facts) or _is_page_form(facts)):
        if refuse.may_choose_tenant and refuse.reason is Reason.TENANT_MISMATCH:
            place = login_location("/.auth/tenant", public_url, facts)
            return Answer(302, (b"Location: " + place.encode("ascii"), b"Cache-Control: no-store", *lines))
        if refuse.status == 401 and login_url and is_navigation(facts):
            place = login_location(login_url, public_url, facts)
            return Answer(302, (b"Location: " + place.encode("ascii"), b"Cache-Control: no-store", *lines[:-1]))
        return html(
            refuse.status,
            "refused.html",
            *lines,
            look=look,
            wait_s=refuse.retry_after_s,
            code=refuse.status,
            sentence=SENTENCES[refuse.reason],
            detail=refuse.detail,
            reason=refuse.reason.value,
            request_id=request_id,
        )
    before, behind = _problem(refuse.reason, refuse.detail, refuse.idp_code)
    body = before + request_id.encode("ascii") + behind
    kind = b"Content-Type: application/problem+json"
    return Answer(refuse.status, (kind, b"Cache-Control: no-store", *lines), body)


@lru_cache(maxsize=256)
def _problem(reason: Reason, detail: str, idp_code: str) -> tuple[bytes, bytes]:
    """RFC 9457: what stands before and behind the request id, which needs no escapes."""
    problem = {
        "type": "about:blank",
        "title": SENTENCES[reason],
        "status": reason.status,
        "reason": reason.value,
        "request_id": "",
    }
    if detail:
        problem["detail"] = detail
    if idp_code:
        problem["idp_code"] = idp_code
    before, id_member, behind = json.dumps(problem).partition('"request_id": "')
    return (before + id_member).encode(), behind.encode()


def login_location(login_url: str, public_url: str, facts: RequestFacts) -> str:
    """Where to sign in, with the way back: a path on this site, or a whole address where the page is elsewhere."""
    back = facts.target.text
    if urlsplit(login_url).scheme:
        back = public_url + back
    return place_with_return(login_url, back)


def place_with_return(url: str, back: str) -> str:
    """A page's address with the way back from it."""
    return f"{url}{'&' if '?' in url else '?'}rd={quote(back.encode('latin-1'), safe='/')}"


def _challenge(reason: Reason) -> bytes:
    """RFC 6750 section 3: no error code where no token came."""
    if reason in (Reason.NO_CREDENTIALS, Reason.SIGN_IN_REFUSED):
        return b'Bearer realm="gateway"'
    return b'Bearer realm="gateway", error="invalid_token", error_description="' + reason.value.encode() + b'"'
