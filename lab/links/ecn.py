"""Congestion marks in frames (RFC 3168 section 5)."""

from __future__ import annotations

from lab.links.frame import ETHERNET

_CE = 3


def mark(frame: bytes) -> bytes:
    """The frame with CE in its IP packet's ECN field; b"" when the packet is not ECN-capable, or no IP packet."""
    kind = frame[12:14]
    if kind == b"\x08\x00" and len(frame) >= ETHERNET + 20:
        tos = frame[ETHERNET + 1]
        field = tos & 3
        if not field:
            return b""
        # The header's checksum moves by as much as the byte, the low one of its word (RFC 1624).
        check = (frame[ETHERNET + 10] << 8 | frame[ETHERNET + 11]) - (_CE - field)
        if check < 0:
            check += 0xFFFF
        start = frame[: ETHERNET + 1] + bytes((tos | _CE,)) + frame[ETHERNET + 2 : ETHERNET + 10]
        return start + check.to_bytes(2, "big") + frame[ETHERNET + 12 :]
    if kind == b"\x86\xdd" and len(frame) >= ETHERNET + 40 and frame[ETHERNET + 1] & 0x30:
        return frame[: ETHERNET + 1] + bytes((frame[ETHERNET + 1] | 0x30,)) + frame[ETHERNET + 2 :]
    return b""
