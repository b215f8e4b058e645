"""One renewal for each refresh token, shared by all who ask at once, and remembered for those who come late.

A browser sends many requests with one expired session. The first starts the renewal, the others wait for it, and all
get the same cookies. With rotation the old refresh token is spent from then on, so its result must not be lost before
the browser has it: it is kept until a reply that carried it has been written completely (at most fifteen minutes), and
`refresh.grace` longer for the requests that were already on their way. What is remembered forms a chain: old refresh
token, its result, the result of that one's refresh token. An asker is always led to the newest link, and the cookies
are read from the chain at the moment the head is written, so that a slow reply never puts an older cookie back.

A refresh token that was spent here and whose result is forgotten is refused without asking: Descope would take its
reuse for theft and end the session of whoever holds the newest one.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from gateway import changes
from gateway.chains import Chains
from gateway.changes import Change, Tell
from gateway.clock import Clock
from gateway.core.credentials import session_cookies
from gateway.core.errors import IdentityProviderError
from gateway.core.model import CookieRules, Identity, Reason, RefreshRules, RefreshToken
from gateway.idp_call import SessionPair
from gateway.revocations import Revocations
from gateway.tasks import Tasks

UNDELIVERED_S = 900.0
REFUSED_S = 60.0
HEAD_WAITS_S = 0.2
_MOST = 20_000
_SWEPT_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Renewed:
    """A renewed session: Descope's pair, both verified by our own keys. at_s: when it came, by the wall clock."""

    pair: SessionPair
    identity: Identity
    refresh: RefreshToken
    at_s: float


@dataclass(slots=True)
class _Link:
    """What is known of one refresh token: its renewal, running or done."""

    task: asyncio.Future[Renewed | Reason]
    until_s: float
    refusal: bool = False

    @property
    def renewed(self) -> Renewed | None:
        if not self.task.done() or self.task.cancelled() or self.task.exception() is not None:
            return None
        outcome = self.task.result()
        return outcome if isinstance(outcome, Renewed) else None


class Renewals:
    def __init__(
        self,
        rules: RefreshRules,
        cookies: CookieRules,
        *,
        revocations: Revocations,
        chains: Chains,
        tasks: Tasks,
        clock: Clock,
        on_reuse: Callable[[RefreshToken], None],
        tell: Tell = changes.nobody,
    ) -> None:
        """chains: told of every session that is renewed."""
        self._rules = rules
        self._cookies = cookies
        self._revocations = revocations
        self._chains = chains
        self._tasks = tasks
        self._clock = clock
        self._on_reuse = on_reuse
        self._tell = tell
        self._links: OrderedDict[bytes, _Link] = OrderedDict()
        self._spent: OrderedDict[bytes, int] = OrderedDict()

    async def renew(
        self, raw: str, token: RefreshToken, call: Callable[[str], Awaitable[Renewed | Reason]], margin_s: float = 0.0
    ) -> Renewed | Reason:
        """The newest session of this refresh token's chain, good for `margin_s` more; renews where there is none yet.

        call: asks Descope with a raw refresh token; a fault it raises reaches all who wait, and nothing is remembered.
        """
        while True:
            if self._revocations.covers(token):
                return Reason.SESSION_REVOKED
            shared = self._link(token.digest)
            ran = shared is not None and not shared.task.done()
            link = shared or self._start(raw, token, call)
            if isinstance(link, Reason):
                return link
            outcome = await asyncio.shield(link.task)
            if self._is_signed_out(token, outcome):
                return Reason.SESSION_REVOKED
            if shared is None or outcome is Reason.REFRESH_REFUSED:
                return outcome
            if not isinstance(outcome, Renewed):
                continue  # a tenant switch was refused, which says nothing about the session
            # Whoever waited for a running renewal wanted just that one, however much more it asked for.
            if ran or outcome.identity.expires_at_s - self._clock.now_s() > margin_s:
                return outcome
            if outcome.refresh.digest == token.digest:
                if not self._forget_stale(token.digest, link):
                    return outcome  # as fresh as Descope makes them
            else:
                raw, token = outcome.pair.refresh, outcome.refresh
                margin_s = 0.0

    def _is_signed_out(self, token: RefreshToken, outcome: Renewed | Reason) -> bool:
        """Signed out while the renewal ran, or later on, with what it led to: an older cookie leads there still."""
        covers = self._revocations.covers
        return covers(token) or (isinstance(outcome, Renewed) and (covers(outcome.refresh) or covers(outcome.identity)))

    async def replace(
        self, raw: str, token: RefreshToken, call: Callable[[str], Awaitable[Renewed | Reason]]
    ) -> Renewed | Reason:
        """Spend the newest refresh token of the chain on another call (a tenant switch) and remember it alike."""
        raw, token = await self.newest(raw, token)
        if self._revocations.covers(token):
            return Reason.SESSION_REVOKED
        self._links.pop(token.digest, None)
        link = self._start(raw, token, call)
        return link if isinstance(link, Reason) else await asyncio.shield(link.task)

    async def newest(self, raw: str, token: RefreshToken) -> tuple[str, RefreshToken]:
        """The end of the chain, once a running renewal has ended."""
        while True:
            link = self._link(token.digest)
            if link is None:
                return raw, token
            await asyncio.wait([link.task])
            renewed = link.renewed
            if renewed is not None and renewed.refresh.digest != token.digest:
                raw, token = renewed.pair.refresh, renewed.refresh
            elif self._links.get(token.digest) in (None, link):
                return raw, token  # a fault or a refusal leaves us with what we have
            # Else somebody who waited beside us has begun to spend it: wait for that one too.

    def forget(self, token: RefreshToken) -> list[Renewed]:
        """Drop the whole chain, and return what it held."""
        dropped = []
        digest: bytes | None = token.digest
        while digest is not None and (link := self._links.pop(digest, None)) is not None:
            renewed = link.renewed
            digest = None
            if renewed is not None:
                dropped.append(renewed)
                digest = renewed.refresh.digest
        return dropped

    def successor(self, digest: bytes) -> Renewed | None:
        """The newest that is remembered of what the refresh token known by `digest` led to."""
        newest: Renewed | None = None
        while (link := self._link(digest)) is not None and (renewed := link.renewed) is not None:
            newest = renewed
            if renewed.refresh.digest == digest:
                break
            digest = renewed.refresh.digest
        return newest

    def receipt(self, token: RefreshToken) -> "Receipt":
        """The cookies that replace `token`, for the reply to whoever brought it."""
        return Receipt(self, token)

    # --- used by Receipt ---

    async def settled(self, token: RefreshToken) -> tuple[tuple[bytes, ...], list[bytes]]:
        """The cookies to write now in the place of `token`'s, and which renewals they deliver."""
        link = self._link(token.digest)
        if link is not None and not link.task.done():
            await asyncio.wait([link.task], timeout=HEAD_WAITS_S)
        passed: list[bytes] = []
        newest: Renewed | None = None
        digest = token.digest
        while (link := self._link(digest)) is not None and (renewed := link.renewed) is not None:
            passed.append(digest)
            newest = renewed
            if renewed.refresh.digest == digest:
                break
            digest = renewed.refresh.digest
        if newest is None or self._revocations.covers(newest.refresh) or self._revocations.covers(token):
            return (), []
        return self.cookie_lines(newest), passed

    def cookie_lines(self, renewed: Renewed) -> tuple[bytes, ...]:
        """`Set-Cookie` values of a session; each cookie lives as long as its token did when it came.

        So all who get one result get the same lines, whenever their replies are written.
        """
        return session_cookies(
            self._cookies,
            renewed.pair.session,
            renewed.pair.refresh,
            max(int(renewed.identity.expires_at_s - renewed.at_s), 1),
            max(int(renewed.refresh.expires_at_s - renewed.at_s), 1),
        )

    def delivered(self, digests: Sequence[bytes], until_s: float | None = None) -> float:
        """These have reached their client. Returns when they are forgotten, by the monotonic clock: after a grace.

        until_s: the same, where somebody else has said so.
        """
        until_s = self._clock.mono_s() + self._rules.grace_s if until_s is None else until_s
        if digests:
            self._tell(changes.delivered(digests, until_s))
        for digest in digests:
            link = self._links.get(digest)
            if link is not None:
                link.until_s = min(link.until_s, until_s)
        return until_s

    # --- copies in other processes ------------------------------------------------------------------------------------

    def spend(self, digest: bytes, expires_at_s: int) -> None:
        """Descope takes this refresh token no more."""
        if digest not in self._spent:
            self._spent[digest] = expires_at_s
            self._tell(changes.spent(digest, expires_at_s))

    def remember(self, digest: bytes, renewed: Renewed, until_s: float) -> None:
        """Somebody else renewed what is known by `digest`; one that is newer here stays."""
        known = self._links.get(digest)
        before = known.renewed if known is not None else None
        if known is not None and (before is None or before.at_s >= renewed.at_s):
            return
        self._make_room()
        done: asyncio.Future[Renewed | Reason] = asyncio.get_running_loop().create_future()
        done.set_result(renewed)
        self._links[digest] = _Link(done, until_s)
        self._tell(_told(digest, renewed, until_s))
        self._chains.renewed(digest, renewed.identity, renewed.refresh.digest)

    def changes(self) -> Iterator[Change]:
        """All that is remembered, as it would be told."""
        yield from (changes.spent(*one) for one in self._spent.items())
        for digest, link in self._links.items():
            renewed = link.renewed
            if renewed is not None:
                yield _told(digest, renewed, link.until_s)

    # --- the memory ---

    def _link(self, digest: bytes) -> _Link | None:
        link = self._links.get(digest)
        if link is not None and link.task.done() and link.until_s <= self._clock.mono_s():
            del self._links[digest]
            return None
        return link

    def _start(
        self, raw: str, token: RefreshToken, call: Callable[[str], Awaitable[Renewed | Reason]]
    ) -> "_Link | Reason":
        if token.digest in self._spent:
            self._on_reuse(token)
            return Reason.REFRESH_REFUSED
        self._make_room()
        task = self._tasks.spawn(self._run(raw, token, call), "renew a session")
        link = _Link(task, self._clock.mono_s() + UNDELIVERED_S)
        self._links[token.digest] = link
        return link

    async def _run(
        self, raw: str, token: RefreshToken, call: Callable[[str], Awaitable[Renewed | Reason]]
    ) -> Renewed | Reason:
        try:
            outcome = await call(raw)
        except BaseException:
            self._links.pop(token.digest, None)
            raise
        if isinstance(outcome, Renewed) and outcome.identity.subject != token.subject:
            self._links.pop(token.digest, None)
            raise IdentityProviderError("refresh: the answer names another subject")
        if isinstance(outcome, Renewed):
            if outcome.refresh.digest != token.digest:
                self.spend(token.digest, token.expires_at_s)
            self._tell(_told(token.digest, outcome, self._links[token.digest].until_s))
            self._chains.renewed(token.digest, outcome.identity, outcome.refresh.digest)
        elif outcome is Reason.REFRESH_REFUSED:
            link = self._links.get(token.digest)
            if link is not None:
                link.until_s = self._clock.mono_s() + REFUSED_S
        else:
            self._links.pop(token.digest, None)
        return outcome

    def _forget_stale(self, digest: bytes, link: _Link) -> bool:
        """Without rotation one refresh token serves again and again; drop its last result unless it is brand new."""
        renewed = link.renewed
        if renewed is not None and renewed.identity.expires_at_s > self._clock.now_s():
            return False
        if self._links.get(digest) is link:
            del self._links[digest]
        return True

    def _make_room(self) -> None:
        """A few steps of a sweep that goes round and round, so that no request pays for all that went before."""
        mono_s = self._clock.mono_s()
        for digest in tuple(islice(self._links, _SWEPT_AT_ONCE)):
            link = self._links[digest]
            if link.task.done() and (link.until_s <= mono_s or len(self._links) >= _MOST):
                del self._links[digest]
            else:
                self._links.move_to_end(digest)
        while self._spent and (len(self._spent) > _MOST or next(iter(self._spent.values())) < self._clock.now_s()):
            self._spent.popitem(last=False)


def _told(digest: bytes, renewed: Renewed, until_s: float) -> Change:
    pair = renewed.pair
    return changes.renewed(digest, (pair.session, pair.refresh), pair.profile, at_s=renewed.at_s, until_mono_s=until_s)


class Receipt:
    """Implements `model.SetCookies` for one request: reads the chain when the head is written, tells it afterwards."""

    def __init__(self, renewals: Renewals, token: RefreshToken) -> None:
        self._renewals = renewals
        self._token = token
        self._carried: list[bytes] = []

    async def settled(self) -> tuple[bytes, ...]:
        lines, self._carried = await self._renewals.settled(self._token)
        return lines

    def written(self) -> None:
        self._renewals.delivered(self._carried)
