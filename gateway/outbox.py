"""What is written in one turn of the event loop goes out together, at the turn's end.

Every write wakes whoever reads on the other side. Written one by one between reading, each of them wakes somebody who
has gone to sleep since the last; written together they are found in one waking. In a busy gateway that is a tenth of
the cost of a request, and one that is not busy has nothing to wait for.
"""

import asyncio


class Outbox:
    """Used from one event loop only. Order holds within it; who writes past it flushes it first."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []

    def put(self, transport: asyncio.Transport, data: bytes) -> None:
        """Write `data` at the end of this turn; dropped should the transport be closed by then."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append((transport, data))

    def flush(self) -> None:
        """Write everything now."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for transport, data in waiting:
                if not transport.is_closing():
                    transport.write(data)
