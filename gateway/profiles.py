"""E-mail and name of callers whose tokens lack them: from the sign-in or renewal answer, else asked for once.

A profile is an ornament: no request waits long for it, and none fails for want of it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from cachetools import LRUCache

from gateway.clock import Clock
from gateway.core.errors import IdentityProviderError
from gateway.core.model import NOBODY, Identity, Person, Reason
from gateway.tasks import Tasks

_WAITED_S = 0.2
_UNKNOWN_S = 30.0
_MOST = 10_000


class Profiles:
    def __init__(
        self, ask: Callable[[str], Awaitable[Mapping[str, object] | Reason]], tasks: Tasks, clock: Clock
    ) -> None:
        """ask: says who the owner of a refresh token is; raises IdentityProviderError."""
        self._me = ask
        self._tasks = tasks
        self._clock = clock
        self._known: LRUCache[str, tuple[Person, float]] = LRUCache(_MOST)
        self._asking: dict[str, asyncio.Task[Person]] = {}

    def learn(self, identity: Identity, profile: Mapping[str, object]) -> Person:
        """Remember what an answer said of somebody, for as long as that session lasts."""
        email, name = profile.get("email"), profile.get("name")
        person = Person(email if isinstance(email, str) else "", name if isinstance(name, str) else "")
        self._remember(identity.subject, person, identity.expires_at_s - self._clock.now_s())
        return person

    async def person(self, identity: Identity, refresh_token: str | None) -> Person:
        """What is known of a caller; asks Descope with the refresh token where there is one."""
        known = self._known.get(identity.subject)
        if known is not None and known[1] > self._clock.mono_s():
            return known[0]
        if refresh_token is None:
            return NOBODY
        asking = self._asking.get(identity.subject)
        if asking is None:
            asking = self._tasks.spawn(self._ask(identity, refresh_token), "ask who somebody is")
            self._asking[identity.subject] = asking
            asking.add_done_callback(lambda _: self._asking.pop(identity.subject, None))
        await asyncio.wait((asking,), timeout=_WAITED_S)
        return asking.result() if asking.done() else NOBODY

    async def _ask(self, identity: Identity, refresh_token: str) -> Person:
        try:
            answer = await self._me(refresh_token)
        except IdentityProviderError:
            answer = Reason.IDENTITY_PROVIDER_UNAVAILABLE
        if isinstance(answer, Reason):
            self._remember(identity.subject, NOBODY, _UNKNOWN_S)
            return NOBODY
        return self.learn(identity, answer)

    def _remember(self, subject: str, person: Person, keep_s: float) -> None:
        self._known[subject] = (person, self._clock.mono_s() + keep_s)
