"""What would have been sent to people. Nothing leaves the machine; whoever runs the emulator reads it here."""

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gateway.emulator.channels import Channel, compared
from gateway.emulator.shelf import Shelf

KEPT_MESSAGES = 200


@dataclass(frozen=True, slots=True)
class Message:
    """A code or a link on its way to somebody.

    link_id: the number that an enchanted link stands under. decoys: the other numbers in the same message, each with a
    link that is good for nothing.
    """

    number: int
    at_s: float
    to: str
    channel: Channel
    subject: str
    code: str = field(default="", repr=False)
    link: str = field(default="", repr=False)
    link_id: str = ""
    decoys: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def links(self) -> list[tuple[str, str]]:
        """All links as the message shows them, by number; the number is empty for a single one."""
        return sorted([(self.link_id, self.link), *self.decoys]) if self.link else []

    def as_json(self) -> dict[str, Any]:
        """As the control surface shows it; `link` is the one that works."""
        return {
            "number": self.number,
            "time": self.at_s,
            "to": self.to,
            "channel": self.channel,
            "subject": self.subject,
            "code": self.code,
            "link": self.link,
            "linkId": self.link_id,
            "decoys": [{"linkId": number, "link": link} for number, link in self.decoys],
        }


class Inbox:
    """The last messages to anybody, and how long ago each address got one."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque(maxlen=KEPT_MESSAGES)
        self._numbers = itertools.count(1)
        self._sent_s: Shelf[float] = Shelf()

    def __iter__(self) -> Iterator[Message]:
        """The messages, newest first."""
        return reversed(self._messages)

    def put(self, at_s: float, to: str, channel: Channel, subject: str, **content: Any) -> Message:
        """Deliver a message; `content` is the code, or the link with what belongs to it."""
        message = Message(next(self._numbers), at_s, to, channel, subject, **content)
        self._messages.append(message)
        return message

    def last(self, to: str, channel: Channel | None = None) -> Message:
        """The newest message to this address; LookupError when there is none."""
        for message in self:
            if compared(message.to) == compared(to) and channel in {None, message.channel}:
                return message
        raise LookupError(f"nothing was sent to {to!r}")

    def wait_s(self, name: str, now_s: float, wait_s: float) -> float:
        """Seconds until `name` may be sent to again; 0.0 where it may be now, and then the wait begins anew."""
        sent_s = self._sent_s.get(name, now_s)
        # A clock that was set back would otherwise make people wait for the time it went back.
        if sent_s is not None and 0 <= now_s - sent_s < wait_s:
            return sent_s + wait_s - now_s
        self._sent_s.put(name, now_s, now_s + wait_s, now_s)
        return 0.0

    def forget(self) -> None:
        """Throw all messages away and let everybody be sent to again."""
        self._messages.clear()
        self._sent_s = Shelf()
