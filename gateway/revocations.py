"""What was signed out here: single tokens until they expire anyway, and subjects whose older tokens no longer count."""

from collections import OrderedDict
from collections.abc import Iterator

from gateway import changes
from gateway.chains import Chains
from gateway.changes import Change, Tell
from gateway.clock import Clock
from gateway.core.model import Identity, Reason, RefreshToken

_TOKENS = 100_000
_SUBJECTS = 20_000


class Revocations:
    """Bounded; when it overflows, the oldest entries go, and Descope's own word on renewal is what remains.

    state: another number whenever anything more is refused than before.
    """

    def __init__(self, clock: Clock, chains: Chains, tell: Tell = changes.nobody) -> None:
        """chains, tell: who is told at once."""
        self.state = 0
        self._clock = clock
        self._chains = chains
        self._tell = tell
        self._tokens: OrderedDict[bytes, int] = OrderedDict()
        self._subjects: OrderedDict[str, float] = OrderedDict()
        self._exempt: OrderedDict[bytes, int] = OrderedDict()

    def revoke(self, digest: bytes, expires_at_s: int) -> None:
        """Refuse this token from now on."""
        if digest in self._tokens:
            return
        self.state += 1
        _put(self._tokens, digest, expires_at_s, _TOKENS, self._clock.now_s())
        self._tell(changes.revoked(digest, expires_at_s))
        self._chains.refused(digest, Reason.SESSION_REVOKED)

    def revoke_subject(self, subject: str) -> None:
        """Refuse every token of `subject` issued until now, whole second included: `iat` knows no finer time."""
        self.revoke_subject_until(subject, int(self._clock.now_s()))

    def revoke_subject_until(self, subject: str, since_s: float) -> None:
        """As `revoke_subject`, said at `since_s`."""
        self.state += 1
        before_s = self._subjects.pop(subject, 0.0)
        self._subjects[subject] = max(since_s, before_s)
        while len(self._subjects) > _SUBJECTS:
            self._subjects.popitem(last=False)
        if since_s > before_s:
            self._tell(changes.subject_revoked(subject, since_s))
        self._chains.subject_signed_out(subject, self.covers)

    def exempt(self, token: Identity | RefreshToken) -> None:
        """This token was issued after its subject was revoked, though maybe within the same second."""
        if self.knows_subject(token.subject):
            self.exempt_digest(token.digest, token.expires_at_s)

    def knows_subject(self, subject: str) -> bool:
        """Whether this subject signed out everywhere."""
        return subject in self._subjects

    def exempt_digest(self, digest: bytes, expires_at_s: int) -> None:
        """As `exempt`, for who knows that its subject was revoked."""
        if digest not in self._exempt:
            _put(self._exempt, digest, expires_at_s, _TOKENS, self._clock.now_s())
            self._tell(changes.exempted(digest, expires_at_s))

    def covers(self, token: Identity | RefreshToken) -> bool:
        """Whether this token was signed out."""
        if token.digest in self._tokens:
            return True
        since_s = self._subjects.get(token.subject)
        return since_s is not None and token.issued_at_s <= since_s and token.digest not in self._exempt

    def names(self, digest: bytes) -> bool:
        """Whether the one token that is known by `digest` was signed out."""
        return digest in self._tokens

    def changes(self) -> Iterator[Change]:
        """All that is refused, as it would be told."""
        yield from (changes.subject_revoked(*one) for one in self._subjects.items())
        yield from (changes.exempted(*one) for one in self._exempt.items())
        yield from (changes.revoked(*one) for one in self._tokens.items())


def _put(table: OrderedDict[bytes, int], digest: bytes, expires_at_s: int, most: int, now_s: float) -> None:
    table[digest] = expires_at_s
    table.move_to_end(digest)
    while table and (len(table) > most or next(iter(table.values())) < now_s - 60):
        table.popitem(last=False)
