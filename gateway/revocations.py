"""What was signed out here: single tokens until they expire anyway, and subjects whose older tokens no longer count."""

from collections import OrderedDict

from gateway.chains import Chains
from gateway.clock import Clock
from gateway.core.model import Identity, Reason, RefreshToken

_TOKENS = 100_000
_SUBJECTS = 20_000


class Revocations:
    """Bounded; when it overflows, the oldest entries go, and Descope's own word on renewal is what remains.

    state: another number whenever anything more is refused than before.
    """

    def __init__(self, clock: Clock, chains: Chains) -> None:
        """chains: who is told at once."""
        self.state = 0
        self._clock = clock
        self._chains = chains
        self._tokens: OrderedDict[bytes, int] = OrderedDict()
        self._subjects: OrderedDict[str, float] = OrderedDict()
        self._exempt: OrderedDict[bytes, int] = OrderedDict()

    def revoke(self, digest: bytes, expires_at_s: int) -> None:
        """Refuse this token from now on."""
        self.state += 1
        _put(self._tokens, digest, expires_at_s, _TOKENS, self._clock.now_s())
        self._chains.refused(digest, Reason.SESSION_REVOKED)

    def revoke_subject(self, subject: str) -> None:
        """Refuse every token of `subject` issued until now, whole second included: `iat` knows no finer time."""
        self.state += 1
        self._subjects.pop(subject, None)
        self._subjects[subject] = int(self._clock.now_s())
        while len(self._subjects) > _SUBJECTS:
            self._subjects.popitem(last=False)
        self._chains.subject_signed_out(subject, self.covers)

    def exempt(self, token: Identity | RefreshToken) -> None:
        """This token was issued after its subject was revoked, though maybe within the same second."""
        if token.subject in self._subjects:
            _put(self._exempt, token.digest, token.expires_at_s, _TOKENS, self._clock.now_s())

    def covers(self, token: Identity | RefreshToken) -> bool:
        """Whether this token was signed out."""
        if token.digest in self._tokens:
            return True
        since_s = self._subjects.get(token.subject)
        return since_s is not None and token.issued_at_s <= since_s and token.digest not in self._exempt

    def names(self, digest: bytes) -> bool:
        """Whether the one token that is known by `digest` was signed out."""
        return digest in self._tokens


def _put(table: OrderedDict[bytes, int], digest: bytes, expires_at_s: int, most: int, now_s: float) -> None:
    table[digest] = expires_at_s
    table.move_to_end(digest)
    while table and (len(table) > most or next(iter(table.values())) < now_s - 60):
        table.popitem(last=False)
