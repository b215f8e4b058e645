"""The only module that asks Descope, through its SDK (`idp_http` says how, and what the SDK must not do).

What Descope refuses is returned as a `Reason`; what fails is raised as one of our own faults. Nothing is verified here:
tokens are returned as they came. Exceptions of the SDK and of httpx end here and are not chained: their texts quote
header lines and bodies, so that a token in a malformed line would end up in a log.
"""

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

import httpx
from descope.common import AccessKeyLoginOptions, EndpointsV1, EndpointsV2

from gateway.clock import Clock
from gateway.core.errors import IdentityProviderBusy, IdentityProviderError
from gateway.core.model import ExchangeOptions, Reason, TokenRules
from gateway.core.retry_after import parse_retry_after
from gateway.idp_http import SDK_FAULTS, DescopeHttp, NoSuccess, Unusable, cookie_value, json_object

T = TypeVar("T")

_MAX_TOKEN_CHARS = 16 * 1024
# Well below what servers take in a header: an answer about its size would look like a fault, and rest everybody.
_MAX_KEY_CHARS = 4 * 1024
# The characters of a bearer token (RFC 6750 section 2.1). A colon would end the credential: the SDK joins with it.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,1024}")
_PASSWORD = re.compile(r"[^\ud800-\udfff]{1,1024}")


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


@dataclass(frozen=True, slots=True)
class SessionPair:
    """A session as Descope delivered it, unverified.

    session, refresh: raw JWTs; refresh is the one that was sent where Descope returned none. profile: "email" and
    "name" from the answer, where present.
    """

    session: str = field(repr=False)
    refresh: str = field(repr=False)
    profile: Mapping[str, str] = field(default_factory=dict, repr=False)


def _refusals(reason: Reason) -> Mapping[int, Reason]:
    """Descope's answers that speak of the credential: malformed, not valid, its owner may not, nobody's (any more).

    Every other 4xx speaks of the request we made (405, 413, 422) or of the moment (408, 425, 429): a fault.
    """
    return dict.fromkeys((400, 401, 403, 404), reason)


@dataclass(frozen=True, slots=True)
class _Call:
    """One request. body: None for a GET. refusals: which statuses refuse the credential, and as what.

    client_chose: whether parts of the request are the client's own words. Where none are, a 403 or 404 that is a web
    page was no word of Descope's on the token, but of something on the way that shuts us all out.
    """

    operation: Operation
    path: str
    credential: str | None = field(default=None, repr=False)
    body: dict[str, Any] | None = field(default=None, repr=False)
    refusals: Mapping[int, Reason] = field(default_factory=dict)
    client_chose: bool = False
    worked_before: bool = False


class IdentityProvider:
    """Descope, with a deadline for every call.

    What it refuses is returned as a `Reason`. `IdentityProviderBusy` (it asked for a pause) and `IdentityProviderError`
    (silent, broken, out of reach, or an answer of no use) are raised.

    deadline_s: for a call that runs; queue_deadline_s: the same with waiting for one of `concurrency` places, of which
    every operation has its own; half of those for exchanges are for keys that worked before. observe: told
    (operation, "ok" | "refused" | "busy" | "unavailable") after every call that was made.
    """

    def __init__(
        self,
        rules: TokenRules,
        base_url: str,
        clock: Clock,
        *,
        deadline_s: float = 5.0,
        queue_deadline_s: float = 10.0,
        concurrency: int = 16,
        observe: Callable[[str, str], None] = lambda operation, outcome: None,
    ) -> None:
        self._project_id = rules.project_id
        self._http = DescopeHttp(rules.project_id, base_url, deadline_s)
        self._clock = clock
        self._deadline_s = deadline_s
        self._queue_deadline_s = queue_deadline_s
        self._observe = observe
        self._places = {operation: asyncio.Semaphore(concurrency) for operation in Operation}
        half = max(1, concurrency // 2)
        self._places[Operation.EXCHANGE] = asyncio.Semaphore(max(1, concurrency - half))
        self._known_key_places = asyncio.Semaphore(half)

    @property
    def base_url(self) -> str:
        """Where Descope is asked, without trailing slash."""
        return self._http.base_url

    async def close(self) -> None:
        """Close the connections; calls made later fail."""
        await self._http.close()

    async def fetch_keys(self) -> tuple[object, bool]:
        """Fetch the project's key set: the decoded document, unverified, and whether an emulator answered."""
        call = _Call(Operation.KEYS, f"{EndpointsV2.public_key_path}/{self._project_id}")
        answer = await self._ask(call, _keys)
        if isinstance(answer, Reason):  # never: the call names no refusals
            raise IdentityProviderError("Descope, keys: refused")
        return answer

    async def refresh(self, refresh_token: str) -> SessionPair | Reason:
        """Renew a session; REFRESH_REFUSED where the token is not, or no longer, good for that."""
        call = _token_call(Operation.REFRESH, EndpointsV1.refresh_token_path, refresh_token, {})
        return await self._ask(call, lambda response: _pair(response, refresh_token))

    async def exchange(self, access_key: str, options: ExchangeOptions, *, worked_before: bool = False) -> str | Reason:
        """Exchange an access key for a session JWT; ACCESS_KEY_REFUSED where it is none.

        worked_before: uses the places kept for such keys, so that made-up ones cannot take them.
        """
        if not _is_token(access_key, _MAX_KEY_CHARS):
            return Reason.ACCESS_KEY_REFUSED
        wanted = AccessKeyLoginOptions(
            custom_claims=json.loads(options.claims) if options.claims else None,
            selected_tenant=options.tenant or None,
        )
        call = _Call(
            Operation.EXCHANGE,
            EndpointsV1.exchange_auth_access_key_path,
            access_key,
            {"loginOptions": {name: value for name, value in vars(wanted).items() if value is not None}},
            _refusals(Reason.ACCESS_KEY_REFUSED),
            client_chose=True,
            worked_before=worked_before,
        )
        return await self._ask(call, _session)

    async def select_tenant(self, tenant: str, refresh_token: str) -> SessionPair | Reason:
        """Renew a session with `tenant` selected; TENANT_MISMATCH or REFRESH_REFUSED by what Descope refuses."""
        if not _TEXT.fullmatch(tenant):
            return Reason.TENANT_MISMATCH
        call = _Call(
            Operation.SELECT_TENANT,
            EndpointsV1.select_tenant_path,
            refresh_token,
            {"tenant": tenant},
            {**_refusals(Reason.TENANT_MISMATCH), 401: Reason.REFRESH_REFUSED},
            client_chose=True,
        )
        return await self._ask(call, lambda response: _pair(response, refresh_token))

    async def sign_out(self, refresh_token: str) -> Reason | None:
        """End the session of this refresh token."""
        call = _token_call(Operation.SIGN_OUT, EndpointsV1.logout_path, refresh_token, {})
        return await self._ask(call, _nothing)

    async def sign_out_everywhere(self, refresh_token: str) -> Reason | None:
        """End all sessions of the subject of this refresh token."""
        call = _token_call(Operation.SIGN_OUT_EVERYWHERE, EndpointsV1.logout_all_path, refresh_token, {})
        return await self._ask(call, _nothing)

    async def me(self, refresh_token: str) -> Mapping[str, object] | Reason:
        """Ask who the owner of this refresh token is; the members are Descope's."""
        return await self._ask(_token_call(Operation.ME, EndpointsV1.me_path, refresh_token, None), json_object)

    async def sign_in_with_password(self, login_id: str, password: str) -> SessionPair | Reason:
        """Begin a session; NO_CREDENTIALS for a wrong login id or password, without saying which."""
        if not _TEXT.fullmatch(login_id) or not _PASSWORD.fullmatch(password):
            return Reason.NO_CREDENTIALS
        call = _Call(
            Operation.SIGN_IN,
            EndpointsV1.sign_in_password_path,
            None,
            {"loginId": login_id, "password": password},
            _refusals(Reason.NO_CREDENTIALS),
            client_chose=True,
        )
        return await self._ask(call, lambda response: _pair(response, ""))

    async def _ask(self, call: _Call, read: Callable[[httpx.Response], T]) -> T | Reason:
        """Make `call` and `read` its answer; everything that can go wrong becomes one of our own faults."""
        if call.credential is not None and not _is_token(call.credential, _MAX_TOKEN_CHARS):
            return call.refusals[401]
        places = self._known_key_places if call.worked_before else self._places[call.operation]
        fault: IdentityProviderError
        try:
            async with asyncio.timeout(self._queue_deadline_s), places:
                async with asyncio.timeout(self._deadline_s):
                    answer = read(await self._send(call))
        except TimeoutError:
            fault = IdentityProviderError(f"Descope, {call.operation}: no answer in time")
        except NoSuccess as reply:
            reason = call.refusals.get(reply.status)
            if reason and (call.client_chose or not reply.is_page or reply.status in (400, 401)):
                self._observe(call.operation, "refused")
                return reason
            kind = IdentityProviderBusy if reply.status == 429 else IdentityProviderError
            pause_s = parse_retry_after(reply.retry_after, self._clock.now_s())
            fault = kind(f"Descope, {call.operation}: answered with status {reply.status}", pause_s)
        except Unusable as problem:
            fault = IdentityProviderError(f"Descope, {call.operation}: {problem}")
        except SDK_FAULTS as err:
            fault = IdentityProviderError(f"Descope, {call.operation}: {type(err).__name__}")
        else:
            self._observe(call.operation, "ok")
            return answer
        self._observe(call.operation, "busy" if isinstance(fault, IdentityProviderBusy) else "unavailable")
        raise fault  # out here it has no context, whose text might quote a header line

    async def _send(self, call: _Call) -> httpx.Response:
        if call.body is None:
            return await self._http.get(call.path, call.credential)
        return await self._http.post(call.path, call.credential, call.body)


def _token_call(operation: Operation, path: str, refresh_token: str, body: dict[str, Any] | None) -> _Call:
    return _Call(operation, path, refresh_token, body, _refusals(Reason.REFRESH_REFUSED))


def _is_token(text: str, max_chars: int) -> bool:
    return len(text) <= max_chars and _TOKEN.fullmatch(text) is not None


# --- reading answers ------------------------------------------------------------------------------------------------


def _nothing(response: httpx.Response) -> None:
    """Sign-out is done by its status; its body says nothing."""


def _keys(response: httpx.Response) -> tuple[object, bool]:
    document = json_object(response)
    if not isinstance(document.get("keys"), list):
        raise Unusable("the answer has no list of keys")
    return document, "x-descope-emulator" in response.headers


def _session(response: httpx.Response) -> str:
    return _token(json_object(response), "sessionJwt", response, "DS")


def _pair(response: httpx.Response, sent_refresh: str) -> SessionPair:
    members = json_object(response)
    session = _token(members, "sessionJwt", response, "DS")
    refresh = _token(members, "refreshJwt", response, "DSR", sent_refresh)
    user = members.get("user")
    known = user if isinstance(user, dict) else {}
    profile = {name: known[name] for name in ("email", "name") if _is_text(known.get(name))}
    return SessionPair(session, refresh, profile)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and _TEXT.fullmatch(value) is not None


def _token(members: Mapping[str, Any], name: str, response: httpx.Response, cookie: str, otherwise: str = "") -> str:
    """The token from the body, else from the cookie, else `otherwise`, and never none."""
    value = members.get(name) or cookie_value(response, cookie) or otherwise
    if not isinstance(value, str) or not _is_token(value, _MAX_TOKEN_CHARS):
        raise Unusable(f"the answer has no usable {name}")
    return value
