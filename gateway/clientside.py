"""What an exchange with an upstream asks of the client's side, and how it can end."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from gateway.connection import Connection
from gateway.core.errors import GatewayError, UpstreamError
from gateway.endings import EventsEnding
from gateway.tasks import Tasks


class BodyTooLarge(GatewayError):
    """The request's body is larger than its route allows."""


class BrokenOff(GatewayError):
    """The upstream broke off after its reply had begun; `relayed` tells how far it went."""

    def __init__(self, relayed: "Relayed", cause: UpstreamError) -> None:
        super().__init__(str(cause))
        self.relayed = relayed


class BodyBroken(GatewayError):
    """The request's body is not what its head promised, or stopped coming."""


class ClientSide(Protocol):
    """The client, as the upstream's side needs it."""

    http10: bool
    body_length: int | None  # None where there is a body: chunked
    has_body: bool

    def replied(self) -> None:
        """The reply to what `Exchange.start_at_once` sent has begun to come, or never will."""

    @property
    def keep_alive(self) -> bool:
        """Whether the connection may serve another request after this one; asked when the reply begins."""

    async def read(self, idle_s: float) -> bytes:
        """The next piece of the body, b"" at its end; raises BodyBroken."""

    def ask_for_body(self) -> None:
        """Send `100 Continue` if the client waits for it."""

    def write(self, data: bytes) -> None:
        """Raises ConnectionError once the client has gone."""

    def send(self, data: bytes) -> None:
        """As `write`, at the end of this turn of the event loop; for what needs no `drain`."""

    async def drain(self, idle_s: float) -> None:
        """Wait until the client has taken most of what was written; raises ConnectionError if it takes nothing."""

    def reply_lines(self, reply: Connection, cookies: tuple[bytes, ...]) -> list[bytes]:
        """Header lines of the reply that has come over a connection, framing left out."""

    @property
    def events(self) -> EventsEnding | None:
        """How the reply is to be ended, once `reply_lines` has been called for an event stream."""

    def abort(self) -> None:
        """End the client's connection at once."""

    def tunnel(self, connection: Connection, tasks: Tasks) -> "asyncio.Future[None]":
        """Hand the client's bytes to `connection` from now on, and back; done when either side has ended."""


@dataclass(slots=True)
class Relayed:
    """How an exchange went, for the log. status 0: no reply had begun."""

    status: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    keep_alive: bool = True
    upstream_s: float = 0.0
