"""The way to Descope through its SDK, with what the SDK does on its own taken away.

`DescopeClientAsync` is built once, but its session methods are not used: those verify tokens a second time with keys of
their own, fetch those keys again for every unknown `kid`, wait and repeat a POST that may have spent a refresh token,
and lose what we need of the answer. Callers verify with the gateway's keyring. So requests are made by the SDK's own
HTTP layer (`get`, `post`: its headers, its base URL, its TLS settings), and `idp` reads the answers.

Private names, pinned by the lock and checked at start: `DescopeClientAsync._auth_http` and `._mgmt_http`, which nobody
calls, and `_async_client` of both: httpx clients, of which public parts are set:

- the cookie jar stores nothing and gives nothing back; it is shared, and would send one caller's cookies with another's
  token;
- a response hook raises on every status but success. It runs before the SDK looks at the status, so that nothing is
  repeated, no redirect is followed, and `Retry-After` survives whatever the body is;
- the hook also bounds the body, which comes uncompressed, since we ask for that.

The environment: proxies (HTTPS_PROXY, NO_PROXY ...) and certificates (SSL_CERT_FILE, SSL_CERT_DIR, REQUESTS_CA_BUNDLE)
count as everywhere. DESCOPE_BASE_URI, DESCOPE_PROJECT_ID, DESCOPE_PUBLIC_KEY and both management keys do not: an
argument takes their place, or their trace is removed.
"""

import base64
import json
import logging
import re
from collections.abc import AsyncIterator, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from descope.descope_client_async import DescopeClientAsync
from descope.exceptions import AuthException, RateLimitException
from descope.http_client_async import HTTPClientAsync

from gateway.core.errors import ConfigError

MAX_ANSWER_BYTES = 1024 * 1024
_MOST = "gateway_most_bytes"
# RuntimeError: a closed client. OSError, ValueError: what httpx lets through of sockets and of encoding.
SDK_FAULTS = (AuthException, RateLimitException, httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, RuntimeError)
_DELETED = re.compile(r";\s*max-age\s*=\s*\"?(?:0|-[0-9]+)\"?\s*(?:;|$)", re.IGNORECASE)
_ERROR_CODE = re.compile(r"E[0-9]{4,9}")
_PROJECT_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


class NoSuccess(Exception):
    """Descope answered with another status than success; raised by the response hook."""

    def __init__(self, response: httpx.Response, code: str) -> None:
        """code: the `errorCode` of the body, "" where it has none."""
        super().__init__()
        self.code = code
        self.status = response.status_code
        self.retry_after = response.headers.get("retry-after")
        self.is_page = response.headers.get("content-type", "").lower().startswith("text/html")


class Unusable(Exception):
    """A successful answer that cannot be used; the text says why, in words of ours."""


class _BoundedBody(httpx.AsyncByteStream):
    """A body that fails when it grows over its bound."""

    def __init__(self, body: httpx.AsyncByteStream, most: int = MAX_ANSWER_BYTES) -> None:
        self._body = body
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        taken = 0
        async for chunk in self._body:
            taken += len(chunk)
            if taken > self._most:
                raise Unusable(f"the answer is over {self._most >> 20} MiB")
            yield chunk

    async def aclose(self) -> None:
        await self._body.aclose()


async def _check_head(response: httpx.Response) -> None:
    """Stop every answer but a success of bearable size; the body has not been read yet."""
    if not response.is_success:
        raise NoSuccess(response, await _error_code(response))
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise Unusable("the answer is compressed, which was not asked for")
    most = response.request.extensions.get(_MOST, MAX_ANSWER_BYTES)
    if int(response.headers.get("content-length", 0)) > most:
        raise Unusable(f"the answer is over {most >> 20} MiB")
    if isinstance(response.stream, httpx.AsyncByteStream):  # always, for an asynchronous client
        response.stream = _BoundedBody(response.stream, most)


async def _error_code(response: httpx.Response) -> str:
    """`errorCode` of an error's body where that is of use to somebody who signs in; "" otherwise.

    Whatever the body is, its status and `Retry-After` count.
    """
    is_plain = response.headers.get("content-encoding", "identity").lower() == "identity"
    if not response.is_client_error or not is_plain or not isinstance(response.stream, httpx.AsyncByteStream):
        return ""
    response.stream = _BoundedBody(response.stream)
    try:
        await response.aread()
        code = json_object(response).get("errorCode")
    except (Unusable, httpx.HTTPError):
        return ""
    return code if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""


class DescopeHttp:
    """Requests to Descope's API as the project, with or without a credential; no caller's state stays behind.

    A status that is no success raises `NoSuccess`, an answer over 1 MiB `Unusable`, and what goes wrong below is one of
    SDK_FAULTS. timeout_s: for each phase of a request; the caller holds the deadline.
    """

    def __init__(self, project_id: str, base_url: str, timeout_s: float) -> None:
        self.base_url = _effective_base_url(project_id, base_url)
        self._client = _client(project_id, self.base_url, timeout_s)
        self._http = sdk_http(self._client, project_id)
        self._connection = _connection(self._http)
        # A URL may hold a login id, and at DEBUG the header lines follow; a stricter level is left alone.
        for name in ("httpx", "httpcore", "descope"):
            logger = logging.getLogger(name)
            logger.setLevel(max(logger.level, logging.WARNING))

    async def get(self, path: str, credential: str | None, params: Mapping[str, str] | None = None) -> httpx.Response:
        return await self._http.get(path, params=params, allow_redirects=False, pswd=credential)

    async def post(
        self, path: str, credential: str | None, body: dict[str, object], params: Mapping[str, str] | None = None
    ) -> httpx.Response:
        return await self._http.post(path, body=body, params=params, pswd=credential)

    async def send(
        self,
        path: str,
        credential: str | None,
        body: dict[str, object] | None,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str],
    ) -> httpx.Response:
        """As `get` and `post`, with headers that the SDK has no way for; its own are written over."""
        method = "GET" if body is None else "POST"
        lines = {**self._http.get_default_headers(credential), **headers}
        # Descope's clients are many; two names in one request would be nobody's.
        lines = {name.lower(): value for name, value in lines.items()}
        return await self._connection.request(method, self.base_url + path, headers=lines, json=body, params=params)

    async def fetch(self, url: str, most_bytes: int) -> httpx.Response:
        """A public file, asked for as nobody."""
        return await self._connection.get(url, follow_redirects=False, extensions={_MOST: most_bytes})

    async def close(self) -> None:
        await self._client.aclose()


def sdk_http(client: object, project_id: str) -> HTTPClientAsync:
    """Take the HTTP layer out of the SDK's client and tame it.

    Raises ConfigError where the SDK is not built as the locked version is.
    """
    found, _ = (_tamed(getattr(client, name, None)) for name in ("_auth_http", "_mgmt_http"))
    # The management key of the environment would stand behind the credential.
    if found.get_default_headers("x").get("Authorization") != f"Bearer {project_id}:x":
        raise _another_sdk()
    return found


def _connection(layer: object) -> httpx.AsyncClient:
    connection = getattr(layer, "_async_client", None)
    if not isinstance(connection, httpx.AsyncClient):
        raise _another_sdk()
    return connection


def _tamed(layer: object) -> HTTPClientAsync:
    connection = _connection(layer)
    if not isinstance(layer, HTTPClientAsync):
        raise _another_sdk()
    layer.management_key = None
    connection.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
    connection.event_hooks = {"response": [_check_head]}
    connection.headers["accept-encoding"] = "identity"
    return layer


def _another_sdk() -> ConfigError:
    return ConfigError(
        ("The installed package descope is not built as the gateway expects it: install the version of the lock file.",)
    )


def _client(project_id: str, base_url: str, timeout_s: float) -> DescopeClientAsync:
    if not _PROJECT_ID.fullmatch(project_id):
        raise ConfigError(("The project id may have letters, digits, '-' and '_': copy it from the Descope console.",))
    try:
        return DescopeClientAsync(
            project_id, public_key=_nobodys_key(), timeout_seconds=timeout_s, base_url=base_url, verbose=False
        )
    except (*SDK_FAULTS, ImportError) as err:  # ImportError: a SOCKS proxy without the package it needs
        remedy = "check SSL_CERT_FILE, SSL_CERT_DIR, REQUESTS_CA_BUNDLE and the proxy variables."
        raise ConfigError((f"The Descope client cannot be built ({type(err).__name__}): {remedy}",)) from None


def _nobodys_key() -> dict[str, str]:
    """A public key without owner, given so that the SDK reads none from the environment; we verify nothing with it."""
    public = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    point = base64.urlsafe_b64encode(public).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": point, "alg": "EdDSA", "kid": "nobody"}


def _effective_base_url(project_id: str, base_url: str) -> str:
    """The base URL given, or the project's own; without trailing slash, which would give `//v1/...`."""
    text = (base_url or HTTPClientAsync.base_url_for_project_id(project_id)).rstrip("/")
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL()
    # Userinfo would become an Authorization of its own and replace ours.
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or "?" in text or "#" in text:
        raise ConfigError(
            ("The Descope base URL is no plain http or https URL: write it like https://api.descope.com.",)
        )
    return text


def json_object(response: httpx.Response) -> dict[str, Any]:
    """Read the answer's JSON object; Unusable where it is none."""
    answer = _json(response)
    if not isinstance(answer, dict):
        raise Unusable("the answer is no JSON object")
    return answer


def json_list(response: httpx.Response) -> list[Any]:
    """Read the answer's JSON list; Unusable where it is none."""
    answer = _json(response)
    if not isinstance(answer, list):
        raise Unusable("the answer is no JSON list")
    return answer


def _json(response: httpx.Response) -> object:
    try:
        return json.loads(response.content.decode())
    except (ValueError, RecursionError):
        raise Unusable("the answer is no JSON") from None


def cookie_value(response: httpx.Response, wanted: str) -> str:
    """The value of the last cookie of that name which is set and not deleted, whatever its domain and path; or "".

    By hand: a jar drops what is meant for the application's domain, and fails on two of one name.
    """
    value = ""
    for line in response.headers.get_list("set-cookie"):
        name, _, text = line.partition(";")[0].partition("=")
        text = text.strip(' \t"')
        if name.strip() == wanted and text and not _DELETED.search(line):
            value = text
    return value
