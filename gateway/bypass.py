"""Looks whether a service that stands on loopback answers on the machine's other addresses as well.

Then whoever reaches this machine can walk past the gateway, and every identity header can be forged.
"""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from gateway.core.model import Upstream
from gateway.telemetry import log

_CONNECT_S = 1.0
_LOOKS = 24
_BETWEEN_S = 5.0


async def warn(upstreams: Sequence[Upstream], own_ports: Collection[int]) -> None:
    """Log a warning for each service that can be reached past the gateway.

    A service that does not listen yet is waited for, two minutes at most. own_ports: the gateway's, which answer
    everywhere and are no service.
    """
    waiting = {place for place in _on_loopback(upstreams) if place[2] not in own_ports}
    others = machine_addresses()
    for look in range(_LOOKS):
        if look:
            await asyncio.sleep(_BETWEEN_S)
        for place in sorted(waiting):
            name, host, port = place
            if not await _answers(host, port):
                continue
            waiting.discard(place)
            for other in others:
                if await _answers(other, port):
                    log.warning(
                        "THE SERVICE CAN BE REACHED PAST THE GATEWAY: anybody who gets to this address is believed"
                        " whatever identity headers they send. Let it listen on loopback alone, or on a Unix socket.",
                        upstream=name,
                        address=f"[{other}]:{port}" if ":" in other else f"{other}:{port}",
                    )
        if not waiting:
            return


def _on_loopback(upstreams: Sequence[Upstream]) -> Iterator[tuple[str, str, int]]:
    for upstream in upstreams:
        places = [(upstream.address, upstream.port), *((other.address, other.port) for other in upstream.others)]
        for host, port in places:
            if is_loopback(host):  # a Unix socket has no host
                yield upstream.name, host, port


def is_loopback(host: str) -> bool:
    """Whether `host` is a name or an address of this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def machine_addresses() -> list[str]:
    """Addresses under which others may reach this machine; [] where the system does not tell (it is Linux that does).

    Read from /proc, since netlink is closed to a process that may speak TCP alone.
    """
    found: list[str] = []
    with suppress(OSError):
        last = ""
        for line in Path("/proc/net/fib_trie").read_text("ascii").splitlines():
            if "host LOCAL" in line:
                found.append(last)
            last = line.rpartition("|-- ")[2].strip()
    with suppress(OSError):
        for line in Path("/proc/net/if_inet6").read_text("ascii").splitlines():
            address = IPv6Address(int(line.split()[0], 16))
            if not address.is_link_local:  # those need an interface besides
                found.append(str(address))
    return [address for address in dict.fromkeys(found) if not is_loopback(address)]


async def _answers(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(_CONNECT_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
