"""Passwords: sign up, sign in, replace, update, reset, and what a password must be like."""

from dataclasses import dataclass
from typing import Any

import httpx
from descope.common import EndpointsV1

from gateway.core.signin import Template
from gateway.idp_call import Operation, SessionPair, SignInCall, is_text, nothing, pair
from gateway.idp_http import json_object


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    """What a new password must have: so many characters, and one of each kind that is wanted."""

    min_length: int
    lowercase: bool
    uppercase: bool
    number: bool
    other: bool


@dataclass(frozen=True, slots=True)
class ResetSent:
    """How a reset goes on. method: "otp", "magiclink", "enchantedlink" or what else the project says."""

    method: str
    pending_ref: str = ""
    link_id: str = ""


def sign_in(login_id: str, password: str) -> SignInCall[SessionPair]:
    body = {"loginId": login_id, "password": password}
    return SignInCall(Operation.SIGN_IN, EndpointsV1.sign_in_password_path, pair, body)


def sign_up(login_id: str, password: str, name: str = "") -> SignInCall[SessionPair]:
    user = {"email": login_id} if "@" in login_id else {}
    body = {"loginId": login_id, "password": password, "user": user | ({"name": name} if name else {})}
    return SignInCall(Operation.SIGN_UP, EndpointsV1.sign_up_password_path, pair, body)


def replace(login_id: str, old: str, new: str) -> SignInCall[SessionPair]:
    body = {"loginId": login_id, "oldPassword": old, "newPassword": new}
    return SignInCall(Operation.PASSWORD_CHANGE, EndpointsV1.replace_password_path, pair, body)


def update(login_id: str, new: str, refresh_token: str) -> SignInCall[None]:
    """For somebody signed in; reset by link or code ends here, too."""
    body = {"loginId": login_id, "newPassword": new}
    return SignInCall(
        Operation.PASSWORD_CHANGE, EndpointsV1.update_password_path, nothing, body, credential=refresh_token
    )


def send_reset(login_id: str, redirect_url: str, template: Template) -> SignInCall[ResetSent]:
    body: dict[str, Any] = {"loginId": login_id, "redirectUrl": redirect_url}
    if template.options:
        body["templateOptions"] = dict(template.options)
    if template.id:
        body["templateId"] = template.id
    if template.locale:
        body["locale"] = template.locale
    return SignInCall(Operation.PASSWORD_RESET, EndpointsV1.send_reset_password_path, _reset, body)


def policy() -> SignInCall[PasswordPolicy]:
    return SignInCall(Operation.PASSWORD_POLICY, EndpointsV1.password_policy_path, _policy)


def _reset(response: httpx.Response) -> ResetSent:
    members = json_object(response)
    texts = [members.get(name) for name in ("resetMethod", "pendingRef", "linkId")]
    method, pending_ref, link_id = (text if isinstance(text, str) and is_text(text) else "" for text in texts)
    return ResetSent(method, pending_ref, link_id)


def _policy(response: httpx.Response) -> PasswordPolicy:
    members = json_object(response)
    length = members.get("minLength")
    return PasswordPolicy(
        length if isinstance(length, int) else 0,
        members.get("lowercase") is True,
        members.get("uppercase") is True,
        members.get("number") is True,
        members.get("nonAlphanumeric") is True,
    )
