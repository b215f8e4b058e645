"""Tokens verified with the keys at hand, and remembered: only who they prove, never what was decided.

What is remembered goes by the SHA-256 of the whole token and belongs to one generation of keys; a new key set forgets
it all. The memory is bounded by the size of the tokens too, for some carry forty tenants.
"""

from collections import OrderedDict
from collections.abc import Callable

from gateway.clock import Clock
from gateway.core import tokens
from gateway.core.model import Identity, Reason, RefreshToken, TokenRules
from gateway.keyring import Keyring
from gateway.revocations import Revocations

_REMEMBERED = 10_000
_REMEMBERED_CHARS = 8 * 1024 * 1024  # parsed, a token takes about seven times its length


class Verifier:
    def __init__(
        self,
        rules: TokenRules,
        *,
        keyring: Keyring,
        revocations: Revocations,
        clock: Clock,
        observe: Callable[[str, str], None],
    ) -> None:
        self._rules = rules
        self._keyring = keyring
        self._revocations = revocations
        self._clock = clock
        self._observe = observe
        self._remembered: OrderedDict[bytes, tuple[Identity, int]] = OrderedDict()
        self._chars = 0
        self._generation = 0

    def at_once(self, raw: str, digest: bytes) -> Identity | Reason | None:
        """As `verify`, with the keys at hand; None where they have to be looked at first.

        digest: `tokens.token_digest` of the token.
        """
        generation = self._keyring.fresh_generation
        if generation is None:
            return None
        known = self._known(digest, generation)
        if known is not None:
            return known
        outcome = tokens.session(raw, self._keyring.keys, self._rules)
        if outcome is Reason.TOKEN_UNKNOWN_KEY and not self._keyring.looked_just_now:
            return None
        return self._learnt(raw, digest, outcome)

    def _known(self, digest: bytes, generation: int) -> Identity | None:
        if generation != self._generation:
            self._remembered.clear()
            self._chars = 0
            self._generation = generation
        known = self._remembered.get(digest)
        if known is None:
            return None
        self._remembered.move_to_end(digest)
        self._observe("token_cache", "hit")
        return known[0]

    async def verify(self, raw: str) -> Identity | Reason:
        """A session token's identity, whether current or not; looks for an unknown key once."""
        keys = await self._keyring.ready()
        digest = tokens.token_digest(raw)
        known = self._known(digest, keys.generation)
        if known is not None:
            return known
        outcome = tokens.session(raw, keys, self._rules)
        if outcome is Reason.TOKEN_UNKNOWN_KEY:
            await self._keyring.unknown_key()
            keys = self._keyring.keys
            outcome = tokens.session(raw, keys, self._rules)
        if keys.generation != self._generation:
            self._observe("token_cache", "miss")
            return outcome
        return self._learnt(raw, digest, outcome)

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

    def _learnt(self, raw: str, digest: bytes, outcome: Identity | Reason) -> Identity | Reason:
        self._observe("token_cache", "miss")
        if isinstance(outcome, Reason):
            return outcome
        if digest not in self._remembered:
            self._chars += len(raw)
        self._remembered[digest] = (outcome, len(raw))
        while len(self._remembered) > _REMEMBERED or self._chars > _REMEMBERED_CHARS:
            _, (_, size) = self._remembered.popitem(last=False)
            self._chars -= size
        return outcome
