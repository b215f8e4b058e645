"""What workers ask the keeper about sessions, access keys and Descope, and how the keeper answers.

Questions carry tokens as they came, and the keeper verifies them like anybody's. Nothing is answered to a sign-out
before every worker knows of it.
"""

import base64
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

import httpx

from gateway.audit import asked_by
from gateway.core.model import ExchangeOptions, Reason, RefreshToken
from gateway.exchanges import Exchanged, TooMany
from gateway.holding import Holding
from gateway.idp_call import IdpRefusal, Operation, SignInCall
from gateway.renewals import Renewed
from gateway.telemetry import Record

_READERS = ("gateway.idp_call", "gateway.idp_methods.")
# They speak of the connection, or of a length that the body does not have any more.
_DROPPED = ("content-length", "content-encoding", "transfer-encoding", "connection")


class Questions:
    def __init__(self, holding: Holding, everybody_knows: Callable[[], Awaitable[None]]) -> None:
        """everybody_knows: returns once every worker has heard what was told until now."""
        self._holding = holding
        self._state = holding.state
        self._everybody_knows = everybody_knows
        self._answers: dict[str, Callable[..., Awaitable[object]]] = {
            "keys": self._keys,
            "renew": self._renew,
            "switch_tenant": self._switch_tenant,
            "newest": self._newest,
            "exchange": self._exchange,
            "asked": self._asked,
            "exempt": self._exempt,
            "revoke": self._revoke,
            "sign_out": self._sign_out,
            "me": self._me,
        }

    def knows(self, question: str) -> bool:
        return question in self._answers

    async def answer(self, question: str, members: dict[str, Any]) -> object:
        """The answer as JSON; raises IdentityProviderError."""
        with asked_by(_record(members.pop("on", None))):
            return await self._answers[question](**members)

    async def _keys(self, *, unknown: bool) -> object:
        keyring = self._holding.keyring
        if unknown:
            await keyring.unknown_key()
        else:
            await keyring.ready()
        found = keyring.found
        assert found is not None  # noqa: S101  # for the type checker: both raise where there are no keys
        return [found.document, found.is_emulator, found.at_s, found.asked_unknown_s]

    async def _token(self, raw: str) -> RefreshToken | Reason:
        token = await self._state.verifier.verify_refresh(raw)
        return token if isinstance(token, Reason) else self._state.verifier.standing(token) or token

    async def _renew(self, *, raw: str, margin_s: float) -> object:
        token = await self._token(raw)
        return token if isinstance(token, Reason) else _spelled(await self._state.renew(raw, token, margin_s))

    async def _switch_tenant(self, *, raw: str, tenant: str) -> object:
        token = await self._token(raw)
        return token if isinstance(token, Reason) else _spelled(await self._state.switch_tenant(tenant, raw, token))

    async def _newest(self, *, raw: str) -> object:
        token = await self._state.verifier.verify_refresh(raw)
        return raw if isinstance(token, Reason) else (await self._state.newest(raw, token))[0]

    async def _exchange(self, *, key: str, claims: str, tenant: str, client: str) -> object:
        outcome = await self._state.exchange(key, ExchangeOptions(claims, tenant), client)
        match outcome:
            case TooMany():
                return outcome.wait_ns
            case Exchanged():
                return ["token", outcome.token]
            case _:
                return ["reason", outcome]

    async def _asked(self, **members: Any) -> object:
        answer = await self._state.asked(asked_call(members))
        if isinstance(answer, IdpRefusal):
            return [answer.status, answer.code]
        lines = [line for line in answer.headers.multi_items() if line[0].lower() not in _DROPPED]
        return [answer.status_code, lines, base64.b64encode(answer.content).decode("ascii")]

    async def _exempt(self, *, digest: str, expires_at_s: int) -> None:
        self._state.revocations.exempt_digest(bytes.fromhex(digest), expires_at_s)
        await self._everybody_knows()

    async def _revoke(self, *, digest: str, expires_at_s: int) -> None:
        self._state.revocations.revoke(bytes.fromhex(digest), expires_at_s)
        await self._everybody_knows()

    async def _sign_out(self, *, raw: str, everywhere: bool) -> None:
        token = await self._state.verifier.verify_refresh(raw)
        if isinstance(token, Reason):
            return
        try:
            await self._state.sign_out(raw, token, everywhere=everywhere)
        finally:
            await self._everybody_knows()

    async def _me(self, *, raw: str) -> object:
        return await self._state.me(raw)


def asked_call(members: dict[str, Any]) -> SignInCall[httpx.Response]:
    """The question to Descope that `remote.spelled` wrote; its answer is read to see that it is of use, and kept."""
    module, _, name = str(members["read"]).partition(":")
    if not module.startswith(_READERS):
        raise ValueError("no reader of answers")
    reader = getattr(import_module(module), name)

    def read(response: httpx.Response) -> httpx.Response:
        reader(response)
        return response

    given = members | {
        "read": read,
        "operation": Operation(members["operation"]),
        "refusals": frozenset(members["refusals"]),
    }
    return SignInCall(**given)


def _spelled(outcome: Renewed | Reason) -> object:
    if isinstance(outcome, Reason):
        return outcome
    pair = outcome.pair
    return [pair.session, pair.refresh, dict(pair.profile), outcome.at_s]


def _record(on: dict[str, str] | None) -> Record | None:
    if on is None:
        return None
    record = Record(on["request_id"])
    for name, value in on.items():
        setattr(record, name, value)
    return record
