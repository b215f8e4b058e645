"""What is waited for between the start of a sign-in and its proof: codes, links, and who polls for a click.

An `Intent` says what the proof is of and what becomes of it. Codes and links are single-use; of a link and of what
polls for it only digests are kept.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.emulator.channels import Channel, Contact, compared
from gateway.emulator.directory import Person, digest
from gateway.emulator.errors import (
    CODE_EXPIRED,
    LINK_EXPIRED,
    LINK_PENDING,
    LINK_UNKNOWN,
    TOO_MANY_CODES,
    WRONG_CODE,
    unauthenticated,
)
from gateway.emulator.sessions import Chain
from gateway.emulator.settings import DAY_S
from gateway.emulator.shelf import Shelf

LinkKind = Literal["magic", "enchanted"]


@dataclass(frozen=True, slots=True)
class Options:
    """What a client asked of its sign-in. before: the sign-in that a step-up or a further factor adds to."""

    client_claims: Mapping[str, Any] = field(default_factory=dict)
    end_others: bool = False
    step_up: bool = False
    mfa: bool = False
    before: Chain | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A new address for somebody. keeps_other: of two people who have it now, the other one stays."""

    contact: Contact
    address: str
    adds_login: bool = False
    keeps_other: bool = False


@dataclass(frozen=True, slots=True)
class Intent:
    """Whose proof it is and what becomes of it.

    is_new: the person is in no directory yet and enters it by the proof. factor: what the proof adds to `amr`.
    address: what is proven to be theirs, "" where nothing was sent. claims: trusted ones.
    """

    person: Person
    factor: str
    is_new: bool = False
    contact: Contact | None = None
    address: str = ""
    options: Options = field(default_factory=Options)
    claims: Mapping[str, Any] = field(default_factory=dict)
    change: Change | None = None


@dataclass(slots=True)
class _Code:
    intent: Intent
    digest: str
    expires_s: float
    attempts_left: int


class Codes:
    """One-time codes, one at a time for each login id and channel."""

    def __init__(self) -> None:
        self._codes: Shelf[_Code] = Shelf()

    def issue(
        self, login_id: str, channel: Channel, intent: Intent, *, now_s: float, ttl_s: float, attempts: int
    ) -> str:
        """A fresh code in place of any before it."""
        code = f"{secrets.randbelow(10**6):06}"
        made = _Code(intent, digest(code), now_s + ttl_s, attempts)
        # Kept longer than it is good for, so that a late one is told from a wrong one.
        self._codes.put(_name(login_id, channel), made, now_s + ttl_s + DAY_S, now_s)
        return code

    def redeem(self, login_id: str, channel: Channel, code: str, now_s: float) -> Intent:
        """What the code was for; it is spent. ApiError for a code that is wrong, late, or one too many."""
        name = _name(login_id, channel)
        known = self._codes.get(name, now_s)
        if known is None:
            raise unauthenticated("The code is wrong", WRONG_CODE)
        if now_s >= known.expires_s:
            raise unauthenticated("The code has expired", CODE_EXPIRED)
        if known.attempts_left <= 0:
            raise unauthenticated("There were too many wrong codes; ask for a new one", TOO_MANY_CODES)
        if not secrets.compare_digest(digest(code), known.digest):
            known.attempts_left -= 1
            raise unauthenticated("The code is wrong", WRONG_CODE)
        self._codes.take(name, now_s)
        return known.intent


@dataclass(frozen=True, slots=True)
class _Link:
    kind: LinkKind
    intent: Intent
    poll_digest: str


@dataclass(slots=True)
class _Poll:
    intent: Intent
    clicked: bool = False


class Links:
    """Links that have not been used, and what polls until the right one is."""

    def __init__(self) -> None:
        self._links: Shelf[_Link] = Shelf()
        self._polls: Shelf[_Poll] = Shelf()

    def issue(self, kind: LinkKind, intent: Intent, *, now_s: float, ttl_s: float) -> tuple[str, str]:
        """A token for a link, and for an enchanted one the reference to poll with."""
        token, pending_ref = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self._links.put(digest(token), _Link(kind, intent, digest(pending_ref)), now_s + ttl_s, now_s)
        if kind == "enchanted":
            self._polls.put(digest(pending_ref), _Poll(intent), now_s + ttl_s, now_s)
        return token, pending_ref

    def redeem(self, token: str, now_s: float) -> Intent:
        """What a magic link was for; it is spent."""
        return self._take("magic", token, now_s).intent

    def click(self, token: str, now_s: float) -> None:
        """Let whoever polls for this enchanted link have its session; the link is spent."""
        link = self._take("enchanted", token, now_s)
        poll = self._polls.get(link.poll_digest, now_s)
        if poll is not None:
            poll.clicked = True

    def collect(self, pending_ref: str, now_s: float) -> Intent:
        """What the reference waited for, once; ApiError until the link is clicked, and after it has expired."""
        poll = self._polls.get(digest(pending_ref), now_s)
        if poll is None:
            raise unauthenticated("There is no such link waiting, or it has expired", LINK_UNKNOWN)
        if not poll.clicked:
            raise unauthenticated("The link has not been clicked yet", LINK_PENDING)
        self._polls.take(digest(pending_ref), now_s)
        return poll.intent

    def _take(self, kind: LinkKind, token: str, now_s: float) -> _Link:
        found = self._links.get(digest(token), now_s)
        # A token sent to the other method's endpoint is not spent there.
        if found is None or found.kind != kind:
            raise unauthenticated("The link was used before or has expired", LINK_EXPIRED)
        self._links.take(digest(token), now_s)
        return found


def _name(login_id: str, channel: Channel) -> str:
    return f"{channel} {compared(login_id)}"
