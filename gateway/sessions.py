"""Credentials to caller: verify, remedy once, remember.

The core says what is missing; here the matching remedy is tried, each at most once for a request: look again for a
signing key, renew a session that has run out, exchange an access key. Answers from memory need no await.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar, cast

from gateway.chains import Chain
from gateway.clock import Clock
from gateway.core.errors import IdentityProviderError
from gateway.core.model import (
    Credentials,
    ExchangeOptions,
    Identity,
    Person,
    Reason,
    RefreshRules,
    RefreshToken,
    Route,
    SetCookies,
    noun,
)
from gateway.core.tokens import digest_of
from gateway.exchanges import TooMany, key_digest
from gateway.idp_call import IdpRefusal, SessionPair, SignInCall
from gateway.renewals import Renewed
from gateway.state import Observe, State
from gateway.steps import step
from gateway.tasks import Tasks

T = TypeVar("T")


@noun
class Caller:
    """Who the credentials proved to be, or why they proved nothing.

    token: the verified session JWT. set_cookies: of a renewal, done or running. wait_ns: for RATE_LIMITED.
    """

    who: Identity | Reason
    token: str = field(default="", repr=False)
    set_cookies: SetCookies | None = None
    wait_ns: int = 0


@dataclass(frozen=True, slots=True)
class _Verified:
    """One presented session token after verification."""

    raw: str = field(repr=False)
    outcome: Identity | Reason
    standing: Reason | None  # why a genuine token does not count now
    is_bearer: bool = False

    @property
    def current(self) -> Identity | None:
        return self.outcome if isinstance(self.outcome, Identity) and self.standing is None else None

    @property
    def reason(self) -> Reason:
        if isinstance(self.outcome, Reason):
            return self.outcome
        return self.standing or Reason.NO_CREDENTIALS


class Sessions:
    def __init__(self, refresh: RefreshRules, state: State, *, tasks: Tasks, clock: Clock, observe: Observe) -> None:
        self._rules = refresh
        self.state = state
        self.verifier = state.verifier
        self.chains = state.chains
        self._tasks = tasks
        self._clock = clock
        self._observe = observe

    # --- callers ----------------------------------------------------------------------------------------------------

    def caller_at_once(self, route: Route, credentials: Credentials) -> Caller | None:
        """As `caller`, where nothing has to be waited for; None where it has, or where that is not plain to see."""
        bearer, sessions = credentials.bearer, credentials.sessions
        if credentials.digest:
            identity = self.verifier.current(credentials.digest)
            if identity is not None:
                is_renewable = bearer is None and credentials.refreshes
                return None if is_renewable and self._is_near_end(identity) else Caller(identity, bearer or sessions[0])
        if credentials.access_keys:
            return self._exchanged_at_once(credentials.access_keys[0], route.exchange)
        if bearer is None:
            if len(sessions) != 1:
                return None if sessions or credentials.refreshes else Caller(Reason.NO_CREDENTIALS)
            raw = sessions[0]
        elif sessions:
            return None
        else:
            raw = bearer
        outcome = self.verifier.at_once(raw, credentials.digest)
        if outcome is None:
            return None
        standing = self.verifier.standing(outcome) if isinstance(outcome, Identity) else outcome
        if standing is not None:
            return None if credentials.refreshes else Caller(standing)
        if credentials.refreshes:
            self.chains.presented(cast(Identity, outcome), credentials.refreshes)
        is_renewable = bearer is None and credentials.refreshes
        return None if is_renewable and self._is_near_end(cast(Identity, outcome)) else Caller(outcome, raw)

    async def caller(self, route: Route, credentials: Credentials, client: str) -> Caller:
        """Who `credentials` prove on `route`; raises IdentityProviderError where only Descope could tell and cannot."""
        presented = []
        if credentials.bearer is not None:
            presented.append(await self._presented(credentials.bearer, is_bearer=True))
        presented += [await self._presented(raw) for raw in credentials.sessions]
        if credentials.access_keys:
            return await self._exchanged(credentials.access_keys[0], route.exchange, client)
        if not presented and not credentials.refreshes:
            return Caller(Reason.NO_CREDENTIALS)
        current = [p for p in presented if p.current is not None]
        if len({p.current.subject for p in current if p.current is not None}) > 1:
            return Caller(Reason.AMBIGUOUS_CREDENTIALS)
        chosen = _newest(current)
        if chosen is not None and chosen.current is not None:
            self.chains.presented(chosen.current, credentials.refreshes)
            return await self._renewed_ahead(chosen, chosen.current, credentials)
        return await self._renewed_now(presented, credentials)

    async def _presented(self, raw: str, *, is_bearer: bool = False) -> _Verified:
        outcome = await self.verifier.verify(raw)
        standing = self.verifier.standing(outcome) if isinstance(outcome, Identity) else None
        return _Verified(raw, outcome, standing, is_bearer)

    async def _renewed_now(self, presented: Sequence[_Verified], credentials: Credentials) -> Caller:
        """Nothing presented is current: a refresh cookie may say who it was."""
        bearer = next((p for p in presented if p.is_bearer), None)
        if bearer is not None and bearer.reason is not Reason.TOKEN_EXPIRED:
            # Somebody chose this token on purpose; a cookie beside it must not turn a forgery into a success.
            return Caller(bearer.reason)
        reason = _worst(presented)
        found = await self._refresh_token(credentials)
        if isinstance(found, Reason):
            return Caller(found if found is Reason.AMBIGUOUS_CREDENTIALS or reason is None else reason)
        if found is None:
            return Caller(reason or Reason.NO_CREDENTIALS)
        raw, refresh = found
        subjects = {p.outcome.subject for p in presented if isinstance(p.outcome, Identity)}
        if subjects - {refresh.subject}:
            return Caller(Reason.AMBIGUOUS_CREDENTIALS)
        with step("refresh"):
            outcome = await self.state.renew(raw, refresh)
        if isinstance(outcome, Reason):
            return Caller(outcome)
        return Caller(outcome.identity, outcome.pair.session, self.state.receipt(refresh))

    async def _renewed_ahead(self, chosen: _Verified, identity: Identity, credentials: Credentials) -> Caller:
        """The session is good; when it soon will not be, renewal starts beside the request and never fails it."""
        caller = Caller(identity, chosen.raw)
        if chosen.is_bearer or not credentials.refreshes or not self._is_near_end(identity):
            return caller
        try:
            found = await self._refresh_token(credentials)
        except IdentityProviderError:
            return caller
        if not isinstance(found, tuple) or found[1].subject != identity.subject or self.state.is_resting("refresh"):
            return caller
        raw, refresh = found
        work = self._renew_beside(raw, refresh, self._ahead_s(identity))
        self._tasks.start(work, "renew a session ahead of its end")
        return Caller(identity, chosen.raw, self.state.receipt(refresh))

    async def _renew_beside(self, raw: str, refresh: RefreshToken, margin_s: float) -> None:
        with suppress(IdentityProviderError):  # nothing is lost yet
            await self.state.renew(raw, refresh, margin_s=margin_s)

    def _is_near_end(self, identity: Identity) -> bool:
        return identity.expires_at_s - self._clock.now_s() <= self._ahead_s(identity)

    def _ahead_s(self, identity: Identity) -> float:
        """How long before its end to renew; short sessions later, or they would be renewed by every request."""
        return min(self._rules.ahead_s, (identity.expires_at_s - identity.issued_at_s) / 2)

    async def _refresh_token(self, credentials: Credentials) -> tuple[str, RefreshToken] | Reason | None:
        """The newest usable refresh token presented; None where there is none at all."""
        reason: Reason | None = None
        usable: list[tuple[str, RefreshToken]] = []
        for raw in credentials.refreshes:
            token = await self.verifier.verify_refresh(raw)
            standing = token if isinstance(token, Reason) else self.verifier.standing(token)
            if isinstance(token, RefreshToken) and standing is None:
                usable.append((raw, token))
            else:
                reason = standing
        if len({token.subject for _, token in usable}) > 1:
            return Reason.AMBIGUOUS_CREDENTIALS
        return max(usable, key=lambda pair: pair[1].issued_at_s) if usable else reason

    def _exchanged_at_once(self, key: str, options: ExchangeOptions) -> Caller | None:
        known = self.state.remembered_key(key, options)
        if known is None:
            return None
        return Caller(known) if isinstance(known, Reason) else Caller(known.identity, known.token)

    async def _exchanged(self, key: str, options: ExchangeOptions, client: str) -> Caller:
        with step("exchange"):
            outcome = await self.state.exchange(key, options, client)
        if isinstance(outcome, TooMany):
            return Caller(Reason.RATE_LIMITED, wait_ns=outcome.wait_ns)
        if isinstance(outcome, Reason):
            return Caller(outcome)
        return Caller(outcome.identity, outcome.token)

    # --- streams ----------------------------------------------------------------------------------------------------

    def follow(self, identity: Identity, credentials: Credentials, options: ExchangeOptions) -> Chain:
        """The chain of sessions that `credentials` begin and `identity` is of; to be left when its stream ends.

        Its end may be known already: somebody may have signed out between the decision and the stream's first byte.
        """
        if credentials.access_keys:
            known = [key_digest(credentials.access_keys[0], options)]
        elif credentials.bearer is not None and digest_of(credentials.bearer) == identity.digest:
            known = []  # a cookie beside it may be somebody else's, and renews no bearer
        else:
            # Which of several copies is genuine does not matter here: what they lead to is, and of this subject.
            known = [digest_of(raw) for raw in credentials.refreshes]
        digests = [digest for digest in known if not self.state.revocations.names(digest)]
        chain = self.chains.follow(identity, digests)
        for digest in digests:
            renewed = self.state.successor(digest)
            if renewed is not None:
                self.chains.renewed(digest, renewed.identity, renewed.refresh.digest)
            if self.state.is_key_refused(digest):
                self.chains.end(chain, Reason.ACCESS_KEY_REFUSED)
        if self.state.revocations.covers(chain.identity) or (known and not digests):
            self.chains.end(chain, Reason.SESSION_REVOKED)
        return chain

    # --- profiles ---------------------------------------------------------------------------------------------------

    async def person(self, identity: Identity, credentials: Credentials) -> Person:
        """E-mail and name beside the token; NOBODY where they cannot be had soon."""
        try:
            found = await self._refresh_token(credentials)
        except IdentityProviderError:
            found = None
        is_own = isinstance(found, tuple) and found[1].subject == identity.subject
        return await self.state.person(identity, found[0] if isinstance(found, tuple) and is_own else None)

    # --- people -----------------------------------------------------------------------------------------------------

    async def refresh_token(self, credentials: Credentials) -> tuple[str, RefreshToken] | Reason:
        """The refresh token that `/.auth/` works with."""
        return await self._refresh_token(credentials) or Reason.NO_CREDENTIALS

    async def renewed(self, raw: str, token: RefreshToken) -> Renewed | Reason:
        """A session renewed because somebody asked for it, however long the present one would have lasted."""
        return await self.state.renew(raw, token, margin_s=float("inf"))

    async def begun(self, call: SignInCall[SessionPair]) -> Renewed | IdpRefusal:
        """The session that a sign-in method's last request begins, verified."""
        pair = await self.state.asked(call)
        return pair if isinstance(pair, IdpRefusal) else await self.brought(pair)

    async def brought(self, pair: SessionPair) -> Renewed:
        """A session that was begun just now, verified; raises IdentityProviderError for tokens that do not verify."""
        fresh = await self.state.brought(pair)
        self._observe("sign_in", "begun", fresh.identity)
        return fresh

    async def presented(self, pair: SessionPair) -> Renewed | Reason:
        """A session that a page brings, verified; a reason where it does not count or is not one person's."""
        identity = await self.verifier.verify(pair.session)
        refresh = await self.verifier.verify_refresh(pair.refresh)
        if isinstance(identity, Reason):
            return identity
        if isinstance(refresh, Reason):
            return refresh
        if identity.subject != refresh.subject:
            return Reason.AMBIGUOUS_CREDENTIALS
        standing = self.verifier.standing(identity) or self.verifier.standing(refresh)
        if standing is not None:
            return standing
        self._observe("sign_in", "brought", identity)
        return Renewed(pair, identity, refresh, self._clock.now_s())

    async def signed_out(self, raw: str, token: RefreshToken, *, everywhere: bool = False) -> None:
        """End a session here first, then at Descope; raises IdentityProviderError when Descope could not be told."""
        self._observe("sign_out", "everywhere" if everywhere else "here", token)
        await self.state.sign_out(raw, token, everywhere=everywhere)

    async def revoke_sessions(self, credentials: Credentials) -> None:
        """Refuse from now on the session tokens that a sign-out was sent with."""
        for raw in (*credentials.sessions, *((credentials.bearer,) if credentials.bearer else ())):
            identity = await self.verifier.verify(raw)
            if isinstance(identity, Identity):
                await self.state.revoke(identity)
                if not credentials.refreshes:
                    self._observe("sign_out", "here", identity)


def _newest(current: Sequence[_Verified]) -> _Verified | None:
    """A bearer was chosen on purpose, so it goes first; of several cookies the newest."""
    return max(
        current,
        key=lambda p: (p.is_bearer, p.current.issued_at_s if p.current is not None else 0),
        default=None,
    )


def _worst(presented: Sequence[_Verified]) -> Reason | None:
    """What to tell whoever sent several useless tokens: that they ran out, if any was ever good."""
    reasons = [p.reason for p in presented]
    for telling in (Reason.SESSION_REVOKED, Reason.TOKEN_EXPIRED):
        if telling in reasons:
            return telling
    return reasons[0] if reasons else None
