"""The way from a worker to the keeper, which may die and be replaced."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from gateway.changes import Change
from gateway.tasks import Tasks
from gateway.telemetry import log
from gateway.workers.channel import Channel, ChannelClosed

_AGAIN_S = 0.05
_LEAVES_S = 2.0
_FAILED_S = 1.0
_MOST_UNTOLD = 100_000


class KeeperLink:
    """Implements `remote.Link`. Nothing is asked before the keeper was greeted, nor while there is none."""

    def __init__(
        self,
        path: str,
        tasks: Tasks,
        *,
        answer: Callable[[str, dict[str, Any]], Awaitable[object]],
        hear: Callable[[Change], None],
    ) -> None:
        """path: of the keeper's socket. answer, hear: as for `Channel`; nothing that `hear` tells goes out."""
        self._path = path
        self._tasks = tasks
        self._answer = answer
        self._take_up = hear
        self._is_hearing = False
        self._channel: Channel | None = None
        self._untold: deque[Change] = deque(maxlen=_MOST_UNTOLD)

    async def ask(self, question: str, **members: object) -> Any:
        if self._channel is None:
            raise ChannelClosed
        return await self._channel.ask(question, **members)

    def hear(self, change: Change) -> None:
        """Take up what the keeper tells; it need not be told the same again."""
        self._is_hearing = True
        try:
            self._take_up(change)
        finally:
            self._is_hearing = False

    def tell(self, change: Change) -> None:
        if self._is_hearing:
            return
        if self._channel is not None:
            self._channel.tell(change)
        else:
            self._untold.append(change)

    async def keep(self, greet: Callable[[Channel], Awaitable[None]]) -> None:
        """Runs as long as the worker. greet: what to do first with every new keeper."""
        while True:
            channel = await self._connected()
            try:
                await greet(channel)
            except ChannelClosed:
                await asyncio.sleep(_AGAIN_S)
                continue
            except Exception as err:  # noqa: BLE001  # whatever it is, without a keeper this worker is of little use
                log.error("the keeper could not be greeted; trying again", cause=str(err), fault=type(err).__name__)
                channel.close()
                await asyncio.sleep(_FAILED_S)
                continue
            self._channel = channel
            while self._untold:
                channel.tell(self._untold.popleft())
            await channel.closed
            self._channel = None
            log.warning("the keeper is gone; what only Descope can tell is 503 until another has taken its place")

    async def _connected(self) -> Channel:
        loop = asyncio.get_running_loop()
        while True:
            with suppress(OSError):
                _, channel = await loop.create_unix_connection(
                    lambda: Channel(self._tasks, self._answer, self.hear), self._path
                )
                return channel
            await asyncio.sleep(_AGAIN_S)

    async def close(self) -> None:
        """Say what is still to be said, and leave."""
        if self._channel is not None:
            self._channel.close()
            await asyncio.wait([self._channel.closed], timeout=_LEAVES_S)
