"""What is known of sessions and access keys, once for all who serve, and what Descope is asked for their sake.

`Sessions` judges credentials by it. Here it is held in memory by the process that also serves.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Protocol, TypeVar

from gateway import changes
from gateway.chains import Chains
from gateway.changes import Tell
from gateway.clock import Clock
from gateway.core.errors import IdentityProviderError
from gateway.core.model import (
    ExchangeOptions,
    Identity,
    Kind,
    Person,
    Reason,
    RefreshToken,
    SetCookies,
)
from gateway.exchanges import Exchanged, TooMany
from gateway.idp import IdentityProvider
from gateway.idp_call import IdpRefusal, SessionPair, SignInCall
from gateway.keyring import Keyring
from gateway.remembered import Remembered, SessionRules
from gateway.renewals import Renewed
from gateway.rests import Rests
from gateway.revocations import Revocations
from gateway.tasks import Tasks
from gateway.verification import Verifier

T = TypeVar("T")
Observe = Callable[[str, str, Identity | RefreshToken | None], None]
"""Told (event, outcome, who): event is "refresh", "exchange", "sign_in" or "sign_out"."""


class State(Protocol):
    """What whoever judges credentials needs to know, and may have done about them.

    What is not awaited is answered from memory. Everything awaited may raise IdentityProviderError.
    """

    @property
    def chains(self) -> Chains:
        """What becomes of the sessions of open streams."""

    @property
    def revocations(self) -> Revocations:
        """What was signed out."""

    @property
    def verifier(self) -> Verifier:
        """What verifies tokens."""

    async def renew(self, raw: str, token: RefreshToken, margin_s: float = 0.0) -> Renewed | Reason:
        """The newest session of this refresh token's chain, good for `margin_s` more."""

    def is_resting(self, operation: str) -> bool:
        """Whether Descope is known to want no question of this kind now."""

    async def switch_tenant(self, tenant: str, raw: str, token: RefreshToken) -> Renewed | Reason:
        """The same session in another tenant."""

    async def newest(self, raw: str, token: RefreshToken) -> tuple[str, RefreshToken]:
        """The end of this refresh token's chain, once a running renewal has ended."""

    def successor(self, digest: bytes) -> Renewed | None:
        """The newest that is remembered of what the refresh token known by `digest` led to."""

    def receipt(self, token: RefreshToken) -> SetCookies:
        """The cookies that replace `token`, for the reply to whoever brought it."""

    def cookie_lines(self, renewed: Renewed) -> tuple[bytes, ...]:
        """`Set-Cookie` values of a session; ValueError where it is too large for cookies."""

    def remembered_key(self, key: str, options: ExchangeOptions) -> Exchanged | Reason | None:
        """The answer for an access key where there is one that nothing has to be done about; else None."""

    async def exchange(self, key: str, options: ExchangeOptions, client: str) -> Exchanged | Reason | TooMany:
        """The session for an access key, from memory where that is fresh enough."""

    def is_key_refused(self, digest: bytes) -> bool:
        """Whether the last that was heard of the access key known by `digest` was a refusal."""

    async def asked(self, call: SignInCall[T]) -> T | IdpRefusal:
        """What Descope says to one request of a sign-in method."""

    async def brought(self, pair: SessionPair) -> Renewed:
        """A session that was begun just now, verified; a fault for tokens that do not verify."""

    async def sign_out(self, raw: str, token: RefreshToken, *, everywhere: bool) -> None:
        """End a session here first, then at Descope; a fault when Descope could not be told."""

    async def revoke(self, identity: Identity) -> None:
        """Refuse this session token from now on."""

    async def person(self, identity: Identity, refresh_token: str | None) -> Person:
        """E-mail and name beside the token; NOBODY where they cannot be had soon."""


class LocalState(Remembered):
    """Implements `State` for the process that asks Descope itself."""

    def __init__(
        self,
        rules: SessionRules,
        *,
        idp: IdentityProvider,
        keyring: Keyring,
        rests: Rests,
        tasks: Tasks,
        clock: Clock,
        observe: Observe,
        tell: Tell = changes.nobody,
    ) -> None:
        """tell: hears of every change of what other processes keep copies of."""
        super().__init__(
            rules,
            keyring=keyring,
            rests=rests,
            tasks=tasks,
            clock=clock,
            me=self.me,
            on_reuse=lambda token: observe("refresh", "reused", token),
            tell=tell,
            tell_of_ends=tell,
        )
        self._idp = idp
        self._clock = clock
        self._observe = observe
        self.newest = self.renewals.newest
        self.receipt = self.renewals.receipt

    async def renew(self, raw: str, token: RefreshToken, margin_s: float = 0.0) -> Renewed | Reason:
        return await self.renewals.renew(raw, token, self._refreshing(token), margin_s)

    def _refreshing(self, token: RefreshToken) -> Callable[[str], Awaitable[Renewed | Reason]]:
        async def call(raw: str) -> Renewed | Reason:
            try:
                pair = await self.rests.ask("refresh", lambda: self._idp.refresh(raw))
                outcome = pair if isinstance(pair, Reason) else await self._checked(pair)
            except IdentityProviderError:
                self._observe("refresh", "failed", token)
                raise
            if isinstance(outcome, Reason):
                self._observe("refresh", "refused", token)
            else:
                self._observe("refresh", "renewed", outcome.identity)
            return outcome

        return call

    async def switch_tenant(self, tenant: str, raw: str, token: RefreshToken) -> Renewed | Reason:
        async def call(newest: str) -> Renewed | Reason:
            pair = await self.rests.ask("select_tenant", lambda: self._idp.select_tenant(tenant, newest))
            return pair if isinstance(pair, Reason) else await self._checked(pair)

        return await self.renewals.replace(raw, token, call)

    async def exchange(self, key: str, options: ExchangeOptions, client: str) -> Exchanged | Reason | TooMany:
        async def call(worked: bool) -> Exchanged | Reason:
            return await self._exchange_call(key, options, worked)

        return await self.exchanges.exchange(key, options, client, call)

    async def _exchange_call(self, key: str, options: ExchangeOptions, worked: bool) -> Exchanged | Reason:
        share = "worked" if worked else "unseen"
        try:
            token = await self.rests.ask(
                "exchange", lambda: self._idp.exchange(key, options, worked_before=worked), share
            )
            outcome = token if isinstance(token, Reason) else await checked_key(self.verifier, token)
        except IdentityProviderError:
            self._observe("exchange", "failed", None)
            raise
        if isinstance(outcome, Reason):
            self._observe("exchange", "refused", None)
        else:
            self._observe("exchange", "exchanged", outcome.identity)
        return outcome

    async def asked(self, call: SignInCall[T]) -> T | IdpRefusal:
        return await self.rests.ask(call.operation, lambda: self._idp.ask(call), about=call.about)

    async def brought(self, pair: SessionPair) -> Renewed:
        fresh = await self._checked(pair)
        self.revocations.exempt(fresh.identity)
        self.revocations.exempt(fresh.refresh)
        return fresh

    async def sign_out(self, raw: str, token: RefreshToken, *, everywhere: bool) -> None:
        # At once, so that whoever waits for a renewal of this token hears of it; its successor once that has ended.
        self.revocations.revoke(token.digest, token.expires_at_s)
        newest_raw, newest = await self.renewals.newest(raw, token)
        self.revocations.revoke(newest.digest, newest.expires_at_s)
        for renewed in self.renewals.forget(token):
            self.revocations.revoke(renewed.identity.digest, renewed.identity.expires_at_s)
            self.revocations.revoke(renewed.refresh.digest, renewed.refresh.expires_at_s)
        if everywhere:
            self.revocations.revoke_subject(token.subject)
            await self.rests.ask("sign_out_everywhere", lambda: self._idp.sign_out_everywhere(newest_raw))
        else:
            await self.rests.ask("sign_out", lambda: self._idp.sign_out(newest_raw))

    async def revoke(self, identity: Identity) -> None:
        self.revocations.revoke(identity.digest, identity.expires_at_s)

    async def me(self, refresh_token: str) -> Mapping[str, object] | Reason:
        """Ask Descope who the owner of a refresh token is; raises IdentityProviderError."""
        return await self.rests.ask("me", lambda: self._idp.me(refresh_token))

    async def _checked(self, pair: SessionPair) -> Renewed:
        renewed = await checked(self.verifier, pair, self._clock.now_s())
        if pair.profile:
            self.profiles.learn(renewed.identity, pair.profile)
        return renewed


async def checked(verifier: Verifier, pair: SessionPair, at_s: float) -> Renewed:
    """Descope's answer is verified like anybody's token; raises IdentityProviderError. at_s: when it came."""
    identity = await verifier.verify(pair.session)
    refresh = await verifier.verify_refresh(pair.refresh)
    if isinstance(identity, Reason):
        raise IdentityProviderError(f"the new session does not verify: {identity}")
    if isinstance(refresh, Reason):
        raise IdentityProviderError(f"the new refresh token does not verify: {refresh}")
    if identity.subject != refresh.subject:
        raise IdentityProviderError("the new session and refresh token name different subjects")
    return Renewed(pair, identity, refresh, at_s)


async def checked_key(verifier: Verifier, token: str) -> Exchanged:
    """The session that an access key was exchanged for, verified; raises IdentityProviderError."""
    identity = await verifier.verify(token)
    if isinstance(identity, Reason):
        raise IdentityProviderError(f"the session for an access key does not verify: {identity}")
    # A key bound to a user may come back as that user's session; it was still a key that opened the door.
    return Exchanged(token, replace(identity, kind=Kind.ACCESS_KEY))
