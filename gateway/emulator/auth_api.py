"""The calls of a session's life: signing keys, renewal, sign-out, who am I, tenants, access keys."""

import base64
import json
from typing import Any

from gateway.emulator.directory import AccessKey, Person
from gateway.emulator.emulator import Emulator
from gateway.emulator.errors import BAD_REQUEST, ApiError, unauthenticated
from gateway.emulator.networks import is_within
from gateway.emulator.sessions import Issued
from gateway.emulator.traffic import Incident, Operation
from gateway.emulator.views import person_view
from gateway.emulator.wire import DS, DSR, Answer, Call, Endpoint, Endpoints, SetCookie


def tokens(emulator: Emulator, issued: Issued, *, first_seen: bool = False, in_body: bool = False) -> Answer:
    """Descope's JWTResponse, delivered as the settings say or, with `in_body`, in the body at any rate."""
    now_s = emulator.now_s()
    life_s = max(int(issued.refresh_exp_s - now_s), 1)
    body: dict[str, Any] = {
        "cookieDomain": "",
        "cookiePath": "/",
        "cookieMaxAge": life_s,
        "cookieExpiration": issued.refresh_exp_s,
        "sessionExpiration": issued.session_exp_s,
        "user": person_view(emulator.directory, issued.person),
        "firstSeen": first_seen,
    }
    if emulator.settings.delivery == "body" or in_body:
        return Answer(body | {"sessionJwt": issued.session_jwt, "refreshJwt": issued.refresh_jwt})
    session_life_s = max(int(issued.session_exp_s - now_s), 1)
    return Answer(
        body,
        cookies=(SetCookie(DS, issued.session_jwt, session_life_s), SetCookie(DSR, issued.refresh_jwt, life_s)),
    )


def refresh_token(emulator: Emulator, call: Call) -> str:
    """The refresh token of a request, by bearer or else by cookie; ApiError when there is none or they disagree."""
    bearer = call.secret(emulator.project_id)
    # `P:key` without a second dot is a project's auth management key, not a token.
    if bearer.count(".") != 2:
        cookie = call.cookies.get(DSR, "")
        if not cookie:
            raise unauthenticated("The refresh token is missing")
        return cookie
    _require_one_identity(emulator, call, _subject(bearer))
    return bearer


def _keys(emulator: Emulator, _call: Call) -> Answer:
    return Answer(emulator.jwks())


def _refresh(emulator: Emulator, call: Call) -> Answer:
    return tokens(emulator, emulator.sessions.renew(refresh_token(emulator, call)))


def _try_refresh(emulator: Emulator, call: Call) -> Answer:
    try:
        return _refresh(emulator, call)
    except ApiError as err:
        if err.status == 401:
            return Answer()
        raise


def _select_tenant(emulator: Emulator, call: Call) -> Answer:
    tenant = call.fields().text("tenant")
    return tokens(emulator, emulator.sessions.renew(refresh_token(emulator, call), tenant=tenant))


def _logout(emulator: Emulator, call: Call) -> Answer:
    emulator.sessions.end(refresh_token(emulator, call))
    return _goodbye(emulator)


def _logout_all(emulator: Emulator, call: Call) -> Answer:
    emulator.sessions.end_all(refresh_token(emulator, call))
    return _goodbye(emulator)


def _me(emulator: Emulator, call: Call) -> Answer:
    _, person = emulator.sessions.find(refresh_token(emulator, call))
    return Answer(person_view(emulator.directory, person))


def _my_tenants(emulator: Emulator, call: Call) -> Answer:
    chain, person = emulator.sessions.find(refresh_token(emulator, call))
    fields = call.fields()
    wanted: list[str] = fields.texts("ids") or list(person.tenants)
    if fields.flag("dct"):
        wanted = [emulator.sessions.current_tenant(chain, person)]
    known = [emulator.directory.tenants[tenant] for tenant in person.tenants if tenant in wanted]
    return Answer({"tenants": [{"id": one.id, "name": one.name, "customAttributes": one.attributes} for one in known]})


def _history(emulator: Emulator, call: Call) -> Answer:
    _, person = emulator.sessions.find(refresh_token(emulator, call))
    return Answer(
        [
            {"userId": person.id, "loginTime": int(login.at_s), "city": "", "country": "", "ip": login.address}
            for login in reversed(person.logins)
        ]
    )


def _exchange(emulator: Emulator, call: Call) -> Answer:
    options = call.fields().part("loginOptions")
    key = emulator.directory.key_by_cleartext(call.secret(emulator.project_id))
    if key is None:
        raise unauthenticated("The access key is not valid")
    _require_one_identity(emulator, call, key.id)
    owner = _owner(emulator, key)
    if not key.active or (key.expires_s and key.expires_s <= emulator.now_s()):
        raise unauthenticated("The access key is deactivated or has expired")
    if key.permitted_ips and not is_within(call.address, key.permitted_ips):
        raise unauthenticated("The access key may not be used from this address")
    session_jwt, expires_s = emulator.sessions.for_access_key(
        key, owner, tenant=options.maybe_text("selectedTenant"), client_claims=options.mapping("customClaims")
    )
    return Answer({"keyId": key.id, "sessionJwt": session_jwt, "expiration": expires_s})


def _owner(emulator: Emulator, key: AccessKey) -> Person | None:
    if not key.person_id:
        return None
    owner = emulator.directory.people.get(key.person_id)
    if owner is None or owner.status != "enabled":
        raise unauthenticated("The access key's user is disabled or gone")
    return owner


def _goodbye(emulator: Emulator) -> Answer:
    by_cookie = emulator.settings.delivery == "cookies"
    return Answer(cookies=(SetCookie(DS, "", 0), SetCookie(DSR, "", 0)) if by_cookie else ())


def _require_one_identity(emulator: Emulator, call: Call, subject: str | None) -> None:
    """Refuse a request whose cookies belong to somebody else than its bearer.

    Descope's own rule is not known. Here it is an error at any rate, because it is what a client does that mixes
    people up, such as one HTTP client with one cookie jar for all of them.
    """
    others = [_subject(call.cookies[name]) for name in (DS, DSR) if name in call.cookies]
    if any(other is not None and other != subject for other in others):
        emulator.traffic.note(Incident.COOKIE_BEARER_MISMATCH)
        raise ApiError(
            400, "The cookies and the bearer of this request belong to different identities", code=BAD_REQUEST
        )


def _subject(token: str) -> str | None:
    """Whose token this claims to be, unverified; None where it cannot be read."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError, RecursionError):
        return None
    subject = claims.get("sub") if isinstance(claims, dict) else None
    return subject if isinstance(subject, str) else None


def auth_endpoints(project_id: str) -> Endpoints:
    """The session calls, for the one project."""
    return {
        ("GET", f"/v2/keys/{project_id}"): Endpoint(_keys, Operation.KEYS),
        ("POST", "/v1/auth/refresh"): Endpoint(_refresh, Operation.REFRESH),
        ("POST", "/v1/auth/try-refresh"): Endpoint(_try_refresh, Operation.TRY_REFRESH),
        ("POST", "/v1/auth/tenant/select"): Endpoint(_select_tenant, Operation.TENANT_SELECT),
        ("POST", "/v1/auth/logout"): Endpoint(_logout, Operation.LOGOUT),
        ("POST", "/v1/auth/logoutall"): Endpoint(_logout_all, Operation.LOGOUTALL),
        ("GET", "/v1/auth/me"): Endpoint(_me, Operation.ME),
        ("POST", "/v1/auth/me/tenants"): Endpoint(_my_tenants, Operation.ME_TENANTS),
        ("GET", "/v1/auth/me/history"): Endpoint(_history, Operation.HISTORY),
        ("POST", "/v1/auth/accesskey/exchange"): Endpoint(_exchange, Operation.EXCHANGE),
    }
