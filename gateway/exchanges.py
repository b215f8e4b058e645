"""Access keys become sessions: exchanged once, shared by all who ask at once, remembered for a short while.

An answer serves for `access_keys.remember`. In the last quarter of that time the next use exchanges again behind the
answer, so that a busy key never waits; an idle one waits, because nobody may be let in on an answer older than
promised. Only while Descope cannot be asked does an answer serve longer, at most `access_keys.max_stale` and never past
its `exp`.

Made-up keys cost Descope little: keys never seen to work share a small allowance, one for each client and one for all.
Keys that worked within a day have an allowance and places of their own, which no flood of made-up ones can use up.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from gateway import changes
from gateway.chains import Chains
from gateway.changes import Change, Tell
from gateway.clock import Clock
from gateway.core.errors import IdentityProviderError
from gateway.core.facts import client_key
from gateway.core.limits import NS_PER_S, Allowances
from gateway.core.model import AccessKeyRules, ExchangeOptions, Identity, Limit, Per, Rate, Reason
from gateway.revocations import Revocations
from gateway.tasks import Tasks

REFUSED_S = 10.0
WORKED_S = 86_400.0
_MOST = 10_000
_QUIETLY = 0.75  # of `remember`; in what is left of it the next use exchanges again
# At most ten in any minute for a client, sixty for all: what may come at once and what comes after it, together.
_UNSEEN_BY_CLIENT = Limit("access keys never seen, of one client", Rate(12 * NS_PER_S, 5), Per.CLIENT)
_UNSEEN_BY_ALL = Limit("access keys never seen", Rate(2 * NS_PER_S, 30), Per.CLIENT)
_WORKED = Limit("access keys that worked", Rate(NS_PER_S // 20, 200), Per.CLIENT)


@dataclass(frozen=True, slots=True)
class Exchanged:
    """The session that an access key was exchanged for, verified by our own keys."""

    token: str
    identity: Identity


@dataclass(frozen=True, slots=True)
class TooMany:
    """The key was not exchanged: too many keys that nobody knows."""

    wait_ns: int


@dataclass(slots=True)
class _Known:
    """What is remembered of one key with one set of options."""

    answer: Exchanged | None = None
    answered_s: float = 0.0
    refused_until_s: float = 0.0
    worked_until_s: float = 0.0
    running: "asyncio.Task[Exchanged | Reason] | None" = None


_Call = Callable[[bool], Awaitable[Exchanged | Reason]]


class Exchanges:
    def __init__(
        self,
        rules: AccessKeyRules,
        revocations: Revocations,
        chains: Chains,
        tasks: Tasks,
        clock: Clock,
        *,
        tell: Tell = changes.nobody,
    ) -> None:
        """chains: told of every key that is exchanged or refused."""
        self._rules = rules
        self._revocations = revocations
        self._chains = chains
        self._tasks = tasks
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._allowances = Allowances(capacity=20_000)
        self._tell = tell

    def remembered(self, key: str, options: ExchangeOptions) -> "Exchanged | Reason | None":
        """The answer for `key` where there is one that nothing has to be done about; else None."""
        known = self._known.get(key_digest(key, options))
        if known is None:
            return None
        now_s = self._clock.mono_s()
        if known.refused_until_s > now_s:
            return Reason.ACCESS_KEY_REFUSED
        return self._usable(known) if now_s - known.answered_s <= self._rules.remember_s * _QUIETLY else None

    async def exchange(
        self, key: str, options: ExchangeOptions, client: str, call: _Call
    ) -> "Exchanged | Reason | TooMany":
        """The session for `key`, from memory where that is fresh enough.

        call(worked_before): asks Descope. A fault it raises passes through unless an answer may still serve.
        """
        digest = key_digest(key, options)
        known = self._known.get(digest) or _Known()
        now_s = self._clock.mono_s()
        if known.refused_until_s > now_s:
            return Reason.ACCESS_KEY_REFUSED
        answer = self._usable(known)
        age_s = now_s - known.answered_s
        if answer is not None and age_s <= self._rules.remember_s:
            if age_s > self._rules.remember_s * _QUIETLY and known.running is None:
                self._start(digest, known, call)
            return answer
        if known.running is None:
            wait_ns = self._spend(known, client)
            if wait_ns:
                return TooMany(wait_ns)
            self._start(digest, known, call)
        assert known.running is not None  # noqa: S101  # for the type checker: _start has just set it
        try:
            return await asyncio.shield(known.running)
        except IdentityProviderError:
            answer = self._usable(known)
            if answer is not None and now_s - known.answered_s <= self._rules.max_stale_s:
                return answer
            raise

    def is_refused(self, digest: bytes) -> bool:
        """Whether the last that was heard of the key known by `digest` was a refusal."""
        known = self._known.get(digest)
        return known is not None and known.refused_until_s > self._clock.mono_s()

    def _usable(self, known: _Known) -> Exchanged | None:
        answer = known.answer
        if answer is None or answer.identity.expires_at_s <= self._clock.now_s():
            return None
        return None if self._revocations.covers(answer.identity) else answer

    def _spend(self, known: _Known, client: str) -> int:
        now_s = self._clock.mono_s()
        if known.worked_until_s > now_s:
            asked = [(_WORKED, "")]
        else:
            asked = [(_UNSEEN_BY_CLIENT, client_key(client)), (_UNSEEN_BY_ALL, "")]
        standings = self._allowances.take_all(asked, int(now_s * NS_PER_S))
        return max(standing.wait_ns for standing in standings)

    def _start(self, digest: bytes, known: _Known, call: _Call) -> None:
        self._known[digest] = known
        self._known.move_to_end(digest)
        known.running = self._tasks.spawn(self._run(digest, known, call), "exchange an access key")
        self._make_room()

    async def _run(self, digest: bytes, known: _Known, call: _Call) -> Exchanged | Reason:
        try:
            outcome = await call(known.worked_until_s > self._clock.mono_s())
        finally:
            known.running = None
        now_s = self._clock.mono_s()
        if isinstance(outcome, Exchanged):
            self.learn(digest, outcome, now_s)
        else:
            self.learn_refusal(digest, now_s + REFUSED_S)
        return outcome

    def learn(self, digest: bytes, answer: Exchanged, at_s: float) -> None:
        """A key was exchanged, here or by somebody else, at `at_s` of the monotonic clock."""
        known = self._known.setdefault(digest, _Known())
        if at_s <= max(known.answered_s if known.answer is not None else 0.0, known.refused_until_s - REFUSED_S):
            return  # overtaken by a later answer
        known.answer, known.answered_s = answer, at_s
        known.worked_until_s = at_s + WORKED_S
        self._chains.renewed(digest, answer.identity, digest)
        self._tell(changes.key_exchanged(digest, answer.token, at_s))
        self._make_room()

    def learn_refusal(self, digest: bytes, until_s: float) -> None:
        """A key was refused: what was remembered ends at once, and its repetition is kept from Descope until then."""
        known = self._known.setdefault(digest, _Known())
        if known.refused_until_s >= until_s:
            return
        known.answer = None
        known.refused_until_s = until_s
        self._chains.refused(digest, Reason.ACCESS_KEY_REFUSED)
        self._tell(changes.key_refused(digest, until_s))
        self._make_room()

    def stale(self, digest: bytes) -> Exchanged | None:
        """What may still serve for a key while Descope cannot be asked."""
        known = self._known.get(digest)
        if known is None or self._clock.mono_s() - known.answered_s > self._rules.max_stale_s:
            return None
        return self._usable(known)

    def changes(self) -> Iterator[Change]:
        """All that is remembered, as it would be told."""
        for digest, known in self._known.items():
            if known.answer is not None:
                yield changes.key_exchanged(digest, known.answer.token, known.answered_s)
            if known.refused_until_s > self._clock.mono_s():
                yield changes.key_refused(digest, known.refused_until_s)

    def _make_room(self) -> None:
        """Keys that never worked go first: they are what a flood is made of."""
        now_s = self._clock.mono_s()
        while len(self._known) > _MOST:
            idle = (d for d, k in self._known.items() if k.running is None and k.worked_until_s <= now_s)
            del self._known[next(idle, next(iter(self._known)))]


def key_digest(key: str, options: ExchangeOptions) -> bytes:
    """What an exchange is remembered by: lengths go in too, so that no two triples spell the same text."""
    parts = (key, options.claims, options.tenant)
    return hashlib.sha256(b"".join(b"%d:%s" % (len(p), p) for p in (part.encode() for part in parts))).digest()
