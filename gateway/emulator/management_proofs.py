"""Management of what proves somebody: codes and links for test users, and embedded links for anybody.

Codes and links of test users are answered and sent nowhere. For everybody else an answer like that would be a way
around the proof, and is refused.
"""

from gateway.emulator.channels import CHANNELS, FACTORS, Channel, contact_of
from gateway.emulator.contacting import address_of, link_url, newcomer
from gateway.emulator.directory import Person
from gateway.emulator.emulator import Emulator
from gateway.emulator.errors import already_exists, invalid, not_valid
from gateway.emulator.management_people import person_of, require_roles, tenant_roles
from gateway.emulator.proofs import Intent, Options
from gateway.emulator.settings import WEEK_S
from gateway.emulator.signing_in import require_able
from gateway.emulator.web_addresses import with_parameter
from gateway.emulator.wire import Answer, Call, Fields, Serve


def _generate_otp(emulator: Emulator, call: Call) -> Answer:
    fields = call.fields()
    person, channel = _test_user(emulator, fields), _channel(fields)
    settings = emulator.settings
    code = emulator.codes.issue(
        fields.text("loginId"),
        channel,
        _intent(person, channel, fields),
        now_s=emulator.now_s(),
        ttl_s=settings.code_ttl_s,
        attempts=settings.code_attempts,
    )
    return Answer({"code": code, "loginId": fields.text("loginId")})


def _generate_magic_link(emulator: Emulator, call: Call) -> Answer:
    fields = call.fields()
    person, channel = _test_user(emulator, fields), _channel(fields)
    url = link_url(emulator, fields.maybe_text("URI"), "magic")
    token = _magic_token(emulator, _intent(person, channel, fields), 0)
    return Answer({"link": with_parameter(url, "t", token), "loginId": fields.text("loginId")})


def _generate_enchanted_link(emulator: Emulator, call: Call) -> Answer:
    fields = call.fields()
    person = _test_user(emulator, fields)
    url = link_url(emulator, fields.maybe_text("URI"), "enchanted")
    token, pending_ref = emulator.links.issue(
        "enchanted",
        _intent(person, "email", fields),
        now_s=emulator.now_s(),
        ttl_s=emulator.settings.link_ttl_s,
    )
    body = {"link": with_parameter(url, "t", token), "loginId": fields.text("loginId"), "pendingRef": pending_ref}
    return Answer(body)


def _sign_in_by_embedded_link(emulator: Emulator, call: Call) -> Answer:
    fields = call.fields()
    person = person_of(emulator, fields)
    require_able(person)
    # No channel carried it, so nothing is known to be the person's but the link; what Descope writes is not known.
    intent = Intent(person, "email", claims=fields.mapping("customClaims"))
    return Answer({"token": _magic_token(emulator, intent, fields.number("timeout"))})


def _sign_up_by_embedded_link(emulator: Emulator, call: Call) -> Answer:
    fields = call.fields()
    login_id, given = fields.text("loginId"), fields.part("user")
    if emulator.directory.person_by_login(login_id) is not None:
        raise already_exists()
    person = newcomer(emulator, login_id, given)
    person.roles = require_roles(emulator, given.texts("roleNames"))
    person.tenants = tenant_roles(emulator, given.parts("userTenants"))
    for contact, name in (("email", "emailVerified"), ("phone", "phoneVerified")):
        if contact in person.profile:
            person.profile[f"verified{contact.title()}"] = fields.flag(name)
    claims = fields.part("loginOptions").mapping("customClaims")
    intent = Intent(person, "email", is_new=True, claims=claims)
    return Answer({"token": _magic_token(emulator, intent, fields.number("timeout"))})


def _magic_token(emulator: Emulator, intent: Intent, ttl_s: int) -> str:
    """ttl_s: 0 for as long as links live by the settings."""
    ttl_s = min(ttl_s, WEEK_S) or emulator.settings.link_ttl_s
    return emulator.links.issue("magic", intent, now_s=emulator.now_s(), ttl_s=ttl_s)[0]


def _test_user(emulator: Emulator, fields: Fields) -> Person:
    person = person_of(emulator, fields)
    if not person.is_test:
        raise not_valid("The user is no test user")
    require_able(person)
    return person


def _channel(fields: Fields) -> Channel:
    """The `deliveryMethod`. Embedded, in whose case nothing would be sent anyway, is as good as e-mail."""
    word = fields.text("deliveryMethod")
    found = next((channel for channel in CHANNELS if channel == word.lower()), None)
    if found is None and word.lower() != "embedded":
        raise invalid(f"The field 'deliveryMethod' must be one of {', '.join(CHANNELS)}, Embedded")
    return found or "email"


def _intent(person: Person, channel: Channel, fields: Fields) -> Intent:
    asked = fields.part("loginOptions")
    options = Options(asked.mapping("customClaims"), asked.flag("revokeOtherSessions"))
    address = address_of(person, channel)
    return Intent(person, FACTORS[channel], contact=contact_of(channel), address=address, options=options)


def proof_endpoints() -> dict[tuple[str, str], Serve]:
    """By method and path below `/mgmt`."""
    return {
        ("POST", "/tests/generate/otp"): _generate_otp,
        ("POST", "/tests/generate/magiclink"): _generate_magic_link,
        ("POST", "/tests/generate/enchantedlink"): _generate_enchanted_link,
        ("POST", "/user/signin/embeddedlink"): _sign_in_by_embedded_link,
        ("POST", "/user/signup/embeddedlink"): _sign_up_by_embedded_link,
    }
