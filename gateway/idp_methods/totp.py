"""Authenticator apps: enrol one, and sign in with its codes."""

import base64
import binascii
import re
from dataclasses import dataclass, field

import httpx
from descope.common import EndpointsV1

from gateway.idp_call import Operation, SessionPair, SignInCall, pair
from gateway.idp_http import Unusable, json_object

_PNG = b"\x89PNG\r\n\x1a\n"
_MAX_PICTURE_BYTES = 256 * 1024
_KEY = re.compile(r"[A-Z2-7]{16,128}=*")
_LINK = re.compile(r"otpauth://totp/[!-~]{1,2000}")


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an app is given, in three forms. picture: a QR code as base64 of a PNG."""

    picture: str = field(repr=False)
    key: str = field(repr=False)
    link: str = field(repr=False)


def sign_up(login_id: str) -> SignInCall[Enrolment]:
    """A new account that has nothing but the app."""
    user = {"email": login_id} if "@" in login_id else {}
    body = {"loginId": login_id, "user": user}
    return SignInCall(Operation.TOTP_ENROL, EndpointsV1.sign_up_auth_totp_path, _enrolment, body)


def enrol(login_id: str, refresh_token: str) -> SignInCall[Enrolment]:
    """For somebody signed in; the app counts once a code of it has been verified."""
    body = {"loginId": login_id}
    return SignInCall(Operation.TOTP_ENROL, EndpointsV1.update_totp_path, _enrolment, body, credential=refresh_token)


def verify(login_id: str, code: str) -> SignInCall[SessionPair]:
    body = {"loginId": login_id, "code": code}
    return SignInCall(Operation.TOTP_VERIFY, EndpointsV1.verify_totp_path, pair, body)


def _enrolment(response: httpx.Response) -> Enrolment:
    members = json_object(response)
    picture, key, link = (str(members.get(name) or "") for name in ("image", "key", "provisioningURL"))
    try:
        raw = base64.b64decode(picture, validate=True)
    except (binascii.Error, ValueError):
        raise Unusable("the answer's picture is no base64") from None
    if not raw.startswith(_PNG) or len(raw) > _MAX_PICTURE_BYTES:
        raise Unusable("the answer's picture is no PNG")
    if not _KEY.fullmatch(key) or not _LINK.fullmatch(link):
        raise Unusable("the answer's key is none of an authenticator app")
    return Enrolment(picture, key, link)
