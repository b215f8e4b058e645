"""Tokens verified with the keys at hand, and remembered: only who they prove, never what was decided.

A token is first remembered by its claims as they were signed, and as an identity once it comes again: there are tokens
that never do, and to keep ready for them what follows from their claims costs more than to read these once more.

What is remembered goes by the SHA-256 of the whole token and belongs to one generation of keys; a new key set forgets
it all, and with it which tokens are worth nothing. The memory is bounded by the size of the tokens too, for some carry
forty tenants.
"""

from collections import OrderedDict

from gateway.clock import Clock
from gateway.core import tokens
from gateway.core.keyset import KeySet
from gateway.core.memory import Memory
from gateway.core.model import Identity, Reason, RefreshToken, TokenRules
from gateway.core.tokens import Signed
from gateway.keyring import Keyring
from gateway.revocations import Revocations

_REMEMBERED = 10_000
_REFUSED_BYTES = 100
_REMEMBERED_CHARS = 8 * 1024 * 1024  # parsed, a token takes about seven times its length


class _Known:
    """A token that came again. from_s, until_s: when it counts, by the wall clock, leeway included.

    unrevoked: the state of the revocations in which it was last looked for there.
    """

    __slots__ = ("from_s", "identity", "size", "unrevoked", "until_s")

    def __init__(self, identity: Identity, size: int, leeway_s: int) -> None:
        self.identity = identity
        self.size = size
        self.from_s = max(identity.not_before_s, identity.issued_at_s) - leeway_s
        self.until_s = identity.expires_at_s + leeway_s
        self.unrevoked = -1


class Verifier:
    """hits, misses: how often a token was in memory, and how often not."""

    def __init__(
        self,
        rules: TokenRules,
        *,
        keyring: Keyring,
        revocations: Revocations,
        clock: Clock,
    ) -> None:
        self._rules = rules
        self._keyring = keyring
        self._revocations = revocations
        self._clock = clock
        self.hits = self.misses = 0
        self._remembered: OrderedDict[bytes, _Known | Signed] = OrderedDict()
        # What these keys will never verify; an unknown key may yet come.
        self._refused: Memory[bytes, Reason] = Memory()
        self._chars = 0
        self._generation = 0

    def current(self, digest: bytes) -> Identity | None:
        """Who a token proves that was verified before and counts now; None for any other.

        digest: `tokens.token_digest` of the token.
        """
        keys = self._keyring.fresh
        if keys is None:
            return None
        known = self._remembered.get(digest) if keys.generation == self._generation else None
        if type(known) is not _Known or not known.from_s <= self._clock.now_s() < known.until_s:
            return None
        if known.unrevoked != self._revocations.state:
            if self._revocations.covers(known.identity):
                return None
            known.unrevoked = self._revocations.state
        self._remembered.move_to_end(digest)
        self.hits += 1
        return known.identity

    def at_once(self, raw: str, digest: bytes) -> Identity | Reason | None:
        """As `verify`, with the keys at hand; None where they have to be looked at first.

        digest: `tokens.token_digest` of the token.
        """
        keys = self._keyring.fresh
        if keys is None:
            return None
        if keys.generation != self._generation:
            self._begin(keys.generation)
        known = self._known(digest) if digest in self._remembered else self._refused.get(digest, self._clock.mono_s())
        if known is not None:
            return known
        found, outcome = self._read(raw, keys)
        if isinstance(found, Signed) and isinstance(outcome, Identity):
            self._learn(digest, found)
        elif outcome is Reason.TOKEN_UNKNOWN_KEY:
            if not self._keyring.looked_just_now:
                return None
        elif isinstance(outcome, Reason):
            self._refused.keep(digest, outcome, _REFUSED_BYTES, self._clock.mono_s())
        self.misses += 1
        return outcome

    def _read(self, raw: str, keys: KeySet) -> tuple[Signed | Reason, Identity | Reason]:
        found = tokens.signed(raw, keys)
        return found, found if isinstance(found, Reason) else tokens.identity(found, self._rules)

    def _begin(self, generation: int) -> None:
        """Forget what other keys have verified."""
        self._remembered.clear()
        self._refused.forget()
        self._chars = 0
        self._generation = generation

    def _known(self, digest: bytes) -> Identity:
        """Who a token proves that these keys have verified before."""
        known = self._remembered[digest]
        if isinstance(known, Signed):
            identity = tokens.identity(known, self._rules)
            assert isinstance(identity, Identity)  # noqa: S101  # for the type checker: nothing else is remembered
            known = self._remembered[digest] = _Known(identity, known.size, self._rules.leeway_s)
        self._remembered.move_to_end(digest)
        self.hits += 1
        return known.identity

    async def verify(self, raw: str) -> Identity | Reason:
        """A session token's identity, whether current or not; looks for an unknown key once."""
        keys = await self._keyring.ready()
        digest = tokens.token_digest(raw)
        if keys.generation != self._generation:
            self._begin(keys.generation)
        if digest in self._remembered:
            return self._known(digest)
        found, outcome = self._read(raw, keys)
        if outcome is Reason.TOKEN_UNKNOWN_KEY:
            await self._keyring.unknown_key()
            keys = self._keyring.keys
            found, outcome = self._read(raw, keys)
        self.misses += 1
        if keys.generation == self._generation and isinstance(found, Signed) and isinstance(outcome, Identity):
            self._learn(digest, found)
        return outcome

    async def verify_refresh(self, raw: str) -> RefreshToken | Reason:
        """A refresh token's contents, whether current or not; looks for an unknown key once."""
        outcome = tokens.refresh(raw, await self._keyring.ready(), self._rules)
        if outcome is Reason.TOKEN_UNKNOWN_KEY:
            await self._keyring.unknown_key()
            outcome = tokens.refresh(raw, self._keyring.keys, self._rules)
        return outcome

    def standing(self, token: Identity | RefreshToken) -> Reason | None:
        """Why a genuine token does not count now; None when it does."""
        if self._revocations.covers(token):
            return Reason.SESSION_REVOKED
        return tokens.standing(token, self._clock.now_s(), self._rules.leeway_s)

    def _learn(self, digest: bytes, found: Signed) -> None:
        if digest not in self._remembered:
            self._chars += found.size
            self._remembered[digest] = found
        while len(self._remembered) > _REMEMBERED or self._chars > _REMEMBERED_CHARS:
            _, forgotten = self._remembered.popitem(last=False)
            self._chars -= forgotten.size
