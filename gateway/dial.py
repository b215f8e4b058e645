"""Makes one connection to one target of a service: TCP, TLS or a Unix socket. Never plain where TLS was asked for."""

import asyncio
import ssl
from collections.abc import Callable
from typing import TypeVar

from gateway.certificates import UnusablePair
from gateway.connection import Connection
from gateway.core.errors import UpstreamTimeout, UpstreamUnreachable
from gateway.core.model import ServiceTarget, Upstream
from gateway.upstream_tls import tls_context

C = TypeVar("C", bound=Connection)


class Dial:
    """How the targets of one upstream are reached."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._tls: ssl.SSLContext | None = None

    async def connect(self, target: ServiceTarget, connect_s: float, make: Callable[[], C]) -> C:
        """A connection, open; raises UpstreamUnreachable or UpstreamTimeout. make: makes the protocol."""
        upstream = self._upstream
        where = f"upstream {upstream.name}, {target.name}"
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(connect_s):
                if target.socket_path:
                    _, connection = await loop.create_unix_connection(make, target.socket_path)
                elif not upstream.tls:
                    _, connection = await loop.create_connection(make, target.address, target.port)
                else:
                    if self._tls is None:
                        self._tls = tls_context(upstream.tls_rules)
                    _, connection = await loop.create_connection(
                        make,
                        target.address,
                        target.port,
                        ssl=self._tls,
                        server_hostname=upstream.tls_rules.server_name or target.address,
                    )
        except TimeoutError as err:
            raise UpstreamTimeout(f"{where}: no connection in {connect_s:g} s") from err
        except ssl.SSLCertVerificationError as err:
            raise UpstreamUnreachable(f"{where}: its certificate was not accepted: {err.verify_message}") from err
        except (OSError, UnusablePair) as err:
            why = getattr(err, "strerror", None) or type(err).__name__
            raise UpstreamUnreachable(f"{where}: no connection: {why}") from err
        return connection
