"""The only module that asks Descope, through its SDK (`idp_http` says how, and what the SDK must not do).

What Descope refuses is returned as a `Reason`; what fails is raised as one of our own faults. Nothing is verified here:
tokens are returned as they came. Exceptions of the SDK and of httpx end here and are not chained: their texts quote
header lines and bodies, so that a token in a malformed line would end up in a log.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
from descope.common import AccessKeyLoginOptions, EndpointsV1, EndpointsV2

from gateway.clock import Clock
from gateway.core.errors import IdentityProviderBusy, IdentityProviderError
from gateway.core.model import ExchangeOptions, Reason, TokenRules
from gateway.core.retry_after import parse_retry_after
from gateway.idp_call import (
    IdpRefusal,
    Operation,
    SessionPair,
    SignInCall,
    is_text,
    is_token,
    keys,
    nothing,
    pair,
    session,
)
from gateway.idp_http import SDK_FAULTS, DescopeHttp, NoSuccess, Unusable, json_object

T = TypeVar("T")
R = TypeVar("R")

# Well below what servers take in a header: an answer about its size would look like a fault, and rest everybody.
_MAX_KEY_CHARS = 4 * 1024


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
        answer = await self._ask(call, keys)
        if isinstance(answer, Reason):  # never: the call names no refusals
            raise IdentityProviderError("Descope, keys: refused")
        return answer

    async def refresh(self, refresh_token: str) -> SessionPair | Reason:
        """Renew a session; REFRESH_REFUSED where the token is not, or no longer, good for that."""
        call = _token_call(Operation.REFRESH, EndpointsV1.refresh_token_path, refresh_token, {})
        return await self._ask(call, lambda response: pair(response, refresh_token))

    async def exchange(self, access_key: str, options: ExchangeOptions, *, worked_before: bool = False) -> str | Reason:
        """Exchange an access key for a session JWT; ACCESS_KEY_REFUSED where it is none.

        worked_before: uses the places kept for such keys, so that made-up ones cannot take them.
        """
        if not is_token(access_key, _MAX_KEY_CHARS):
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
        return await self._ask(call, session)

    async def select_tenant(self, tenant: str, refresh_token: str) -> SessionPair | Reason:
        """Renew a session with `tenant` selected; TENANT_MISMATCH or REFRESH_REFUSED by what Descope refuses."""
        if not is_text(tenant):
            return Reason.TENANT_MISMATCH
        call = _Call(
            Operation.SELECT_TENANT,
            EndpointsV1.select_tenant_path,
            refresh_token,
            {"tenant": tenant},
            {**_refusals(Reason.TENANT_MISMATCH), 401: Reason.REFRESH_REFUSED},
            client_chose=True,
        )
        return await self._ask(call, lambda response: pair(response, refresh_token))

    async def sign_out(self, refresh_token: str) -> Reason | None:
        """End the session of this refresh token."""
        call = _token_call(Operation.SIGN_OUT, EndpointsV1.logout_path, refresh_token, {})
        return await self._ask(call, nothing)

    async def sign_out_everywhere(self, refresh_token: str) -> Reason | None:
        """End all sessions of the subject of this refresh token."""
        call = _token_call(Operation.SIGN_OUT_EVERYWHERE, EndpointsV1.logout_all_path, refresh_token, {})
        return await self._ask(call, nothing)

    async def me(self, refresh_token: str) -> Mapping[str, object] | Reason:
        """Ask who the owner of this refresh token is; the members are Descope's."""
        return await self._ask(_token_call(Operation.ME, EndpointsV1.me_path, refresh_token, None), json_object)

    async def ask(self, call: SignInCall[T]) -> T | IdpRefusal:
        """Send one request of a sign-in method; its answer as `call` reads it, or Descope's refusal."""
        if call.credential is not None and not is_token(call.credential):
            return IdpRefusal(401)

        async def send() -> httpx.Response:
            if call.site:
                return await self._http.fetch(call.site + call.path, call.most_bytes)
            if call.headers:
                return await self._http.send(call.path, call.credential, call.body, call.params, call.headers)
            if call.body is None:
                return await self._http.get(call.path, call.credential, call.params)
            return await self._http.post(call.path, call.credential, call.body, call.params)

        def refused(reply: NoSuccess) -> IdpRefusal | None:
            # Where files lie, what is not there is told with a page.
            is_word = reply.status in call.refusals and (call.site or call.body is not None or not reply.is_page)
            return IdpRefusal(reply.status, reply.code) if is_word else None

        return await self._answered(call.operation, self._places[call.operation], send, call.read, refused)

    async def _ask(self, call: _Call, read: Callable[[httpx.Response], T]) -> T | Reason:
        """Make `call` and `read` its answer."""
        if call.credential is not None and not is_token(call.credential):
            return call.refusals[401]

        async def send() -> httpx.Response:
            if call.body is None:
                return await self._http.get(call.path, call.credential)
            return await self._http.post(call.path, call.credential, call.body)

        def refused(reply: NoSuccess) -> Reason | None:
            is_word = call.client_chose or not reply.is_page or reply.status in (400, 401)
            return call.refusals.get(reply.status) if is_word else None

        places = self._known_key_places if call.worked_before else self._places[call.operation]
        return await self._answered(call.operation, places, send, read, refused)

    async def _answered(
        self,
        operation: Operation,
        places: asyncio.Semaphore,
        send: Callable[[], Awaitable[httpx.Response]],
        read: Callable[[httpx.Response], T],
        refused: Callable[[NoSuccess], R | None],
    ) -> T | R:
        """The answer, within the deadlines; everything that can go wrong becomes one of our own faults."""
        fault: IdentityProviderError
        try:
            async with asyncio.timeout(self._queue_deadline_s), places:
                async with asyncio.timeout(self._deadline_s):
                    answer = read(await send())
        except TimeoutError:
            fault = IdentityProviderError(f"Descope, {operation}: no answer in time")
        except NoSuccess as reply:
            refusal = refused(reply)
            if refusal is not None:
                self._observe(operation, "refused")
                return refusal
            kind = IdentityProviderBusy if reply.status == 429 else IdentityProviderError
            pause_s = parse_retry_after(reply.retry_after, self._clock.now_s())
            fault = kind(f"Descope, {operation}: answered with status {reply.status}", pause_s)
        except Unusable as problem:
            fault = IdentityProviderError(f"Descope, {operation}: {problem}")
        except SDK_FAULTS as err:
            fault = IdentityProviderError(f"Descope, {operation}: {type(err).__name__}")
        else:
            self._observe(operation, "ok")
            return answer
        self._observe(operation, "busy" if isinstance(fault, IdentityProviderBusy) else "unavailable")
        raise fault  # out here it has no context, whose text might quote a header line


def _token_call(operation: Operation, path: str, refresh_token: str, body: dict[str, Any] | None) -> _Call:
    return _Call(operation, path, refresh_token, body, _refusals(Reason.REFRESH_REFUSED))
