"""Copies of what is shared, in the memory of one process: taken up as others tell of it, and told again to a newcomer.

A worker answers from its copies without asking anybody. When the keeper is killed, the next one learns from the
workers' copies what the last one knew, so that no session is lost with it. Tokens that are told of are verified like
anybody's; what does not verify is passed over.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from gateway.assertion_keys import AssertionKeys
from gateway.changes import Change
from gateway.core import tokens
from gateway.core.errors import IdentityProviderError
from gateway.core.model import Identity, Kind, RefreshToken, TokenRules
from gateway.exchanges import Exchanged
from gateway.idp_call import SessionPair
from gateway.keyring import Found
from gateway.remembered import Remembered
from gateway.renewals import Renewed
from gateway.telemetry import log


@dataclass(slots=True)
class Copies:
    """assertion_keys: None where no upstream gets assertions, as far as this process knows."""

    rules: TokenRules
    known: Remembered
    assertion_keys: Callable[[], AssertionKeys | None]
    _taken_up: dict[str, Callable[..., None]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # As `changes` names them.
        self._taken_up = {
            "revoked": self._revoked,
            "subject_revoked": self._subject_revoked,
            "exempted": self._exempted,
            "renewed": self._renewed,
            "spent": self._spent,
            "delivered": self._delivered,
            "key_exchanged": self._exchanged,
            "key_refused": self._key_refused,
            "rest": self._rest,
            "signing_keys": self._signing_keys,
            "assertion_keys": self._assertion_keys,
        }

    def changes(self) -> Iterator[Change]:
        """Everything known here. Keys come first, for the rest is verified with them."""
        keys = self.assertion_keys()
        yield from chain(
            self.known.keyring.changes(),
            self.known.rests.changes(),
            self.known.revocations.changes(),
            self.known.renewals.changes(),
            self.known.exchanges.changes(),
            keys.changes() if keys is not None else (),
        )

    def hear(self, change: Change) -> None:
        """Take up what somebody else tells."""
        what, *said = change
        take_up = self._taken_up.get(what)
        if take_up is None:
            log.error("internal error", change=what, fault="nobody knows this change")
            return
        try:
            take_up(*said)
        except IdentityProviderError as err:  # there are no keys to verify with
            log.warning("a change was not taken up", change=what, cause=str(err))

    def _revoked(self, digest: str, expires_at_s: int) -> None:
        self.known.revocations.revoke(bytes.fromhex(digest), expires_at_s)

    def _subject_revoked(self, subject: str, since_s: float) -> None:
        self.known.revocations.revoke_subject_until(subject, since_s)

    def _exempted(self, digest: str, expires_at_s: int) -> None:
        self.known.revocations.exempt_digest(bytes.fromhex(digest), expires_at_s)

    def _renewed(self, digest: str, pair: list[Any], at_s: float, until_s: float) -> None:
        session, refresh, profile = pair
        keys = self.known.keyring.keys
        identity = tokens.session(session, keys, self.rules)
        token = tokens.refresh(refresh, keys, self.rules)
        if isinstance(identity, Identity) and isinstance(token, RefreshToken) and identity.subject == token.subject:
            if profile:
                self.known.profiles.learn(identity, profile)
            renewed = Renewed(SessionPair(session, refresh, profile), identity, token, at_s)
            self.known.renewals.remember(bytes.fromhex(digest), renewed, until_s)

    def _spent(self, digest: str, expires_at_s: int) -> None:
        self.known.renewals.spend(bytes.fromhex(digest), expires_at_s)

    def _delivered(self, digests: list[str], until_s: float) -> None:
        self.known.renewals.delivered([bytes.fromhex(digest) for digest in digests], until_s)

    def _exchanged(self, digest: str, token: str, at_s: float) -> None:
        identity = tokens.session(token, self.known.keyring.keys, self.rules)
        if isinstance(identity, Identity):
            answer = Exchanged(token, replace(identity, kind=Kind.ACCESS_KEY))
            self.known.exchanges.learn(bytes.fromhex(digest), answer, at_s)

    def _key_refused(self, digest: str, until_s: float) -> None:
        self.known.exchanges.learn_refusal(bytes.fromhex(digest), until_s)

    def _rest(self, operation: str, until_s: float, busy: bool) -> None:  # as `changes` spells it
        self.known.rests.adopt(operation, until_s, busy=busy)

    def _signing_keys(self, document: object, at_s: float, is_emulator: bool) -> None:
        self.known.keyring.adopt(Found(document, is_emulator, at_s))

    def _assertion_keys(self, known: list[Any]) -> None:
        keys = self.assertion_keys()
        if keys is not None:
            keys.adopt(known)
