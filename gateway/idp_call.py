"""What Descope is asked and what its answers say, as values; nothing is sent from here and nothing is verified."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

import httpx

from gateway.idp_http import MAX_ANSWER_BYTES, Unusable, cookie_value, json_object

T = TypeVar("T")

MAX_TOKEN_CHARS = 16 * 1024
# What refuses the person or what was typed, as opposed to the request that we made (405, 413) or the moment (408, 429).
REFUSALS = frozenset({400, 401, 403, 404, 409, 412, 422})
# The characters of a bearer token (RFC 6750 section 2.1). A colon would end the credential: the SDK joins with it.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,1024}")


class Operation(StrEnum):
    """What Descope is asked for; words for metrics."""

    KEYS = "keys"
    REFRESH = "refresh"
    EXCHANGE = "exchange"
    SELECT_TENANT = "select_tenant"
    SIGN_OUT = "sign_out"
    SIGN_OUT_EVERYWHERE = "sign_out_everywhere"
    ME = "me"
    SIGN_IN = "sign_in"
    SIGN_UP = "sign_up"
    PASSWORD_POLICY = "password_policy"  # noqa: S105
    PASSWORD_RESET = "password_reset"  # noqa: S105
    PASSWORD_CHANGE = "password_change"  # noqa: S105
    OTP_SEND = "otp_send"
    OTP_VERIFY = "otp_verify"
    MAGIC_LINK_SEND = "magic_link_send"
    MAGIC_LINK_VERIFY = "magic_link_verify"
    ENCHANTED_LINK_SEND = "enchanted_link_send"
    ENCHANTED_LINK_POLL = "enchanted_link_poll"
    ENCHANTED_LINK_VERIFY = "enchanted_link_verify"
    OAUTH_START = "oauth_start"
    OAUTH_EXCHANGE = "oauth_exchange"
    SSO_START = "sso_start"
    SSO_EXCHANGE = "sso_exchange"
    TOTP_ENROL = "totp_enrol"
    TOTP_VERIFY = "totp_verify"
    HISTORY = "history"
    TENANTS = "tenants"
    FLOW = "flow"
    FLOW_CONTENT = "flow_content"


@dataclass(frozen=True, slots=True)
class SessionPair:
    """A session as Descope delivered it, unverified.

    session, refresh: raw JWTs; refresh is the one that was sent where Descope returned none. profile: "email" and
    "name" from the answer, where present.
    """

    session: str = field(repr=False)
    refresh: str = field(repr=False)
    profile: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class IdpRefusal:
    """Descope said no to a sign-in. code: its error code, "" where it gave none of the usual form."""

    status: int
    code: str = ""


@dataclass(frozen=True, slots=True)
class SignInCall(Generic[T]):
    """One request of a sign-in method; made in `idp_methods`, sent by `IdentityProvider.ask`.

    credential: a refresh token, for what only somebody signed in may ask. body: None for a GET. about: whose address a
    message goes to, "" where none does. headers: beside those of the SDK. refusals: the statuses that are an answer and
    no fault. site: where to ask instead of the API, for a file, which may have `most_bytes`.
    """

    operation: Operation
    path: str
    read: Callable[[httpx.Response], T]
    body: dict[str, Any] | None = field(default=None, repr=False)
    params: Mapping[str, str] = field(default_factory=dict, repr=False)
    credential: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    refusals: frozenset[int] = REFUSALS
    site: str = ""
    most_bytes: int = MAX_ANSWER_BYTES
    about: str = field(default="", repr=False)


def is_token(text: str, max_chars: int = MAX_TOKEN_CHARS) -> bool:
    return len(text) <= max_chars and _TOKEN.fullmatch(text) is not None


def is_text(value: object) -> bool:
    """A line of text that Descope may be asked about or may answer: 1 to 1,024 characters, none of them a control."""
    return isinstance(value, str) and _TEXT.fullmatch(value) is not None


# --- reading answers ------------------------------------------------------------------------------------------------


def nothing(response: httpx.Response) -> None:
    """Sign-out is done by its status; its body says nothing."""


def keys(response: httpx.Response) -> tuple[object, bool]:
    document = json_object(response)
    if not isinstance(document.get("keys"), list):
        raise Unusable("the answer has no list of keys")
    return document, "x-descope-emulator" in response.headers


def session(response: httpx.Response) -> str:
    return _token(json_object(response), "sessionJwt", response, "DS")


def pair(response: httpx.Response, sent_refresh: str = "") -> SessionPair:
    """Session and refresh token, from the body or from cookies."""
    members = json_object(response)
    session = _token(members, "sessionJwt", response, "DS")
    refresh = _token(members, "refreshJwt", response, "DSR", sent_refresh)
    user = members.get("user")
    known = user if isinstance(user, dict) else {}
    profile = {name: known[name] for name in ("email", "name") if is_text(known.get(name))}
    return SessionPair(session, refresh, profile)


def _token(members: Mapping[str, Any], name: str, response: httpx.Response, cookie: str, otherwise: str = "") -> str:
    """The token from the body, else from the cookie, else `otherwise`, and never none."""
    value = members.get(name) or cookie_value(response, cookie) or otherwise
    if not isinstance(value, str) or not is_token(value):
        raise Unusable(f"the answer has no usable {name}")
    return value
