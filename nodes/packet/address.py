"""Addresses: `bytes` everywhere inside, text at the edges. IP: 4 or 16 bytes; MAC: 6."""

from __future__ import annotations

import ipaddress

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
