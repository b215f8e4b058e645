"""What becomes of the sessions that open streams were opened with: renewed, refused, signed out.

A stream outlives the token it came with, because somebody's next request renews the session. Renewals, exchanges and
sign-outs tell it here, by digest, and whoever follows a chain learns of it at once. Nobody asks the renewals instead:
they forget a result as soon as it has been delivered, for it holds tokens. Here are only digests and the newest
identity, and only as long as a stream is open, so the number of open streams bounds this memory.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from gateway.core.model import Identity, Reason
from gateway.core.tokens import digest_of

K = TypeVar("K", bytes, str)


class Chain:
    """One session as one stream sees it. identity: its newest. over: why it has ended, None as long as it goes on."""

    __slots__ = ("_first", "_last", "identity", "on_over", "over")

    def __init__(self, identity: Identity, digests: Iterable[bytes]) -> None:
        self.identity = identity
        self.over: Reason | None = None
        self.on_over: Callable[[], None] | None = None
        # Known by what it came with as long as it lasts, and by the newest: a sign-out may bring either.
        self._first = frozenset((identity.digest, *digests))
        self._last: frozenset[bytes] = frozenset()

    @property
    def digests(self) -> frozenset[bytes]:
        """Of the tokens and keys that it is known by."""
        return self._first | self._last

    def _go_on(self, identity: Identity, digest: bytes) -> None:
        self.identity = identity
        self._last = frozenset((identity.digest, digest))


class Chains:
    """All chains that somebody follows."""

    def __init__(self) -> None:
        self._by_digest: dict[bytes, set[Chain]] = {}
        self._by_subject: dict[str, set[Chain]] = {}
        self._heard: dict[str, bytes] = {}  # of each subject the session that came last, and needs no second look

    # --- for whoever follows ----------------------------------------------------------------------------------------

    def follow(self, identity: Identity, digests: Iterable[bytes]) -> Chain:
        """The chain that `identity` belongs to. digests: of the refresh tokens or the access key beside it."""
        chain = Chain(identity, digests)
        self._by_subject.setdefault(identity.subject, set()).add(chain)
        self._heard.pop(identity.subject, None)
        self._know(chain, chain.digests)
        return chain

    def leave(self, chain: Chain) -> None:
        """Nobody follows it any more."""
        chain.on_over = None
        self._forget(chain, chain.digests)
        _take_out(self._by_subject, chain.identity.subject, chain)
        if chain.identity.subject not in self._by_subject:
            self._heard.pop(chain.identity.subject, None)

    # --- for those who know -----------------------------------------------------------------------------------------

    def renewed(self, old: bytes, identity: Identity, new: bytes) -> None:
        """What is known by `old` has a new session. new: by what its refresh token (or access key) is known."""
        for chain in tuple(self._by_digest.get(old, ())):
            before = chain.identity
            if before.subject == identity.subject and before.issued_at_s <= identity.issued_at_s:
                self._goes_on(chain, identity, new)

    def presented(self, identity: Identity, refreshes: Sequence[str]) -> None:
        """A session that counts came with these refresh tokens: perhaps it was renewed elsewhere, by the page itself.

        Asked on every request with cookies, so it costs nothing where the caller has no stream open.
        """
        chains = self._by_subject.get(identity.subject)
        if chains is None or self._heard.get(identity.subject) == identity.digest:
            return
        self._heard[identity.subject] = identity.digest
        for chain in tuple(chains):
            if identity.issued_at_s > chain.identity.issued_at_s:
                known = [digest for digest in map(digest_of, refreshes) if digest in chain.digests]
                if known:
                    self._goes_on(chain, identity, known[0])

    def refused(self, digest: bytes, reason: Reason) -> None:
        """What is known by `digest` opens nothing any more."""
        for chain in tuple(self._by_digest.get(digest, ())):
            self.end(chain, reason)

    def subject_signed_out(self, subject: str, covers: Callable[[Identity], bool]) -> None:
        """Somebody signed out everywhere. covers: whether that meant an identity of theirs."""
        for chain in tuple(self._by_subject.get(subject, ())):
            if covers(chain.identity):
                self.end(chain, Reason.SESSION_REVOKED)

    def end(self, chain: Chain, reason: Reason) -> None:
        """A chain that has ended never goes on."""
        if chain.over is None:
            chain.over = reason
            if chain.on_over is not None:
                chain.on_over()

    # --- the index --------------------------------------------------------------------------------------------------

    def _goes_on(self, chain: Chain, identity: Identity, digest: bytes) -> None:
        before = chain.digests
        chain._go_on(identity, digest)  # noqa: SLF001  # the two halves of one thing
        self._forget(chain, before - chain.digests)
        self._know(chain, chain.digests - before)

    def _know(self, chain: Chain, digests: Iterable[bytes]) -> None:
        for digest in digests:
            self._by_digest.setdefault(digest, set()).add(chain)

    def _forget(self, chain: Chain, digests: Iterable[bytes]) -> None:
        for digest in digests:
            _take_out(self._by_digest, digest, chain)


def _take_out(index: dict[K, set[Chain]], key: K, chain: Chain) -> None:
    chains = index.get(key)
    if chains is not None:
        chains.discard(chain)
        if not chains:
            del index[key]
