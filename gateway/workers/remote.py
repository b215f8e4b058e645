"""The state as a worker has it: copies to answer from, and the keeper for what only it can tell.

Everything that is awaited here is asked of the keeper, which alone speaks to Descope. While it is gone that fails, and
callers who need it are told to come again; whoever is known already passes untouched.
"""

import asyncio
import base64
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import httpx

from gateway import changes
from gateway.audit import asking
from gateway.changes import Change
from gateway.clock import Clock
from gateway.core.errors import IdentityProviderError
from gateway.core.model import ExchangeOptions, Identity, Reason, RefreshToken, SetCookies
from gateway.exchanges import Exchanged, TooMany, key_digest
from gateway.idp_call import IdpRefusal, SessionPair, SignInCall
from gateway.idp_http import Unusable
from gateway.keyring import Found, Keyring
from gateway.remembered import Remembered, SessionRules
from gateway.renewals import HEAD_WAITS_S, Renewed
from gateway.rests import Rests
from gateway.state import checked, checked_key
from gateway.tasks import Tasks

T = TypeVar("T")

_ANSWERED_WITHIN_S = 20.0  # the keeper's own deadlines are shorter


class Link(Protocol):
    """The way to the keeper."""

    async def ask(self, question: str, **members: object) -> Any:
        """What the keeper answers; raises IdentityProviderError, also while there is no keeper."""

    def tell(self, change: Change) -> None:
        """Say what has changed."""


class RemoteKeys:
    """Implements `KeySource`: asks the keeper."""

    def __init__(self, link: Link, rests: Rests) -> None:
        self._link = link
        self._rests = rests

    async def fetch(self, *, unknown: bool) -> Found:
        document, is_emulator, at_s, asked_s = await self._link.ask("keys", unknown=unknown)
        return Found(document, is_emulator, at_s, asked_s)

    def resting_s(self) -> float:
        return self._rests.remaining_s("keys")


class RemoteState(Remembered):
    """Implements `State` for one worker."""

    def __init__(self, rules: SessionRules, link: Link, *, tasks: Tasks, clock: Clock) -> None:
        rests = Rests(clock, lambda operation, seconds: None)
        super().__init__(
            rules,
            keyring=Keyring(RemoteKeys(link, rests), tasks, clock, lambda: None),
            rests=rests,
            tasks=tasks,
            clock=clock,
            me=self._me,
            # What is signed out here is told even where the keeper cannot be asked: the next one hears of it.
            tell_of_ends=link.tell,
        )
        self._link = link
        self._tasks = tasks
        self._clock = clock
        self._renewing: dict[bytes, asyncio.Task[Renewed | Reason]] = {}
        self._exchanging: dict[bytes, asyncio.Task[Exchanged | Reason | TooMany]] = {}

    # --- renewals ---------------------------------------------------------------------------------------------------

    async def renew(self, raw: str, token: RefreshToken, margin_s: float = 0.0) -> Renewed | Reason:
        covers = self.revocations.covers
        if covers(token):
            return Reason.SESSION_REVOKED
        known = self.renewals.successor(token.digest)
        if known is not None and known.identity.expires_at_s - self._clock.now_s() > margin_s:
            return Reason.SESSION_REVOKED if covers(known.refresh) or covers(known.identity) else known
        task = self._tasks.spawn(self._renew("renew", raw=raw, margin_s=margin_s), "have a session renewed")
        # Receipts wait for it; of several at once the last is as good as any, for the keeper makes them one.
        self._renewing[token.digest] = task
        task.add_done_callback(lambda _: self._renewed(token.digest, task))
        return await asyncio.shield(task)

    def _renewed(self, digest: bytes, task: asyncio.Task[Renewed | Reason]) -> None:
        if self._renewing.get(digest) is task:
            del self._renewing[digest]

    async def _renew(self, question: str, **members: object) -> Renewed | Reason:
        answer = await self._ask(question, **members)
        if isinstance(answer, str):
            return _reason(answer)
        session, refresh, profile, at_s = answer
        renewed = await checked(self.verifier, SessionPair(session, refresh, profile), at_s)
        covers = self.revocations.covers
        return Reason.SESSION_REVOKED if covers(renewed.refresh) or covers(renewed.identity) else renewed

    async def switch_tenant(self, tenant: str, raw: str, token: RefreshToken) -> Renewed | Reason:
        return await self._renew("switch_tenant", raw=raw, tenant=tenant)

    async def newest(self, raw: str, token: RefreshToken) -> tuple[str, RefreshToken]:
        found = await self._ask("newest", raw=raw)
        newest = await self.verifier.verify_refresh(found)
        return (raw, token) if isinstance(newest, Reason) else (found, newest)

    def receipt(self, token: RefreshToken) -> SetCookies:
        return _Receipt(self, token)

    async def settled(self, token: RefreshToken) -> tuple[tuple[bytes, ...], list[bytes]]:
        """For receipts: what to write now, and which renewals that delivers."""
        running = self._renewing.get(token.digest)
        if running is not None:
            await asyncio.wait([running], timeout=HEAD_WAITS_S)
        return await self.renewals.settled(token)

    def delivered(self, digests: list[bytes]) -> None:
        """For receipts: these have reached their client."""
        if digests:
            until_s = self.renewals.delivered(digests)
            self._link.tell(changes.delivered(digests, until_s))

    # --- access keys ------------------------------------------------------------------------------------------------

    async def exchange(self, key: str, options: ExchangeOptions, client: str) -> Exchanged | Reason | TooMany:
        digest = key_digest(key, options)
        running = self._exchanging.get(digest)
        if running is None:
            running = self._tasks.spawn(self._exchange(key, options, client), "have an access key exchanged")
            self._exchanging[digest] = running
            running.add_done_callback(lambda _: self._exchanging.pop(digest, None))
        try:
            return await asyncio.shield(running)
        except IdentityProviderError:
            answer = self.exchanges.stale(digest)
            if answer is None:
                raise
            return answer

    async def _exchange(self, key: str, options: ExchangeOptions, client: str) -> Exchanged | Reason | TooMany:
        members = {"key": key, "claims": options.claims, "tenant": options.tenant, "client": client}
        answer = await self._ask("exchange", **members)
        if isinstance(answer, int):
            return TooMany(answer)
        kind, said = answer
        return await checked_key(self.verifier, said) if kind == "token" else _reason(said)

    # --- Descope, for somebody --------------------------------------------------------------------------------------

    async def asked(self, call: SignInCall[T]) -> T | IdpRefusal:
        answer = await self._ask("asked", **spelled(call))
        if len(answer) == 2:
            return IdpRefusal(*answer)
        status, headers, content = answer
        response = httpx.Response(status, headers=[tuple(line) for line in headers], content=base64.b64decode(content))
        try:
            return call.read(response)
        except Unusable as problem:
            raise IdentityProviderError(f"Descope, {call.operation}: {problem}") from None

    async def brought(self, pair: SessionPair) -> Renewed:
        fresh = await checked(self.verifier, pair, self._clock.now_s())
        if pair.profile:
            self.profiles.learn(fresh.identity, pair.profile)
        if self.revocations.knows_subject(fresh.identity.subject):
            for token in (fresh.identity, fresh.refresh):
                await self._ask("exempt", digest=token.digest.hex(), expires_at_s=token.expires_at_s)
        return fresh

    async def sign_out(self, raw: str, token: RefreshToken, *, everywhere: bool) -> None:
        # Here at once, whatever becomes of the question.
        self.revocations.revoke(token.digest, token.expires_at_s)
        for renewed in self.renewals.forget(token):
            self.revocations.revoke(renewed.identity.digest, renewed.identity.expires_at_s)
            self.revocations.revoke(renewed.refresh.digest, renewed.refresh.expires_at_s)
        if everywhere:
            self.revocations.revoke_subject(token.subject)
        await self._ask("sign_out", raw=raw, everywhere=everywhere)

    async def revoke(self, identity: Identity) -> None:
        self.revocations.revoke(identity.digest, identity.expires_at_s)
        with suppress(IdentityProviderError):
            await self._ask("revoke", digest=identity.digest.hex(), expires_at_s=identity.expires_at_s)

    async def _me(self, refresh_token: str) -> "dict[str, object] | Reason":
        answer = await self._ask("me", raw=refresh_token)
        return _reason(answer) if isinstance(answer, str) else answer

    async def _ask(self, question: str, **members: object) -> Any:
        """With the request that it is asked for, so that audit records name it."""
        record = asking()
        if record is not None:
            members["on"] = {name: getattr(record, name) for name in ON}
        try:
            async with asyncio.timeout(_ANSWERED_WITHIN_S):
                return await self._link.ask(question, **members)
        except TimeoutError:
            raise IdentityProviderError("the process that asks Descope does not answer", 1.0) from None


ON = ("request_id", "trace_id", "route", "method", "host", "path", "client")
"""What the keeper's audit records say of the request."""


class _Receipt:
    """Implements `model.SetCookies` for one request."""

    def __init__(self, state: RemoteState, token: RefreshToken) -> None:
        self._state = state
        self._token = token
        self._carried: list[bytes] = []

    async def settled(self) -> tuple[bytes, ...]:
        lines, self._carried = await self._state.settled(self._token)
        return lines

    def written(self) -> None:
        self._state.delivered(self._carried)


def spelled(call: SignInCall[Any]) -> dict[str, object]:
    """A question to Descope as JSON; `asked_call` reads it again."""
    return {
        "operation": call.operation.value,
        "path": call.path,
        "read": f"{call.read.__module__}:{call.read.__name__}",
        "body": call.body,
        "params": dict(call.params),
        "credential": call.credential,
        "headers": dict(call.headers),
        "refusals": sorted(call.refusals),
        "site": call.site,
        "most_bytes": call.most_bytes,
        "about": call.about,
    }


def _reason(word: str) -> Reason:
    return Reason[word.upper()]
