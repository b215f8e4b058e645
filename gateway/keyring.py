"""Descope's signing keys in memory.

Fetched at start and every ten minutes. A key id that nobody knows causes one fetch per cool-down for everybody, so
random key ids cost Descope nothing. A good answer replaces the whole set: a withdrawn key stops at once. Without an
answer the last good set serves for a day, then nothing verifies and callers are told that Descope is away.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from gateway import changes
from gateway.changes import Change, Tell
from gateway.clock import Clock
from gateway.core.errors import IdentityProviderError
from gateway.core.tokens import KeySet, read_keys
from gateway.idp import IdentityProvider
from gateway.rests import Rests
from gateway.tasks import Tasks

EVERY_S = 600.0
COOL_DOWN_S = 10.0
SERVE_WITHOUT_ANSWER_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Found:
    """A key set as it came, unverified. at_s: when it was confirmed; asked_unknown_s: when it was last looked at for
    the sake of an unknown key id; both by the monotonic clock, the latter None for never."""

    document: object
    is_emulator: bool
    at_s: float
    asked_unknown_s: float | None = None


class KeySource(Protocol):
    """Where keys come from."""

    async def fetch(self, *, unknown: bool) -> Found:
        """The key set; raises IdentityProviderError. unknown: looked for because of an unknown key id."""

    def resting_s(self) -> float:
        """Seconds for which it is of no use to ask."""


class DescopeKeys:
    """Implements `KeySource`: asks Descope."""

    def __init__(self, idp: IdentityProvider, rests: Rests, clock: Clock) -> None:
        self._idp = idp
        self._rests = rests
        self._clock = clock

    async def fetch(self, *, unknown: bool) -> Found:
        document, is_emulator = await self._rests.ask("keys", self._idp.fetch_keys)
        return Found(document, is_emulator, self._clock.mono_s())

    def resting_s(self) -> float:
        return self._rests.remaining_s("keys")


class Keyring:
    def __init__(
        self,
        source: KeySource,
        tasks: Tasks,
        clock: Clock,
        on_emulator: Callable[[], None],
        tell: Tell = changes.nobody,
    ) -> None:
        self._source = source
        self._tell = tell
        self._tasks = tasks
        self._clock = clock
        self._on_emulator = on_emulator
        self._keys: KeySet | None = None
        self._found: Found | None = None
        self._fetched_s = 0.0
        self._asked_unknown_s: float | None = None
        self._fetching: asyncio.Task[None] | None = None

    @property
    def keys(self) -> KeySet:
        """The keys to verify with; raises IdentityProviderError while there are none to trust."""
        if self._keys is None or self.age_s > SERVE_WITHOUT_ANSWER_S:
            raise IdentityProviderError("no signing keys: Descope has not answered", self._source.resting_s())
        return self._keys

    @property
    def age_s(self) -> float:
        """Seconds since the last good answer; infinite before the first."""
        return self._clock.mono_s() - self._fetched_s if self._keys is not None else float("inf")

    @property
    def fresh(self) -> KeySet | None:
        """The keys, where they need no looking after now; None where `ready` has something to do."""
        keys = self._keys
        return keys if keys is not None and self._clock.mono_s() - self._fetched_s <= EVERY_S else None

    @property
    def is_ready(self) -> bool:
        return self.age_s <= SERVE_WITHOUT_ANSWER_S

    async def ready(self) -> KeySet:
        """The keys, fetched first if there are none yet."""
        if not self.is_ready:
            await self._fetch_shared()
        elif self.age_s > EVERY_S and self._fetching is None and not self._source.resting_s():
            self._tasks.start(self._fetch_quietly(), "refetch signing keys that have grown old")
        return self.keys

    @property
    def looked_just_now(self) -> bool:
        """Whether an unknown key id is simply unknown: the set was looked at again so shortly ago."""
        asked_s = self._asked_unknown_s
        return self._fetching is None and asked_s is not None and self._clock.mono_s() - asked_s < COOL_DOWN_S

    async def unknown_key(self) -> None:
        """Somebody came with a key id that is not in the set: look again, unless that was done just now.

        Raises IdentityProviderError when Descope could not be asked: the key may be new and the session good.
        """
        if self.looked_just_now:
            return
        if self._fetching is None:
            self._asked_unknown_s = self._clock.mono_s()
        await self._fetch_shared(unknown=True)

    @property
    def found(self) -> Found | None:
        """The key set as it came, for others who verify with it; None before the first."""
        found = self._found
        if found is None:
            return None
        return Found(found.document, found.is_emulator, self._fetched_s, self._asked_unknown_s)

    def changes(self) -> Iterator[Change]:
        """The keys, as they would be told."""
        found = self.found
        if found is not None:
            yield changes.signing_keys(found.document, found.at_s, is_emulator=found.is_emulator)

    async def keep_fresh(self) -> None:
        """Runs as long as the gateway: fetch now, and again whenever the set has grown old."""
        while True:
            try:
                await self._fetch_shared()
                pause_s = EVERY_S
            except IdentityProviderError as fault:
                pause_s = max(fault.retry_after_s or 0.0, 1.0)
            await asyncio.sleep(pause_s)

    async def _fetch_quietly(self) -> None:
        with contextlib.suppress(IdentityProviderError):
            await self._fetch_shared()

    async def _fetch_shared(self, *, unknown: bool = False) -> None:
        # Shielded: the one who hangs up must not take the answer from the others.
        await asyncio.shield(self._start_fetch(unknown=unknown))

    def _start_fetch(self, *, unknown: bool) -> asyncio.Task[None]:
        if self._fetching is None or self._fetching.done():
            self._fetching = self._tasks.spawn(self._fetch(unknown=unknown), "fetch signing keys")
        return self._fetching

    async def _fetch(self, *, unknown: bool) -> None:
        try:
            self.adopt(await self._source.fetch(unknown=unknown))
        finally:
            self._fetching = None

    def adopt(self, found: Found) -> None:
        """Verify with these keys from now on; raises IdentityProviderError where none is of use."""
        if self._keys is not None and found.at_s < self._fetched_s:
            return  # overtaken by a later answer
        is_other = self._found is None or found.document != self._found.document
        if self._keys is None or is_other:
            generation = self._keys.generation + 1 if self._keys is not None else 1
            keys = read_keys(found.document, generation)
            if keys is None:
                raise IdentityProviderError("keys: the answer holds no usable signing key")
            self._keys, self._found = keys, found
            if found.is_emulator:
                self._on_emulator()
        self._fetched_s = found.at_s
        if found.asked_unknown_s is not None:
            self._asked_unknown_s = found.asked_unknown_s
        self._tell(changes.signing_keys(found.document, self._fetched_s, is_emulator=found.is_emulator))
