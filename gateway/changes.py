"""What changes in the state that several processes keep copies of, as lists that can be written as JSON.

Each says what is so from now on, so that hearing it twice does no harm. Digests are hexadecimal. `mono_s` is the
monotonic clock, which is the same for all processes of a machine; `expires_at_s` and `since_s` are Unix time.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

Change: TypeAlias = list[Any]
Tell: TypeAlias = Callable[[Change], None]


def nobody(change: Change) -> None:
    """Nobody listens."""


def revoked(digest: bytes, expires_at_s: int) -> Change:
    return ["revoked", digest.hex(), expires_at_s]


def subject_revoked(subject: str, since_s: float) -> Change:
    return ["subject_revoked", subject, since_s]


def exempted(digest: bytes, expires_at_s: int) -> Change:
    """A token that was issued after its subject was revoked, though maybe within the same second."""
    return ["exempted", digest.hex(), expires_at_s]


def renewed(
    digest: bytes, pair: tuple[str, str], profile: Mapping[str, str], *, at_s: float, until_mono_s: float
) -> Change:
    """pair: the session and refresh token that take the place of the refresh token known by `digest`."""
    return ["renewed", digest.hex(), [*pair, dict(profile)], at_s, until_mono_s]


def spent(digest: bytes, expires_at_s: int) -> Change:
    """A refresh token that Descope takes no more."""
    return ["spent", digest.hex(), expires_at_s]


def delivered(digests: Sequence[bytes], until_mono_s: float) -> Change:
    """The renewals of these refresh tokens have reached their client; they are remembered no longer than this."""
    return ["delivered", [digest.hex() for digest in digests], until_mono_s]


def key_exchanged(digest: bytes, token: str, at_mono_s: float) -> Change:
    return ["key_exchanged", digest.hex(), token, at_mono_s]


def key_refused(digest: bytes, until_mono_s: float) -> Change:
    return ["key_refused", digest.hex(), until_mono_s]


def rest(operation: str, until_mono_s: float, *, busy: bool) -> Change:
    return ["rest", operation, until_mono_s, busy]


def signing_keys(document: object, at_mono_s: float, *, is_emulator: bool) -> Change:
    return ["signing_keys", document, at_mono_s, is_emulator]


def assertion_keys(known: list[Any]) -> Change:
    return ["assertion_keys", known]
