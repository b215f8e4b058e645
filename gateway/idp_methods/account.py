"""What somebody signed in may ask about the own account: who they are, recent sign-ins, their tenants by name."""

from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from descope.common import EndpointsV1

from gateway.idp_call import Operation, SignInCall, is_text
from gateway.idp_http import Unusable, json_list, json_object

_MOST = 100


@dataclass(frozen=True, slots=True)
class Account:
    """login_ids: in Descope's order, the first being the main one."""

    login_ids: tuple[str, ...]
    email: str
    name: str


@dataclass(frozen=True, slots=True)
class SeenSignIn:
    """A sign-in of the past. at_s: seconds since 1970. The rest is "" where Descope does not know."""

    at_s: int
    ip: str
    city: str
    country: str


def me(refresh_token: str) -> SignInCall[Account]:
    return SignInCall(Operation.ME, EndpointsV1.me_path, _account, credential=refresh_token)


def history(refresh_token: str) -> SignInCall[tuple[SeenSignIn, ...]]:
    return SignInCall(Operation.HISTORY, EndpointsV1.history_path, _history, credential=refresh_token)


def tenants(refresh_token: str, ids: tuple[str, ...]) -> SignInCall[Mapping[str, str]]:
    """The names of tenants by their ids."""
    return SignInCall(
        Operation.TENANTS,
        EndpointsV1.my_tenants_path,
        _tenants,
        {"dct": False, "ids": list(ids)},
        credential=refresh_token,
    )


def _account(response: httpx.Response) -> Account:
    members = json_object(response)
    ids = members.get("loginIds")
    return Account(
        tuple(one for one in ids if is_text(one)) if isinstance(ids, list) else (),
        _text(members.get("email")),
        _text(members.get("name")),
    )


def _history(response: httpx.Response) -> tuple[SeenSignIn, ...]:
    seen = []
    for entry in json_list(response)[:_MOST]:
        if not isinstance(entry, dict) or not isinstance(entry.get("loginTime"), int):
            raise Unusable("the history has an entry without time")
        seen.append(
            SeenSignIn(
                entry["loginTime"], _text(entry.get("ip")), _text(entry.get("city")), _text(entry.get("country"))
            )
        )
    return tuple(seen)


def _tenants(response: httpx.Response) -> dict[str, str]:
    listed = json_object(response).get("tenants")
    if not isinstance(listed, list):
        raise Unusable("the answer has no list of tenants")
    found = {}
    for one in listed:
        if isinstance(one, dict) and is_text(one.get("id")):
            found[str(one["id"])] = _text(one.get("name")) or str(one["id"])
    return found


def _text(value: object) -> str:
    return value if isinstance(value, str) and is_text(value) else ""
