"""Addresses: `bytes` everywhere inside, text at the edges. IP: 4 or 16 bytes; MAC: 6."""

from __future__ import annotations

import ipaddress
from typing import Final

from nodes.base.errors import InvalidArgument


def address_text(address: bytes) -> str:
    """`10.0.0.1`, or RFC 5952 text for 16 bytes; "" for the empty (any) address."""
    if len(address) == 4:
        return f"{address[0]}.{address[1]}.{address[2]}.{address[3]}"
    return str(ipaddress.IPv6Address(address)) if address else ""


def parse_address(text: str, field: str = "") -> bytes:
    """The bytes of an IP address. Raises InvalidArgument naming `field`."""
    try:
        return ipaddress.ip_address(text).packed
    except ValueError:
        raise InvalidArgument(f"{text!r} is not an IP address; write it like 10.0.0.1", field) from None


def is_any(address: bytes) -> bool:
    """Whether it stands for every address of a host: b"" in both families, zeros in one."""
    return not any(address)


def is_multicast(address: bytes) -> bool:
    """Whether it is one of 224.0.0.0/4 or ff00::/8."""
    return 224 <= address[0] < 240 if len(address) == 4 else address[:1] == b"\xff"


def overlap(one: bytes, other: bytes) -> bool:
    """Whether a local address may be the other, either of which may be any."""
    if one == other or not one or not other:
        return True
    return len(one) == len(other) and (is_any(one) or is_any(other))


#: What stands before an IPv4 address inside an IPv6 one, ::ffff:10.0.0.1 (RFC 4291 section 2.5.5.2).
MAPPED: Final = bytes(10) + b"\xff\xff"


def mapped(address: bytes) -> bytes:
    """An address as sockets of IPv6 have it: an IPv4 one inside an IPv6 one, b"" (any) as ::."""
    return MAPPED + address if len(address) == 4 else address or bytes(16)


def unmapped(address: bytes) -> bytes:
    """The IPv4 address inside an IPv6 one, where there is one."""
    return address[12:] if len(address) == 16 and address.startswith(MAPPED) else address


def mac_text(mac: bytes) -> str:
    """`02:00:00:00:00:01`."""
    return mac.hex(":")


def parse_mac(text: str, field: str = "") -> bytes:
    """The six bytes of a MAC address. Raises InvalidArgument naming `field`."""
    parts = text.split(":")
    try:
        mac = bytes(int(part, 16) for part in parts if len(part) == 2)
    except ValueError:
        mac = b""
    if len(parts) != 6 or len(mac) != 6:
        raise InvalidArgument(f"{text!r} is not a MAC address; write it like 02:00:00:00:00:01", field)
    return mac
