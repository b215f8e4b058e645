"""Sign-ins that are under way at a provider: an OAuth provider, or the identity provider of a tenant."""

import secrets
from dataclasses import dataclass
from typing import Literal

from gateway.emulator.directory import Person, digest
from gateway.emulator.errors import unauthenticated
from gateway.emulator.proofs import Options
from gateway.emulator.shelf import Shelf

FederationKind = Literal["oauth", "sso"]
ERRAND_TTL_S = 600


@dataclass(frozen=True, slots=True)
class Errand:
    """Somebody was sent to a provider. provider: its name, or the tenant's id. hint: who it probably is."""

    kind: FederationKind
    provider: str
    return_url: str
    options: Options
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Vouched:
    """Whom a provider vouches for: a person of the directory, or an e-mail address that may be anybody's."""

    errand: Errand
    person: Person | None
    email: str


class Federation:
    """Errands by their state, and what providers vouched for by its code. Each ends by being asked for once."""

    def __init__(self) -> None:
        self._errands: Shelf[Errand] = Shelf()
        self._vouched: Shelf[Vouched] = Shelf()

    def send(self, errand: Errand, now_s: float) -> str:
        """The state that the provider's page is opened with."""
        state = secrets.token_urlsafe(32)
        self._errands.put(digest(state), errand, now_s + ERRAND_TTL_S, now_s)
        return state

    def errand(self, state: str, now_s: float) -> Errand | None:
        """What this state stands for, while it is not over."""
        return self._errands.get(digest(state), now_s)

    def end(self, state: str, now_s: float) -> None:
        """The provider has decided."""
        self._errands.take(digest(state), now_s)

    def vouch(self, vouched: Vouched, *, now_s: float, ttl_s: float) -> str:
        """A code for whoever exchanges it first."""
        code = secrets.token_urlsafe(32)
        self._vouched.put(digest(code), vouched, now_s + ttl_s, now_s)
        return code

    def redeem(self, kind: FederationKind, code: str, now_s: float) -> Vouched:
        """What the code stands for; it is spent. ApiError for one that is not good, or of the other kind."""
        found = self._vouched.get(digest(code), now_s)
        if found is None or found.errand.kind != kind:
            raise unauthenticated("The code was exchanged before or has expired")
        self._vouched.take(digest(code), now_s)
        return found
