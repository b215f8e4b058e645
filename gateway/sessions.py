"""Credentials to caller: verify, remedy once, remember.

The core says what is missing; here the matching remedy is tried, each at most once for a request: look again for a
signing key, renew a session that has run out, exchange an access key. Answers from memory need no await.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast

from gateway.chains import Chain, Chains
from gateway.clock import Clock
from gateway.core.errors import IdentityProviderError
from gateway.core.model import (
    AccessKeyRules,
    CookieRules,
    Credentials,
    ExchangeOptions,
    Identity,
    Kind,
    Person,
    Reason,
    RefreshRules,
    RefreshToken,
    Route,
    SetCookies,
    TokenRules,
    noun,
)
from gateway.core.tokens import digest_of
from gateway.exchanges import Exchanged, Exchanges, TooMany, key_digest
from gateway.idp import IdentityProvider
from gateway.idp_call import IdpRefusal, SessionPair, SignInCall
from gateway.keyring import Keyring
from gateway.profiles import Profiles
from gateway.renewals import Renewals, Renewed
from gateway.rests import Rests
from gateway.revocations import Revocations
from gateway.steps import step
from gateway.tasks import Tasks
from gateway.verification import Verifier

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


@dataclass(frozen=True, slots=True)
class SessionRules:
    """What a gateway's route file says about sessions."""

    tokens: TokenRules
    refresh: RefreshRules
    access_keys: AccessKeyRules
    cookies: CookieRules


class Sessions:
    def __init__(
        self,
        rules: SessionRules,
        *,
        idp: IdentityProvider,
        keyring: Keyring,
        rests: Rests,
        tasks: Tasks,
        clock: Clock,
        observe: Callable[[str, str, Identity | RefreshToken | None], None],
    ) -> None:
        """observe(event, outcome, who): event is "refresh", "exchange", "sign_in" or "sign_out"."""
        self._rules = rules
        self._idp = idp
        self._rests = rests
        self._tasks = tasks
        self._clock = clock
        self._observe = observe
        self.chains = Chains()
        self.revocations = Revocations(clock, self.chains)
        self.renewals = Renewals(
            rules.refresh,
            rules.cookies,
            revocations=self.revocations,
            chains=self.chains,
            tasks=tasks,
            clock=clock,
            on_reuse=lambda token: observe("refresh", "reused", token),
        )
        self._exchanges = Exchanges(rules.access_keys, self.revocations, self.chains, tasks, clock)
        self._profiles = Profiles(idp, rests, tasks, clock)
        self.verifier = Verifier(rules.tokens, keyring=keyring, revocations=self.revocations, clock=clock)

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
            outcome = await self.renewals.renew(raw, refresh, self._refreshing(refresh))
        if isinstance(outcome, Reason):
            return Caller(outcome)
        return Caller(outcome.identity, outcome.pair.session, self.renewals.receipt(refresh))

    async def _renewed_ahead(self, chosen: _Verified, identity: Identity, credentials: Credentials) -> Caller:
        """The session is good; when it soon will not be, renewal starts beside the request and never fails it."""
        caller = Caller(identity, chosen.raw)
        if chosen.is_bearer or not credentials.refreshes or not self._is_near_end(identity):
            return caller
        try:
            found = await self._refresh_token(credentials)
        except IdentityProviderError:
            return caller
        if not isinstance(found, tuple) or found[1].subject != identity.subject or self._rests.remaining_s("refresh"):
            return caller
        raw, refresh = found
        work = self.renewals.renew(raw, refresh, self._refreshing(refresh), margin_s=self._ahead_s(identity))
        self._tasks.start(work, "renew a session ahead of its end")
        return Caller(identity, chosen.raw, self.renewals.receipt(refresh))

    def _is_near_end(self, identity: Identity) -> bool:
        return identity.expires_at_s - self._clock.now_s() <= self._ahead_s(identity)

    def _ahead_s(self, identity: Identity) -> float:
        """How long before its end to renew; short sessions later, or they would be renewed by every request."""
        return min(self._rules.refresh.ahead_s, (identity.expires_at_s - identity.issued_at_s) / 2)

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
        known = self._exchanges.remembered(key, options)
        if known is None:
            return None
        return Caller(known) if isinstance(known, Reason) else Caller(known.identity, known.token)

    async def _exchanged(self, key: str, options: ExchangeOptions, client: str) -> Caller:
        async def call(worked: bool) -> Exchanged | Reason:
            return await self._exchange_call(key, options, worked)

        with step("exchange"):
            outcome = await self._exchanges.exchange(key, options, client, call)
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
        digests = [digest for digest in known if not self.revocations.names(digest)]
        chain = self.chains.follow(identity, digests)
        for digest in digests:
            renewed = self.renewals.successor(digest)
            if renewed is not None:
                self.chains.renewed(digest, renewed.identity, renewed.refresh.digest)
            if self._exchanges.is_refused(digest):
                self.chains.end(chain, Reason.ACCESS_KEY_REFUSED)
        if self.revocations.covers(chain.identity) or (known and not digests):
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
        return await self._profiles.person(identity, found[0] if isinstance(found, tuple) and is_own else None)

    # --- people -----------------------------------------------------------------------------------------------------

    async def refresh_token(self, credentials: Credentials) -> tuple[str, RefreshToken] | Reason:
        """The refresh token that `/.auth/` works with."""
        return await self._refresh_token(credentials) or Reason.NO_CREDENTIALS

    async def renewed(self, raw: str, token: RefreshToken) -> Renewed | Reason:
        """A session renewed because somebody asked for it, however long the present one would have lasted."""
        return await self.renewals.renew(raw, token, self._refreshing(token), margin_s=float("inf"))

    async def with_tenant(self, tenant: str, raw: str, token: RefreshToken) -> Renewed | Reason:
        """The same session in another tenant."""

        async def call(newest: str) -> Renewed | Reason:
            pair = await self._rests.ask("select_tenant", lambda: self._idp.select_tenant(tenant, newest))
            return pair if isinstance(pair, Reason) else await self._checked(pair)

        return await self.renewals.replace(raw, token, call)

    async def asked(self, call: SignInCall[T]) -> T | IdpRefusal:
        """What Descope says to one request of a sign-in method; raises IdentityProviderError where it cannot."""
        return await self._rests.ask(call.operation, lambda: self._idp.ask(call), about=call.about)

    async def begun(self, call: SignInCall[SessionPair]) -> Renewed | IdpRefusal:
        """The session that a sign-in method's last request begins, verified."""
        pair = await self.asked(call)
        return pair if isinstance(pair, IdpRefusal) else await self.brought(pair)

    async def brought(self, pair: SessionPair) -> Renewed:
        """A session that was begun just now, verified; raises IdentityProviderError for tokens that do not verify."""
        fresh = await self._checked(pair)
        self.revocations.exempt(fresh.identity)
        self.revocations.exempt(fresh.refresh)
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
        # At once, so that whoever waits for a renewal of this token hears of it; its successor once that has ended.
        self.revocations.revoke(token.digest, token.expires_at_s)
        newest_raw, newest = await self.renewals.newest(raw, token)
        self.revocations.revoke(newest.digest, newest.expires_at_s)
        for renewed in self.renewals.forget(token):
            self.revocations.revoke(renewed.identity.digest, renewed.identity.expires_at_s)
            self.revocations.revoke(renewed.refresh.digest, renewed.refresh.expires_at_s)
        if everywhere:
            self.revocations.revoke_subject(token.subject)
            await self._rests.ask("sign_out_everywhere", lambda: self._idp.sign_out_everywhere(newest_raw))
        else:
            await self._rests.ask("sign_out", lambda: self._idp.sign_out(newest_raw))

    async def revoke_sessions(self, credentials: Credentials) -> None:
        """Refuse from now on the session tokens that a sign-out was sent with."""
        for raw in (*credentials.sessions, *((credentials.bearer,) if credentials.bearer else ())):
            identity = await self.verifier.verify(raw)
            if isinstance(identity, Identity):
                self.revocations.revoke(identity.digest, identity.expires_at_s)
                if not credentials.refreshes:
                    self._observe("sign_out", "here", identity)

    # --- calls to Descope -------------------------------------------------------------------------------------------

    def _refreshing(self, token: RefreshToken) -> Callable[[str], Awaitable[Renewed | Reason]]:
        async def call(raw: str) -> Renewed | Reason:
            try:
                pair = await self._rests.ask("refresh", lambda: self._idp.refresh(raw))
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

    async def _exchange_call(self, key: str, options: ExchangeOptions, worked: bool) -> Exchanged | Reason:
        share = "worked" if worked else "unseen"
        try:
            token = await self._rests.ask(
                "exchange", lambda: self._idp.exchange(key, options, worked_before=worked), share
            )
            outcome = token if isinstance(token, Reason) else await self._checked_key(token)
        except IdentityProviderError:
            self._observe("exchange", "failed", None)
            raise
        if isinstance(outcome, Reason):
            self._observe("exchange", "refused", None)
        else:
            self._observe("exchange", "exchanged", outcome.identity)
        return outcome

    async def _checked(self, pair: SessionPair) -> Renewed:
        """Descope's answer is verified like anybody's token."""
        identity = await self.verifier.verify(pair.session)
        refresh = await self.verifier.verify_refresh(pair.refresh)
        if isinstance(identity, Reason):
            raise IdentityProviderError(f"the new session does not verify: {identity}")
        if isinstance(refresh, Reason):
            raise IdentityProviderError(f"the new refresh token does not verify: {refresh}")
        if identity.subject != refresh.subject:
            raise IdentityProviderError("the new session and refresh token name different subjects")
        if pair.profile:
            self._profiles.learn(identity, pair.profile)
        return Renewed(pair, identity, refresh, self._clock.now_s())

    async def _checked_key(self, token: str) -> Exchanged:
        identity = await self.verifier.verify(token)
        if isinstance(identity, Reason):
            raise IdentityProviderError(f"the session for an access key does not verify: {identity}")
        # A key bound to a user may come back as that user's session; it was still a key that opened the door.
        return Exchanged(token, replace(identity, kind=Kind.ACCESS_KEY))


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
