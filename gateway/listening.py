"""Addresses that are listened on."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from socket import socket

from aiohttp import web

_BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


async def listen(
    server: web.Server, where: Address | Sequence[socket], grace_s: float, context: ssl.SSLContext | None = None
) -> tuple[web.ServerRunner, Address]:
    """Serve there from now on; returns what stops it, and the address as it was bound. Raises OSError.

    where: an address, or sockets that are bound already; they are closed when this ends.
    """
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=grace_s)
    await runner.setup()
    sites: list[web.BaseSite] = (
        [web.TCPSite(runner, where.host, where.port, backlog=_BACKLOG, ssl_context=context)]
        if isinstance(where, Address)
        else [web.SockSite(runner, one, backlog=_BACKLOG, ssl_context=context) for one in where]
    )
    try:
        for site in sites:
            await site.start()
    except OSError:
        await runner.cleanup()
        raise
    host, port = runner.addresses[0][:2]
    return runner, Address(host, port)
