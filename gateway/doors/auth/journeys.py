"""Where a sign-in that leaves this site comes back to: small cookies that only the browser which left has (T-10).

Each sign-in that leaves has a cookie of its own, so that two tabs do not disturb each other. Its name carries a random
id, which also travels in the address that the browser comes back to; its value is when it began, for what, and where
the person was going. They live ten minutes, at most five of them at a time, and are cleared once they were used. None
of it needs a signature: `__Host-` keeps other hosts from planting it, and the way back is judged anew when it is used.
"""

import base64
import binascii
import secrets
from dataclasses import dataclass

from gateway.core.credentials import cookie_pairs
from gateway.core.model import RequestFacts

LIFE_S = 600
AT_MOST = 5
_STEM = "gateway-journey-"
_ID_CHARS = 16
_RD_CHARS = 1500


@dataclass(frozen=True, slots=True)
class Journey:
    """A sign-in under way. purpose: the method it is for. rd: where the person was going. extra: the method's own."""

    id: str
    purpose: str
    rd: str
    began_s: int
    extra: str = ""


def begin(
    facts: RequestFacts, purpose: str, rd: str, now_s: float, *, secure: bool, extra: str = ""
) -> tuple[Journey, tuple[bytes, ...]]:
    """A new journey with the cookies to set: its own, and the end of the oldest where there are too many."""
    journey_id = secrets.token_urlsafe(12)[:_ID_CHARS]
    journey = Journey(journey_id, purpose, rd if len(rd) <= _RD_CHARS else "/", int(now_s), extra)
    kept = sorted(_all(facts, secure), key=lambda one: one.began_s)
    surplus = kept[: max(len(kept) - AT_MOST + 1, 0)]
    value = ".".join([journey.purpose, str(journey.began_s), _spelt(journey.rd), _spelt(extra)])
    return journey, (_line(journey.id, value, LIFE_S, secure), *(end(old, secure=secure) for old in surplus))


def find(facts: RequestFacts, journey_id: str, purpose: str, now_s: float, *, secure: bool) -> Journey | None:
    """The journey that came back; None where this browser did not begin it, or too long ago."""
    found = [one for one in _all(facts, secure) if one.id == journey_id and one.purpose == purpose]
    if len(found) != 1 or not 0 <= now_s - found[0].began_s + 5 <= LIFE_S + 5:
        return None
    return found[0]


def late(facts: RequestFacts, journey_id: str, purpose: str, *, secure: bool) -> Journey | None:
    """As `find`, however long ago it began: for whoever is signed in by now, and only wants to go on."""
    found = [one for one in _all(facts, secure) if (one.id, one.purpose) == (journey_id, purpose)]
    return found[0] if len(found) == 1 else None


def end(journey: Journey, *, secure: bool) -> bytes:
    """The cookie that takes this one's away."""
    return _line(journey.id, "", 0, secure)


def _all(facts: RequestFacts, secure: bool) -> list[Journey]:
    stem = _prefix(secure).encode()
    found = []
    for name, value in cookie_pairs(facts):
        if name.startswith(stem):
            journey = _read(name[len(stem) :].decode("latin-1"), value.decode("latin-1"))
            if journey is not None:
                found.append(journey)
    return found


def _read(journey_id: str, value: str) -> Journey | None:
    parts = value.split(".")
    if len(parts) != 4 or not parts[1].isascii() or not parts[1].isdigit() or len(parts[1]) > 12:
        return None
    try:
        rd, extra = (base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode("utf-8") for part in parts[2:])
    except (binascii.Error, ValueError):
        return None
    return Journey(journey_id, parts[0], rd, int(parts[1]), extra)


def _spelt(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode("utf-8")).decode("ascii").rstrip("=")


def _prefix(secure: bool) -> str:
    """`__Host-` wherever browsers take it: it wants Secure."""
    return f"__Host-{_STEM}" if secure else _STEM


def _line(journey_id: str, value: str, max_age_s: int, secure: bool) -> bytes:
    # Lax: the way back from a provider is a navigation that another site began.
    parts = [f"{_prefix(secure)}{journey_id}={value}", "Path=/", f"Max-Age={max_age_s}", "HttpOnly", "SameSite=Lax"]
    return "; ".join([*parts, "Secure"] if secure else parts).encode("ascii")
