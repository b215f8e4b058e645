"""A request's body on its way to the upstream, which may answer before it has all of it."""

import asyncio

from gateway.clientside import BodyBroken, BodyTooLarge, ClientSide, Relayed
from gateway.connection import Connection
from gateway.core.errors import UpstreamBadReply, UpstreamError, UpstreamTimeout
from gateway.tasks import Tasks

_WHILE_SENDING_S = 86_400.0  # the client's own pace is bounded by `timeouts.idle`, not by the wait for a reply


class RequestBody:
    """The body of one request. is_sent: all of it has been written."""

    __slots__ = ("_client", "_idle_s", "_limit", "_pump", "_relayed", "_tasks", "is_sent")

    def __init__(self, client: ClientSide, limit: int, idle_s: float, tasks: Tasks, relayed: Relayed) -> None:
        self._client = client
        self._limit = limit
        self._idle_s = idle_s
        self._tasks = tasks
        self._relayed = relayed
        self._pump: asyncio.Task[None] | None = None
        self.is_sent = False

    async def send(self, connection: Connection) -> None:
        """Until the body is out, or the upstream has answered without waiting for it, or either side broke."""
        pump = self._pump = self._tasks.spawn(self._pump_all(connection), "send a request body")
        head = self._tasks.spawn(connection.head(_WHILE_SENDING_S), "wait for a reply while sending")
        try:
            await asyncio.wait((pump, head), return_when=asyncio.FIRST_COMPLETED)
            if head.done():
                head.result()
                # The reply has begun before the body is out; should the body break now, the reply may not look whole.
                pump.add_done_callback(lambda done: self._body_broke(connection, done))
            else:
                pump.result()
        finally:
            if not head.done():
                head.cancel()
                await asyncio.wait((head,))

    @staticmethod
    def _body_broke(connection: Connection, pump: "asyncio.Task[None]") -> None:
        broke = None if pump.cancelled() else pump.exception()
        # An upstream that answers without reading on is in its right; its own trouble shows in its reply.
        if isinstance(broke, BodyTooLarge | BodyBroken):
            fault = UpstreamBadReply("the request's body broke off after the reply had begun")
            fault.__cause__ = broke
            connection.fail(fault)

    async def _pump_all(self, connection: Connection) -> None:
        client, limit = self._client, self._limit
        chunked = client.body_length is None
        while data := await client.read(self._idle_s):
            self._relayed.received_bytes += len(data)
            if self._relayed.received_bytes > limit:
                raise BodyTooLarge(f"the body has more than the {limit} bytes that the route allows")
            try:
                connection.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
            except UpstreamError:
                return  # it will have said why in its reply, or the reply's absence says it
            await self._drained(connection)
        if chunked:
            connection.write(b"0\r\n\r\n")
        self.is_sent = True

    async def _drained(self, connection: Connection) -> None:
        """Wait for room; an upstream that takes something in every idle time may be as slow as it likes."""
        while True:
            before = connection.unsent_bytes
            try:
                async with asyncio.timeout(self._idle_s):
                    return await connection.drain()
            except TimeoutError as err:
                if connection.unsent_bytes >= before:
                    raise UpstreamTimeout("the upstream does not take the request's body") from err

    def stop(self) -> None:
        if self._pump is not None and not self._pump.done():
            self._pump.cancel()
