"""OAuth and SSO: where to send the browser, and a session for the code that it brings back."""

from functools import partial

from gateway.emulator.contacting import newcomer, require_url
from gateway.emulator.emulator import Emulator
from gateway.emulator.errors import BAD_REQUEST, ApiError, invalid, unauthenticated
from gateway.emulator.federation import Errand, FederationKind
from gateway.emulator.provider_pages import PROVIDER_PATH
from gateway.emulator.signing_in import options_of, require_able, signed_in
from gateway.emulator.traffic import Operation
from gateway.emulator.web_addresses import with_parameter
from gateway.emulator.wire import Answer, Call, Endpoint, Endpoints, Fields

_FACTORS: dict[FederationKind, str] = {"oauth": "oauth", "sso": "fed"}


def _start_oauth(emulator: Emulator, call: Call) -> Answer:
    call.secret(emulator.project_id)
    query = call.queried()
    provider = query.text("provider")
    if provider not in emulator.oauth_providers:
        raise invalid(f"There is no provider {provider!r}; the seed has {', '.join(emulator.oauth_providers)}")
    return _sent(emulator, call, "oauth", provider, query.maybe_text("loginHint"))


def _start_sso(emulator: Emulator, call: Call) -> Answer:
    call.secret(emulator.project_id)
    query = call.queried()
    tenant = emulator.directory.tenant_by(query.text("tenant"))
    if tenant is None:
        raise ApiError(400, "There is no tenant of this id, name or domain", code=BAD_REQUEST)
    if tenant.sso == "none" or tenant.disabled:
        raise invalid(f"The tenant {tenant.id!r} has no SSO")
    if query.maybe_text("ssoId") not in {"", tenant.id}:
        raise invalid(f"The tenant {tenant.id!r} has no such SSO configuration")
    return _sent(emulator, call, "sso", tenant.id, query.maybe_text("loginHint") or query.maybe_text("initiatedEmail"))


def _sent(emulator: Emulator, call: Call, kind: FederationKind, provider: str, hint: str) -> Answer:
    url = require_url(call.queried().maybe_text("redirectURL"), emulator.settings.sign_in_url, "sign_in_url")
    options = options_of(emulator, call, Fields({"loginOptions": call.fields().given()}))
    state = emulator.federation.send(Errand(kind, provider, url, options, hint), emulator.now_s())
    page = (emulator.settings.public_url or call.base_url).rstrip("/") + PROVIDER_PATH
    return Answer({"url": with_parameter(page, "state", state)})


def _exchange(emulator: Emulator, call: Call, *, kind: FederationKind) -> Answer:
    call.secret(emulator.project_id)
    vouched = emulator.federation.redeem(kind, call.fields().text("code"), emulator.now_s())
    errand, directory = vouched.errand, emulator.directory
    person = vouched.person or directory.person_by_login(vouched.email)
    if vouched.person is not None and directory.people.get(vouched.person.id) is not vouched.person:
        raise unauthenticated("The user is gone")
    is_new = person is None
    if person is None:
        person = newcomer(emulator, vouched.email, Fields({}))
        person.profile["verifiedEmail"] = True
    require_able(person, errand.options)
    if kind == "sso" and errand.provider not in directory.tenants:
        raise unauthenticated("The tenant is gone")
    directory.people[person.id] = person
    if kind == "sso":
        person.has_sso = True
        person.tenants.setdefault(errand.provider, [])
    else:
        person.providers.add(errand.provider)
    return signed_in(emulator, call, person, _FACTORS[kind], errand.options, first_seen=is_new)


def federation_endpoints() -> Endpoints:
    """The calls of OAuth and SSO; SSO stands under `/sso/` and, as some SDKs ask, under `/saml/`."""
    found = {
        ("POST", "/v1/auth/oauth/authorize"): Endpoint(_start_oauth, Operation.OAUTH_START),
        ("POST", "/v1/auth/oauth/exchange"): Endpoint(partial(_exchange, kind="oauth"), Operation.OAUTH_EXCHANGE),
    }
    for word in ("sso", "saml"):
        found["POST", f"/v1/auth/{word}/authorize"] = Endpoint(_start_sso, Operation.SSO_START)
        found["POST", f"/v1/auth/{word}/exchange"] = Endpoint(partial(_exchange, kind="sso"), Operation.SSO_EXCHANGE)
    return found
