"""Questions, answers and changes between two processes of one gateway, as JSON over a Unix socket, both ways.

What is sent first is heard first: whoever gets an answer has heard every change that was told before it. A fault of
Descope's crosses as what it is; any other exception is a bug and crosses by its name alone.
"""

import asyncio
import json
import struct
from collections.abc import Awaitable, Callable
from typing import Any, cast

from gateway.changes import Change
from gateway.core.errors import ConfigError, IdentityProviderBusy, IdentityProviderError
from gateway.tasks import Tasks
from gateway.telemetry import log

_LENGTH = struct.Struct("!I")
_MOST_BYTES = 256 * 1024 * 1024  # what is told of a full memory; a length above it is no length
_ASK, _ANSWER, _FAULT, _TELL = range(4)


class ChannelClosed(IdentityProviderError):
    """The other process is gone, so what only it can tell cannot be had."""

    def __init__(self) -> None:
        super().__init__("the process that asks Descope is gone; another takes its place", 1.0)


class Channel(asyncio.Protocol):
    """One end. `closed` is done once the connection is over."""

    def __init__(
        self,
        tasks: Tasks,
        answer: Callable[[str, dict[str, Any]], Awaitable[object]],
        hear: Callable[[Change], None],
    ) -> None:
        """answer(question, members): what to answer, JSON. hear: called with every change that is told, in order."""
        self._tasks = tasks
        self._answer = answer
        self._hear = hear
        self._transport: asyncio.Transport | None = None
        self._unread = bytearray()
        self._number = 0
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def ask(self, question: str, **members: object) -> Any:
        """What the other answers; raises IdentityProviderError, ConfigError, or ChannelClosed when it is gone."""
        if self.closed.done() or self._transport is None:
            raise ChannelClosed
        self._number = number = self._number + 1
        asked = self._asked[number] = asyncio.get_running_loop().create_future()
        self._send([_ASK, number, question, members])
        try:
            return await asked
        finally:
            self._asked.pop(number, None)

    def tell(self, change: Change) -> None:
        """Say what has changed; nobody answers."""
        if not self.closed.done():
            self._send([_TELL, 0, "", change])

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # --- asyncio.Protocol -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)
        asked, self._asked = self._asked, {}
        for future in asked.values():
            if not future.done():
                future.set_exception(ChannelClosed())
                future.exception()  # whoever waits sees it; nobody waiting is no fault

    def data_received(self, data: bytes) -> None:
        unread = self._unread
        unread += data
        at = 0
        while len(unread) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(unread, at)
            if length > _MOST_BYTES:
                self.close()
                return
            end = at + _LENGTH.size + length
            if end > len(unread):
                break
            self._heard(json.loads(unread[at + _LENGTH.size : end]))
            at = end
        del unread[:at]

    # --- one message ------------------------------------------------------------------------------------------------

    def _send(self, message: list[Any]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            text = json.dumps(message, separators=(",", ":")).encode("ascii")
            self._transport.write(_LENGTH.pack(len(text)) + text)

    def _heard(self, message: list[Any]) -> None:
        kind, number, what, content = message
        match kind:
            case 0:
                self._tasks.start(self._answered(number, what, content), f"answer another process: {what}")
            case 3:
                self._hear(content)
            case _:
                asked = self._asked.pop(number, None)
                if asked is None or asked.done():
                    return
                if kind == _ANSWER:
                    asked.set_result(content)
                else:
                    asked.set_exception(_fault(what, content))

    async def _answered(self, number: int, question: str, members: dict[str, Any]) -> None:
        try:
            self._send([_ANSWER, number, "", await self._answer(question, members)])
        except IdentityProviderError as err:
            kind = "busy" if isinstance(err, IdentityProviderBusy) else "unavailable"
            self._send([_FAULT, number, kind, [str(err), err.retry_after_s]])
        except ConfigError as err:
            self._send([_FAULT, number, "config", [list(err.problems), None]])
        except Exception as err:  # noqa: BLE001  # a bug of ours fails this question, and is told once
            log.error("internal error", question=question, fault=type(err).__name__)
            self._send([_FAULT, number, "unavailable", [f"{question}: internal error", None]])


def _fault(kind: str, content: list[Any]) -> Exception:
    said, retry_after_s = content
    match kind:
        case "busy":
            return IdentityProviderBusy(said, retry_after_s)
        case "config":
            return ConfigError(tuple(said))
        case _:
            return IdentityProviderError(said, retry_after_s)
