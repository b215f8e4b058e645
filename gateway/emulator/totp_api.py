"""Codes of authenticator apps (RFC 6238): enrolment with a QR picture, and sign-in."""

import base64
import hmac
import io

import pyotp
import segno

from gateway.emulator.auth_api import refresh_token
from gateway.emulator.contacting import newcomer
from gateway.emulator.directory import Authenticator, Person
from gateway.emulator.emulator import Emulator
from gateway.emulator.errors import WRONG_CODE, already_exists, not_valid, unauthenticated
from gateway.emulator.signing_in import options_of, signed_in
from gateway.emulator.traffic import Operation
from gateway.emulator.wire import Answer, Call, Endpoint, Endpoints

ISSUER = "Descope emulator"
STEP_S = 30
# A code counts one step before and after its own: clocks differ, and people type slowly.
_WINDOW = (0, -1, 1)


def _sign_up(emulator: Emulator, call: Call) -> Answer:
    call.secret(emulator.project_id)
    fields = call.fields()
    login_id = fields.text("loginId")
    if emulator.directory.person_by_login(login_id) is not None:
        raise already_exists()
    person = newcomer(emulator, login_id, fields.part("user"))
    emulator.directory.people[person.id] = person
    return _offered(person, login_id)


def _update(emulator: Emulator, call: Call) -> Answer:
    _, person = emulator.sessions.find(refresh_token(emulator, call))
    login_id = call.fields().text("loginId")
    if emulator.directory.person_by_login(login_id) is not person:
        raise not_valid("The login id is not that of the session's user")
    return _offered(person, login_id)


def _offered(person: Person, login_id: str) -> Answer:
    """A fresh key in the three forms that apps take; the one before counts until a code of the new one arrives."""
    key = pyotp.random_base32()
    person.authenticator.offered = key
    url = pyotp.TOTP(key, interval=STEP_S).provisioning_uri(name=login_id, issuer_name=ISSUER)
    picture = io.BytesIO()
    segno.make_qr(url).save(picture, kind="png", scale=5)
    return Answer({"provisioningURL": url, "image": base64.b64encode(picture.getvalue()).decode(), "key": key})


def _verify(emulator: Emulator, call: Call) -> Answer:
    call.secret(emulator.project_id)
    fields = call.fields()
    login_id, code = fields.text("loginId"), fields.text("code")
    options = options_of(emulator, call, fields)
    person = emulator.directory.person_by_login(login_id)
    is_new = person is not None and not person.logins and not person.authenticator.key
    if person is None or not _takes(person.authenticator, code, emulator.now_s()):
        raise unauthenticated("The code is wrong", WRONG_CODE)
    return signed_in(emulator, call, person, "totp", options, first_seen=is_new)


def _takes(app: Authenticator, code: str, now_s: float) -> bool:
    """Whether this is a code of the app's for about now that was not taken before."""
    for key in (app.offered, app.key):
        step = _step_of(key, code, now_s) if key else None
        if step is None:
            continue
        if key == app.offered:
            app.key, app.offered, app.last_step = key, "", -1
        if step <= app.last_step:
            return False
        app.last_step = step
        return True
    return False


def _step_of(key: str, code: str, now_s: float) -> int | None:
    """The time step that the code belongs to, if it is one of the window."""
    made = pyotp.TOTP(key, interval=STEP_S)
    now = int(now_s) // STEP_S
    given = code.encode("utf-8", "surrogatepass")
    return next(
        (now + one for one in _WINDOW if hmac.compare_digest(made.generate_otp(now + one).encode(), given)), None
    )


def totp_endpoints() -> Endpoints:
    """The calls of authenticator apps."""
    return {
        ("POST", "/v1/auth/totp/signup"): Endpoint(_sign_up, Operation.TOTP_SIGNUP),
        ("POST", "/v1/auth/totp/update"): Endpoint(_update, Operation.TOTP_UPDATE),
        ("POST", "/v1/auth/totp/verify"): Endpoint(_verify, Operation.TOTP_VERIFY),
    }
