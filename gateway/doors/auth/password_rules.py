"""What a new password must be like, and may be sent as: asked of Descope now and then, and checked first here."""

from gateway.core.errors import IdentityProviderError
from gateway.core.model import RequestFacts
from gateway.doors.auth.desk import Again, Desk
from gateway.doors.auth.outcome import Outcome
from gateway.idp_call import IdpRefusal
from gateway.idp_methods import account
from gateway.idp_methods import password as calls
from gateway.idp_methods.password import PasswordPolicy

NOT_TAKEN = "The new password is not accepted."
_POLICY_S = 300.0


class PasswordRules:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._policy: PasswordPolicy | None = None
        self._until_s = 0.0

    async def policy(self) -> PasswordPolicy | None:
        """The project's policy, asked for every five minutes; None while Descope cannot tell, who judges in the end."""
        now_s = self._desk.clock.mono_s()
        if self._policy is None or self._until_s <= now_s:
            try:
                answer = await self._desk.sessions.state.asked(calls.policy())
            except IdentityProviderError:
                return self._policy
            if isinstance(answer, PasswordPolicy):
                self._policy, self._until_s = answer, now_s + _POLICY_S
        return self._policy

    async def set(self, facts: RequestFacts, new: str, refresh_token: str, again: Again) -> Outcome | None:
        """Give the owner of `refresh_token` a new password; None when that is done."""
        person = await self._desk.ask(facts, account.me(refresh_token), again, NOT_TAKEN)
        if isinstance(person, Outcome):
            return person
        if not person.login_ids:
            return self._desk.refused(facts, IdpRefusal(400), again, NOT_TAKEN)
        return await self._desk.ask(facts, calls.update(person.login_ids[0], new, refresh_token), again, NOT_TAKEN)


def is_password(text: str) -> bool:
    """What may be sent as a password: up to 1,024 characters that UTF-8 can spell."""
    return 0 < len(text) <= 1024 and not any("\ud800" <= char <= "\udfff" for char in text)


def what_lacks(policy: PasswordPolicy | None, password: str) -> str:
    """A sentence for a password that the policy does not take; "" for one that it does, or while nobody knows it."""
    if policy is None:
        return ""
    kinds = [
        ("a small letter", policy.lowercase, any(c.islower() for c in password)),
        ("a capital letter", policy.uppercase, any(c.isupper() for c in password)),
        ("a digit", policy.number, any(c.isdigit() for c in password)),
        ("another sign than letters and digits", policy.other, any(not c.isalnum() for c in password)),
    ]
    missing = [f"at least {policy.min_length} characters"] if len(password) < policy.min_length else []
    missing += [word for word, wanted, has in kinds if wanted and not has]
    return f"The new password needs {', '.join(missing)}." if missing else ""
