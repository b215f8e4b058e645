"""What one process remembers of sessions and access keys, whoever told it: what `State` answers without a question."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from gateway import changes
from gateway.chains import Chains
from gateway.changes import Tell
from gateway.clock import Clock
from gateway.core.model import AccessKeyRules, CookieRules, Reason, RefreshRules, RefreshToken, TokenRules
from gateway.exchanges import Exchanges
from gateway.keyring import Keyring
from gateway.profiles import Profiles
from gateway.renewals import Renewals
from gateway.rests import Rests
from gateway.revocations import Revocations
from gateway.tasks import Tasks
from gateway.verification import Verifier


@dataclass(frozen=True, slots=True)
class SessionRules:
    """What a gateway's route file says about sessions."""

    tokens: TokenRules
    refresh: RefreshRules
    access_keys: AccessKeyRules
    cookies: CookieRules


class Remembered:
    def __init__(
        self,
        rules: SessionRules,
        *,
        keyring: Keyring,
        rests: Rests,
        tasks: Tasks,
        clock: Clock,
        me: Callable[[str], Awaitable[Mapping[str, object] | Reason]],
        on_reuse: Callable[[RefreshToken], None] = lambda token: None,
        tell: Tell = changes.nobody,
        tell_of_ends: Tell = changes.nobody,
    ) -> None:
        """me: says who the owner of a refresh token is. tell: hears of what is learnt; tell_of_ends: of signing out."""
        self.keyring = keyring
        self.rests = rests
        self.chains = Chains()
        self.revocations = Revocations(clock, self.chains, tell_of_ends)
        self.verifier = Verifier(rules.tokens, keyring=keyring, revocations=self.revocations, clock=clock)
        self.renewals = Renewals(
            rules.refresh,
            rules.cookies,
            revocations=self.revocations,
            chains=self.chains,
            tasks=tasks,
            clock=clock,
            on_reuse=on_reuse,
            tell=tell,
        )
        self.exchanges = Exchanges(rules.access_keys, self.revocations, self.chains, tasks, clock, tell=tell)
        self.profiles = Profiles(me, tasks, clock)
        self.successor = self.renewals.successor
        self.cookie_lines = self.renewals.cookie_lines
        self.remembered_key = self.exchanges.remembered
        self.is_key_refused = self.exchanges.is_refused
        self.person = self.profiles.person

    def is_resting(self, operation: str) -> bool:
        return self.rests.remaining_s(operation) > 0
