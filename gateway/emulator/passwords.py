"""Passwords at rest: salted scrypt, and an equal amount of work where there is nothing to compare with."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field, replace

from gateway.emulator.errors import not_valid
from gateway.emulator.settings import PasswordPolicy

# A few milliseconds: far too cheap for production, dear enough that nobody takes the scheme for a plain digest.
_COST = 2**10


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """A password that can be compared with and not be read."""

    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    must_replace: bool = False

    def matches(self, password: str) -> bool:
        """Whether this is the password."""
        return hmac.compare_digest(_derive(password, self.salt), self.digest)


def hashed(password: str, *, must_replace: bool = False) -> PasswordHash:
    """The password, no longer readable."""
    salt = secrets.token_bytes(16)
    return PasswordHash(salt, _derive(password, salt), must_replace)


def expired(known: PasswordHash) -> PasswordHash:
    """The same password, which its owner has to replace at the next sign-in."""
    return replace(known, must_replace=True)


def is_right(known: PasswordHash | None, password: str) -> bool:
    """Whether the password is the known one; without a known one the same work is done and the answer is no."""
    matches = (known or _NOBODYS).matches(password)
    return matches and known is not None


def require_policy(policy: PasswordPolicy, password: str) -> None:
    """Raise ApiError, naming every rule the password breaks."""
    broken = broken_rules(policy, password)
    if broken:
        raise not_valid("The password needs " + ", ".join(broken))


def broken_rules(policy: PasswordPolicy, password: str) -> list[str]:
    """What the password lacks, in words; empty when it will do."""
    rules = {
        f"at least {policy.min_length} characters": len(password) >= policy.min_length,
        "a lower-case letter": not policy.lowercase or any(char.islower() for char in password),
        "an upper-case letter": not policy.uppercase or any(char.isupper() for char in password),
        "a digit": not policy.number or any(char.isdigit() for char in password),
        "a character that is neither letter nor digit": not policy.non_alphanumeric
        or any(not char.isalnum() for char in password),
    }
    return [rule for rule, kept in rules.items() if not kept]


def _derive(password: str, salt: bytes) -> bytes:
    # surrogatepass: JSON may carry lone surrogates, which must be a wrong password and no crash.
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, n=_COST, r=8, p=1)


_NOBODYS = hashed(secrets.token_hex(16))
