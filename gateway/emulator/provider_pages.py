"""The pretend provider: one page on which whoever sits there says who they are, or refuses.

It plays the OAuth providers and the identity providers of tenants alike, and believes whatever it is told.
"""

from gateway.emulator.channels import compared, is_email
from gateway.emulator.contacting import address_of
from gateway.emulator.directory import Person, Tenant
from gateway.emulator.emulator import Emulator
from gateway.emulator.federation import Errand, Vouched
from gateway.emulator.pages import gone_to, page
from gateway.emulator.web_addresses import with_parameter
from gateway.emulator.wire import Answer, Call, Endpoint, Endpoints

PROVIDER_PATH = "/_emulator/provider"
_REFUSED = "access_denied"


def _show(emulator: Emulator, call: Call) -> Answer:
    state = call.queried().maybe_text("state")
    errand = emulator.federation.errand(state, emulator.now_s())
    return _over() if errand is None else _asking(emulator, errand, state)


def _decide(emulator: Emulator, call: Call) -> Answer:
    form, now_s = call.form(), emulator.now_s()
    state = form.maybe_text("state")
    errand = emulator.federation.errand(state, now_s)
    if errand is None:
        return _over()
    if form.maybe_text("decision") != "allow":
        emulator.federation.end(state, now_s)
        return gone_to(with_parameter(errand.return_url, "err", _REFUSED))
    choice, email = form.maybe_text("person"), form.maybe_text("email").strip()
    person = next((one for one in _candidates(emulator, errand) if one.id == choice), None)
    problem = "" if person is not None else _problem(emulator, errand, email)
    if problem:
        return _asking(emulator, errand, state, email=email, problem=problem)
    emulator.federation.end(state, now_s)
    known = person or emulator.directory.person_by_login(email)
    if known is not None and known.status == "disabled":
        return gone_to(with_parameter(errand.return_url, "err", _REFUSED))
    vouched = Vouched(errand, person, "" if person is not None else email)
    code = emulator.federation.vouch(vouched, now_s=now_s, ttl_s=emulator.settings.exchange_code_ttl_s)
    return gone_to(with_parameter(errand.return_url, "code", code))


def _problem(emulator: Emulator, errand: Errand, email: str) -> str:
    """What is wrong with an address that was typed, "" when nothing is."""
    tenant = _tenant(emulator, errand)
    if not is_email(email):
        return "Choose somebody, or type an e-mail address."
    domains = [] if tenant is None else [one.casefold() for one in tenant.domains]
    if tenant is not None and domains and email.rpartition("@")[2].casefold() not in domains:
        return f"{tenant.name} vouches for addresses at {', '.join(tenant.domains)} only."
    return ""


def _asking(emulator: Emulator, errand: Errand, state: str, *, email: str = "", problem: str = "") -> Answer:
    people = [(one.id, one.profile.get("name", ""), _shown(one)) for one in _candidates(emulator, errand)]
    hinted = next((one for one, _, login in people if compared(login) == compared(errand.hint)), "")
    tenant = _tenant(emulator, errand)
    return page(
        "provider.html",
        400 if problem else 200,
        provider=errand.provider if tenant is None else tenant.name,
        is_tenant=tenant is not None,
        state=state,
        people=people,
        hinted=hinted,
        email=email or (errand.hint if not hinted and is_email(errand.hint) else ""),
        problem=problem,
        action=PROVIDER_PATH,
    )


def _candidates(emulator: Emulator, errand: Errand) -> list[Person]:
    """Whom the page offers: of a tenant its members, of an OAuth provider everybody."""
    people = list(emulator.directory.people.values())
    return people if errand.kind == "oauth" else [one for one in people if errand.provider in one.tenants]


def _tenant(emulator: Emulator, errand: Errand) -> Tenant | None:
    return emulator.directory.tenants.get(errand.provider) if errand.kind == "sso" else None


def _shown(person: Person) -> str:
    return address_of(person, "email") or person.login_ids[0]


def _over() -> Answer:
    return page("provider_over.html", 400)


def provider_endpoints() -> Endpoints:
    """The pretend provider's page; like all controls neither logged nor made to fail."""
    return {
        ("GET", PROVIDER_PATH): Endpoint(_show, None),
        ("POST", PROVIDER_PATH): Endpoint(_decide, None),
    }
