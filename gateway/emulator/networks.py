"""Addresses and ranges that an access key may be used from."""

import ipaddress
from collections.abc import Iterable


def is_network(text: str) -> bool:
    """Whether this is an address or a range, such as 10.0.0.7 or 10.0.0.0/8."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def is_within(address: str, networks: Iterable[str]) -> bool:
    """Whether an address lies in one of these; something that is no address lies in none."""
    try:
        peer = ipaddress.ip_address(address)
    except ValueError:
        return False
    # What a listener for both families sees of an IPv4 peer.
    peer = getattr(peer, "ipv4_mapped", None) or peer
    return any(peer in ipaddress.ip_network(one, strict=False) for one in networks)
