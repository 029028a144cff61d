"""TCP flags as words, in the order people say them: SYN,ACK and FIN,ACK."""

from __future__ import annotations

from typing import Final

from nodes.packet.tcp import ACK, AE, CWR, ECE, FIN, PSH, RST, SYN, URG

_FLAGS: Final = (
    (SYN, "SYN"),
    (FIN, "FIN"),
    (RST, "RST"),
    (PSH, "PSH"),
    (ACK, "ACK"),
    (URG, "URG"),
    (ECE, "ECE"),
    (CWR, "CWR"),
    (AE, "AE"),
)


def flag_names(flags: int) -> str:
    """`SYN,ACK`; "" when none is set."""
    return ",".join(name for bit, name in _FLAGS if flags & bit)
