"""What pages ask Descope through the gateway: flows, the files of their screens, the methods of a browser's SDK.

Bodies and most answers are the page's and Descope's own words. Only tokens are looked for in them, wherever the project
has them delivered, for what becomes of those is decided here and nowhere else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from gateway.idp_call import REFUSALS, Operation, SessionPair, SignInCall, is_text, is_token
from gateway.idp_http import cookie_value, json_list, json_object

FLOW_START = "/v1/flow/start"
FLOW_NEXT = "/v1/flow/next"
_NONCE = "X-Descope-Flow-Nonce"
# A project's themes and screens are larger than any answer of the API.
_FILE_BYTES = 4 * 1024 * 1024
# The page chose the words, so what Descope makes of them is no sign that it is ill, and rests nobody else.
_OF_THE_WORDS = REFUSALS | {405, 413, 415, 500, 501}


@dataclass(frozen=True, slots=True)
class Said:
    """Descope's answer to a page.

    body: an object or a list, without tokens. pair: those, unverified, where it gave any. info: the part of the body
    that tells of the session. nonce: of a flow.
    """

    body: object = field(repr=False)
    info: dict[str, Any] = field(repr=False)
    pair: SessionPair | None
    nonce: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file of a flow. geo: the country that Descope sees the request come from."""

    body: bytes
    geo: str


def flow(path: str, body: dict[str, Any], headers: Mapping[str, str], refresh_token: str | None) -> SignInCall[Said]:
    """One step of a flow. refresh_token: of whoever is signed in."""
    return SignInCall(
        Operation.FLOW,
        path,
        _said_by_flow,
        body,
        credential=refresh_token,
        headers=headers,
        refusals=_OF_THE_WORDS,
    )


def method(
    operation: Operation,
    path: str,
    *,
    body: dict[str, Any] | None,
    params: Mapping[str, str],
    headers: Mapping[str, str],
    refresh_token: str | None,
) -> SignInCall[Said]:
    """A call of a sign-in method, or of somebody signed in; body: None for a GET."""
    return SignInCall(operation, path, _said, body, params, refresh_token, headers, _OF_THE_WORDS)


def file(static_url: str, project_id: str, name: str) -> SignInCall[StaticFile]:
    """A file of the project's flows. name: below the folder of the component's generation of files."""
    return SignInCall(
        Operation.FLOW_CONTENT,
        f"/{project_id}/v2-beta/{name}",
        _file,
        refusals=frozenset({400, 403, 404, 410}),
        site=static_url,
        most_bytes=_FILE_BYTES,
    )


def _file(response: httpx.Response) -> StaticFile:
    geo = response.headers.get("x-geo", "")
    return StaticFile(response.content, geo if is_text(geo) and geo.isascii() else "")


def _said(response: httpx.Response) -> Said:
    if response.content.lstrip()[:1] == b"[":
        return Said(json_list(response), {}, None)
    members = json_object(response)
    return Said(members, members, _tokens(members, response))


def _said_by_flow(response: httpx.Response) -> Said:
    """A flow that is completed tells of the session under `authInfo`."""
    members = json_object(response)
    within = members.get("authInfo")
    info: dict[str, Any] = within if isinstance(within, dict) else {}
    nonce = response.headers.get(_NONCE, "")
    pair = _tokens(info, response) if members.get("status") == "completed" else None
    return Said(members, info, pair, nonce if is_text(nonce) and nonce.isascii() else "")


def _tokens(members: dict[str, Any], response: httpx.Response) -> SessionPair | None:
    """Take the tokens out of an answer; from its cookies where the project delivers them so."""
    names = {"sessionJwt": ("sessionCookieName", "DS"), "refreshJwt": ("cookieName", "DSR")}
    found = []
    for member, (named_by, usual) in names.items():
        name = members.get(named_by)
        value = members.pop(member, None) or cookie_value(response, name if isinstance(name, str) and name else usual)
        found.append(value if isinstance(value, str) and is_token(value) else "")
    session, refresh = found
    if not session or not refresh:
        return None
    user = members.get("user")
    known = user if isinstance(user, dict) else {}
    profile = {name: known[name] for name in ("email", "name") if is_text(known.get(name))}
    return SessionPair(session, refresh, profile)
