"""The beginning that codes and links have in common: who is meant, at which address, and sending."""

import math
import secrets

from gateway.emulator.auth_api import refresh_token
from gateway.emulator.channels import FACTORS, Channel, Contact, contact_of, is_address
from gateway.emulator.directory import PROFILE_FIELDS, Person, new_id
from gateway.emulator.emulator import Emulator
from gateway.emulator.errors import UNKNOWN_PERSON, ApiError, already_exists, invalid, missing, not_valid
from gateway.emulator.inbox import Message
from gateway.emulator.proofs import Change, Intent, LinkKind, Options
from gateway.emulator.signing_in import options_of, require_able
from gateway.emulator.web_addresses import is_web_address, with_parameter
from gateway.emulator.wire import Call, Fields

_DECOYS = 2


def to_sign_up(emulator: Emulator, call: Call, channel: Channel) -> Intent:
    """Somebody new, who enters the directory once the code or link has come back."""
    call.secret(emulator.project_id)
    fields = call.fields()
    login_id = fields.text("loginId")
    if emulator.directory.person_by_login(login_id) is not None:
        raise already_exists()
    person = newcomer(emulator, login_id, fields.part("user"))
    given = fields.maybe_text("email" if channel == "email" else "phone" if channel == "sms" else channel)
    address = given or address_of(person, channel)
    _require_address(contact_of(channel), address)
    person.profile[contact_of(channel)] = address
    return _intent(person, channel, address, options_of(emulator, call, fields), is_new=True)


def to_sign_in(emulator: Emulator, call: Call, channel: Channel, *, or_up: bool = False) -> Intent:
    """Somebody who is known or, with `or_up`, may be new."""
    call.secret(emulator.project_id)
    fields = call.fields()
    person = emulator.directory.person_by_login(fields.text("loginId"))
    if person is None and or_up:
        return to_sign_up(emulator, call, channel)
    if person is None:
        raise ApiError(400, "There is no such user", code=UNKNOWN_PERSON)
    options = options_of(emulator, call, fields)
    require_able(person, options)
    address = address_of(person, channel)
    _require_address(contact_of(channel), address)
    return _intent(person, channel, address, options)


def to_change(emulator: Emulator, call: Call, channel: Channel) -> Intent:
    """A new address for the person whose refresh token this is."""
    chain, person = emulator.sessions.find(refresh_token(emulator, call))
    fields = call.fields()
    if emulator.directory.person_by_login(fields.text("loginId")) is not person:
        raise not_valid("The login id is not that of the session's user")
    contact = contact_of(channel)
    address = fields.text(contact)
    _require_address(contact, address)
    change = Change(contact, address, fields.flag("addToLoginIDs"), fields.flag("onMergeUseExisting"))
    options = Options(mfa=fields.flag("mfa"), before=chain)
    return Intent(person, FACTORS[channel], contact=contact, address=address, options=options, change=change)


def newcomer(emulator: Emulator, login_id: str, profile: Fields) -> Person:
    """Somebody new, not yet in the directory; what kind of address the login id is goes into the profile."""
    person = Person(new_id("U"), [login_id], emulator.now_s())
    person.profile = {name: value for name in PROFILE_FIELDS if (value := profile.maybe_text(name))}
    contacts: tuple[Contact, ...] = ("email", "phone")
    for contact in contacts:
        if is_address(contact, login_id):
            person.profile.setdefault(contact, login_id)
    return person


def address_of(person: Person, channel: Channel) -> str:
    """Where this channel reaches a person: by the profile, else by a login id of the right form; "" when nowhere."""
    contact = contact_of(channel)
    known = str(person.profile.get(contact, ""))
    return known or next((one for one in person.login_ids if is_address(contact, one)), "")


def send_code(emulator: Emulator, login_id: str, channel: Channel, intent: Intent, subject: str) -> Message:
    """A one-time code to the intent's address."""
    require_wait_over(emulator, channel, intent.address)
    now_s, settings = emulator.now_s(), emulator.settings
    code = emulator.codes.issue(
        login_id, channel, intent, now_s=now_s, ttl_s=settings.code_ttl_s, attempts=settings.code_attempts
    )
    return emulator.inbox.put(now_s, intent.address, channel, subject, code=code)


def send_magic_link(emulator: Emulator, channel: Channel, intent: Intent, url: str, subject: str) -> Message:
    """A link that signs in whoever opens it."""
    require_wait_over(emulator, channel, intent.address)
    now_s = emulator.now_s()
    token, _ = emulator.links.issue("magic", intent, now_s=now_s, ttl_s=emulator.settings.link_ttl_s)
    return emulator.inbox.put(now_s, intent.address, channel, subject, link=with_parameter(url, "t", token))


def send_enchanted_link(
    emulator: Emulator, channel: Channel, intent: Intent, url: str, subject: str
) -> tuple[str, Message]:
    """Three links under numbers, one of which signs in whoever polls with the reference that comes back here."""
    require_wait_over(emulator, channel, intent.address)
    now_s = emulator.now_s()
    token, pending_ref = emulator.links.issue("enchanted", intent, now_s=now_s, ttl_s=emulator.settings.link_ttl_s)
    link_id, *others = link_ids()
    message = emulator.inbox.put(
        now_s,
        intent.address,
        channel,
        subject,
        link=with_parameter(url, "t", token),
        link_id=link_id,
        decoys=tuple((other, with_parameter(url, "t", secrets.token_urlsafe(32))) for other in others),
    )
    return pending_ref, message


def link_ids() -> list[str]:
    """Numbers of two digits, all different: the right one first, then those of the decoys."""
    return [str(number) for number in secrets.SystemRandom().sample(range(10, 100), 1 + _DECOYS)]


def link_url(emulator: Emulator, given: str, kind: LinkKind) -> str:
    """Where a link leads: what the request says, else the setting; ApiError where neither does."""
    settings = emulator.settings
    otherwise, name = (
        (settings.magic_link_url, "magic_link_url")
        if kind == "magic"
        else (settings.enchanted_link_url, "enchanted_link_url")
    )
    return require_url(given, otherwise, name)


def require_url(given: str, otherwise: str, setting: str) -> str:
    """The given URL or the one in the setting of that name; ApiError where there is none that people can be sent to."""
    if not given and not otherwise:
        raise missing(f"URI (or the emulator's setting {setting})")
    if given and not is_web_address(given):
        raise invalid("The URL to go to must be an absolute http or https URL")
    return given or otherwise


def require_wait_over(emulator: Emulator, channel: Channel, address: str) -> None:
    """Raise ApiError when something was sent there by this channel a moment ago."""
    wait_s = emulator.inbox.wait_s(f"{channel} {address}", emulator.now_s(), emulator.settings.send_wait_s)
    if wait_s:
        raise ApiError(429, "Too many messages to this address; wait", retry_after_s=math.ceil(wait_s))


def _intent(person: Person, channel: Channel, address: str, options: Options, *, is_new: bool = False) -> Intent:
    return Intent(
        person, FACTORS[channel], contact=contact_of(channel), address=address, options=options, is_new=is_new
    )


def _require_address(contact: Contact, address: str) -> None:
    if not is_address(contact, address):
        raise invalid("The user has no e-mail address" if contact == "email" else "The user has no phone number")
