"""Which of Descope's paths pages may reach through `/.auth/descope/`: a table, and everything else is not there.

Only what the offered methods need, and of that nothing that makes accounts unless the route file says so. What keeps,
renews or ends a session is not in this table: that goes through `Sessions`, like everybody's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from gateway.core.signin import Channel, LoginRules, Method
from gateway.idp_call import Operation

_QUERY = frozenset({"provider", "redirectURL", "redirectUrl", "tenant", "prompt", "ssoId", "loginHint", "forceAuthn"})


class Kind(Enum):
    """SEND: something goes to somebody, who may not exist. PROVE: what was typed is right or wrong. PUBLIC: neither.

    OWN: for whoever is signed in.
    """

    SEND = auto()
    PROVE = auto()
    PUBLIC = auto()
    OWN = auto()


@dataclass(frozen=True, slots=True)
class Passage:
    """One path that is let through. query: the parameters that go along."""

    method: str
    path: str
    operation: Operation
    kind: Kind
    query: frozenset[str] = frozenset()


def passages(login: LoginRules) -> tuple[Passage, ...]:
    """All that pages may ask here, beside flows and sessions."""
    return (
        Passage("GET", "/v1/auth/me", Operation.ME, Kind.OWN),
        Passage("POST", "/v1/auth/me/tenants", Operation.TENANTS, Kind.OWN),
        Passage("GET", "/v1/auth/me/history", Operation.HISTORY, Kind.OWN),
        *_of_methods(login),
    )


def _of_methods(login: LoginRules) -> Iterator[Passage]:
    if login.offers(Method.PASSWORD):
        yield Passage("POST", "/v1/auth/password/signin", Operation.SIGN_IN, Kind.PROVE)
        yield Passage("POST", "/v1/auth/password/replace", Operation.PASSWORD_CHANGE, Kind.PROVE)
        yield Passage("GET", "/v1/auth/password/policy", Operation.PASSWORD_POLICY, Kind.PUBLIC)
        if login.sign_up:
            yield Passage("POST", "/v1/auth/password/signup", Operation.SIGN_UP, Kind.PROVE)
    if login.offers(Method.OTP):
        yield from _sent("otp", login.otp_channels, Operation.OTP_SEND, sign_up=login.sign_up)
        for channel in login.otp_channels:
            yield Passage("POST", f"/v1/auth/otp/verify/{channel}", Operation.OTP_VERIFY, Kind.PROVE)
    if login.offers(Method.MAGIC_LINK):
        channels = login.magic_link_channels
        yield from _sent("magiclink", channels, Operation.MAGIC_LINK_SEND, sign_up=login.sign_up)
        yield Passage("POST", "/v1/auth/magiclink/verify", Operation.MAGIC_LINK_VERIFY, Kind.PROVE)
    if login.offers(Method.TOTP):
        yield Passage("POST", "/v1/auth/totp/verify", Operation.TOTP_VERIFY, Kind.PROVE)
    if login.offers(Method.OAUTH):
        yield Passage("POST", "/v1/auth/oauth/authorize", Operation.OAUTH_START, Kind.PUBLIC, _QUERY)
        yield Passage("POST", "/v1/auth/oauth/exchange", Operation.OAUTH_EXCHANGE, Kind.PROVE)
    if login.offers(Method.SSO):
        for word in ("sso", "saml"):
            yield Passage("POST", f"/v1/auth/{word}/authorize", Operation.SSO_START, Kind.PUBLIC, _QUERY)
            yield Passage("POST", f"/v1/auth/{word}/exchange", Operation.SSO_EXCHANGE, Kind.PROVE)


def _sent(word: str, channels: tuple[Channel, ...], operation: Operation, *, sign_up: bool) -> Iterator[Passage]:
    for channel in channels:
        for start in ("signin", "signup", "signup-in") if sign_up else ("signin",):
            yield Passage("POST", f"/v1/auth/{word}/{start}/{channel}", operation, Kind.SEND)
