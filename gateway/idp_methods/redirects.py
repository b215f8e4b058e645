"""OAuth and SSO: where to send the browser, and the session for what it brings back."""

import re
from urllib.parse import urlsplit

import httpx
from descope.common import EndpointsV1

from gateway.idp_call import Operation, SessionPair, SignInCall, pair
from gateway.idp_http import Unusable, json_object

# ASCII without the backslash, which browsers read as a slash.
_PRINTABLE = re.compile(r"[!-\[\]-~]{1,8192}")


def oauth_start(provider: str, return_url: str) -> SignInCall[str]:
    """The provider's address; refused for a provider that the project does not have."""
    params = {"provider": provider, "redirectURL": return_url}
    return SignInCall(Operation.OAUTH_START, EndpointsV1.oauth_start_path, _address, {}, params)


def oauth_exchange(code: str) -> SignInCall[SessionPair]:
    return SignInCall(Operation.OAUTH_EXCHANGE, EndpointsV1.oauth_exchange_token_path, pair, {"code": code})


def sso_start(tenant: str, return_url: str, login_hint: str = "") -> SignInCall[str]:
    """The address of the tenant's identity provider, by SAML or OIDC; refused for a tenant without."""
    params = {"tenant": tenant, "redirectURL": return_url} | ({"loginHint": login_hint} if login_hint else {})
    return SignInCall(Operation.SSO_START, EndpointsV1.auth_sso_start_path, _address, {}, params)


def sso_exchange(code: str) -> SignInCall[SessionPair]:
    return SignInCall(Operation.SSO_EXCHANGE, EndpointsV1.sso_exchange_token_path, pair, {"code": code})


def _address(response: httpx.Response) -> str:
    url = json_object(response).get("url")
    if not isinstance(url, str) or not _PRINTABLE.fullmatch(url):
        raise Unusable("the answer has no usable address")
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname or "@" in parts.netloc:
        raise Unusable("the answer's address is none of the web")
    return url
