"""Sign-up, sign-in, changes and resets of passwords.

An unknown login id and a wrong password get the same answer after the same work, and a reset answers alike for
whoever it is.
"""

from gateway.emulator.auth_api import refresh_token
from gateway.emulator.channels import masked
from gateway.emulator.contacting import (
    address_of,
    link_ids,
    link_url,
    newcomer,
    require_wait_over,
    send_code,
    send_enchanted_link,
    send_magic_link,
)
from gateway.emulator.directory import Person, new_id
from gateway.emulator.emulator import Emulator
from gateway.emulator.errors import PASSWORD_EXPIRED, ApiError, already_exists, not_valid, unauthenticated
from gateway.emulator.passwords import hashed, is_right, require_policy
from gateway.emulator.proofs import Intent
from gateway.emulator.signing_in import options_of, require_able, signed_in
from gateway.emulator.traffic import Operation
from gateway.emulator.wire import Answer, Call, Endpoint, Endpoints

_FACTOR = "pwd"
_RESET_SUBJECT = "A new password for you"


def _sign_up(emulator: Emulator, call: Call) -> Answer:
    call.secret(emulator.project_id)
    fields = call.fields()
    login_id, password = fields.text("loginId"), fields.text("password")
    require_policy(emulator.password_policy, password)
    if emulator.directory.person_by_login(login_id) is not None:
        raise already_exists()
    options = options_of(emulator, call, fields)
    person = newcomer(emulator, login_id, fields.part("user"))
    require_able(person, options)
    person.password = hashed(password)
    emulator.directory.people[person.id] = person
    return signed_in(emulator, call, person, _FACTOR, options, first_seen=True)


def _sign_in(emulator: Emulator, call: Call) -> Answer:
    call.secret(emulator.project_id)
    fields = call.fields()
    person = _proven(emulator, fields.text("loginId"), fields.text("password"))
    if person.password is not None and person.password.must_replace:
        raise ApiError(400, "The password has expired and has to be replaced", code=PASSWORD_EXPIRED)
    return signed_in(emulator, call, person, _FACTOR, options_of(emulator, call, fields))


def _replace(emulator: Emulator, call: Call) -> Answer:
    call.secret(emulator.project_id)
    fields = call.fields()
    new = fields.text("newPassword")
    person = _proven(emulator, fields.text("loginId"), fields.text("oldPassword"))
    require_policy(emulator.password_policy, new)
    person.password = hashed(new)
    return signed_in(emulator, call, person, _FACTOR, options_of(emulator, call, fields))


def _update(emulator: Emulator, call: Call) -> Answer:
    _, person = emulator.sessions.find(refresh_token(emulator, call))
    fields = call.fields()
    if emulator.directory.person_by_login(fields.text("loginId")) is not person:
        raise not_valid("The login id is not that of the session's user")
    new = fields.text("newPassword")
    require_policy(emulator.password_policy, new)
    person.password = hashed(new)
    return Answer()


def _reset(emulator: Emulator, call: Call) -> Answer:
    call.secret(emulator.project_id)
    fields = call.fields()
    login_id, method = fields.text("loginId"), emulator.settings.reset_method
    url = "" if method == "otp" else _landing(emulator, fields.maybe_text("redirectUrl"), method)
    body = {"resetMethod": method, "maskedEmail": masked(login_id)}
    person = emulator.directory.person_by_login(login_id)
    address = address_of(person, "email") if person is not None and person.status != "disabled" else ""
    if person is None or not address:
        require_wait_over(emulator, "email", login_id)
        return Answer(body | _nobodys_link(emulator, method))
    intent = Intent(person, "email", contact="email", address=address)
    if method == "otp":
        send_code(emulator, login_id, "email", intent, _RESET_SUBJECT)
    elif method == "magiclink":
        send_magic_link(emulator, "email", intent, url, _RESET_SUBJECT)
    else:
        pending_ref, message = send_enchanted_link(emulator, "email", intent, url, _RESET_SUBJECT)
        body |= {"pendingRef": pending_ref, "linkId": message.link_id}
    return Answer(body)


def _landing(emulator: Emulator, given: str, method: str) -> str:
    return link_url(emulator, given, "magic" if method == "magiclink" else "enchanted")


def _nobodys_link(emulator: Emulator, method: str) -> dict[str, str]:
    """What an enchanted link's answer has, for nobody: it waits and expires like any that is not clicked."""
    if method != "enchantedlink":
        return {}
    nobody = Intent(Person(new_id("U"), [], emulator.now_s()), "email")
    _, pending_ref = emulator.links.issue(
        "enchanted", nobody, now_s=emulator.now_s(), ttl_s=emulator.settings.link_ttl_s
    )
    return {"pendingRef": pending_ref, "linkId": link_ids()[0]}


def _policy(emulator: Emulator, call: Call) -> Answer:
    call.secret(emulator.project_id)
    policy = emulator.password_policy
    return Answer(
        {
            "minLength": policy.min_length,
            "lowercase": policy.lowercase,
            "uppercase": policy.uppercase,
            "number": policy.number,
            "nonAlphanumeric": policy.non_alphanumeric,
        }
    )


def _proven(emulator: Emulator, login_id: str, password: str) -> Person:
    person = emulator.directory.person_by_login(login_id)
    if not is_right(person.password if person else None, password) or person is None:
        raise unauthenticated("The login id or the password is wrong")
    require_able(person)
    return person


def password_endpoints() -> Endpoints:
    """The password calls."""
    return {
        ("POST", "/v1/auth/password/signup"): Endpoint(_sign_up, Operation.SIGNUP),
        ("POST", "/v1/auth/password/signin"): Endpoint(_sign_in, Operation.SIGNIN),
        ("POST", "/v1/auth/password/replace"): Endpoint(_replace, Operation.PASSWORD_REPLACE),
        ("POST", "/v1/auth/password/update"): Endpoint(_update, Operation.PASSWORD_UPDATE),
        ("POST", "/v1/auth/password/reset"): Endpoint(_reset, Operation.PASSWORD_RESET),
        ("GET", "/v1/auth/password/policy"): Endpoint(_policy, Operation.PASSWORD_POLICY),
    }
