"""Sign-up, sign-in and changes of password.

An unknown login id and a wrong password get the same answer after the same work.
"""

from gateway.emulator.auth_api import refresh_token, tokens
from gateway.emulator.directory import Login, Person, new_id
from gateway.emulator.emulator import Emulator
from gateway.emulator.errors import ALREADY_EXISTS, ApiError, not_valid, unauthenticated
from gateway.emulator.passwords import hashed, is_right, require_policy
from gateway.emulator.traffic import Operation
from gateway.emulator.wire import Answer, Call, Endpoint, Endpoints, Fields

PROFILE_FIELDS = ("name", "givenName", "middleName", "familyName", "email", "phone", "picture")


def _sign_up(emulator: Emulator, call: Call) -> Answer:
    call.secret(emulator.project_id)
    fields = call.fields()
    login_id, password = fields.text("loginId"), fields.text("password")
    require_policy(emulator.password_policy, password)
    if emulator.directory.person_by_login(login_id) is not None:
        raise ApiError(400, "The user exists already", code=ALREADY_EXISTS)
    profile: dict[str, object] = {
        name: value for name in PROFILE_FIELDS if (value := fields.part("user").maybe_text(name))
    }
    if "@" in login_id:
        profile.setdefault("email", login_id)
    person = Person(new_id("U"), [login_id], emulator.now_s(), profile, hashed(password))
    emulator.directory.people[person.id] = person
    return _signed_in(emulator, call, person, fields, first_seen=True)


def _sign_in(emulator: Emulator, call: Call) -> Answer:
    call.secret(emulator.project_id)
    fields = call.fields()
    person = _proven(emulator, fields.text("loginId"), fields.text("password"))
    if person.password is not None and person.password.must_replace:
        raise not_valid("The password has expired and has to be replaced")
    return _signed_in(emulator, call, person, fields)


def _replace(emulator: Emulator, call: Call) -> Answer:
    call.secret(emulator.project_id)
    fields = call.fields()
    new = fields.text("newPassword")
    person = _proven(emulator, fields.text("loginId"), fields.text("oldPassword"))
    require_policy(emulator.password_policy, new)
    person.password = hashed(new)
    return _signed_in(emulator, call, person, fields)


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
    # Nothing is sent anywhere, and the answer is the same for somebody who does not exist.
    call.secret(emulator.project_id)
    login_id = call.fields().text("loginId")
    return Answer({"resetMethod": "magiclink", "maskedEmail": masked(login_id)})


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


def masked(address: str) -> str:
    """An address of which only the first letters can be read, such as `a**@e******.com`."""
    local, at, domain = address.partition("@")
    name, dot, end = domain.rpartition(".")
    return f"{_starred(local)}{at}{_starred(name)}{dot}{end}"


def _starred(word: str) -> str:
    return word[:1] + "*" * (len(word) - 1)


def _proven(emulator: Emulator, login_id: str, password: str) -> Person:
    person = emulator.directory.person_by_login(login_id)
    if not is_right(person.password if person else None, password) or person is None:
        raise unauthenticated("The login id or the password is wrong")
    if person.status not in {"enabled", "invited"}:
        raise ApiError(403, "The user is disabled")
    return person


def _signed_in(emulator: Emulator, call: Call, person: Person, fields: Fields, *, first_seen: bool = False) -> Answer:
    options = fields.part("loginOptions")
    person.status = "enabled"
    person.logins.append(Login(emulator.now_s(), call.address))
    issued = emulator.sessions.start(
        person, client_claims=options.mapping("customClaims"), end_others=options.flag("revokeOtherSessions")
    )
    return tokens(emulator, issued, first_seen=first_seen)


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
