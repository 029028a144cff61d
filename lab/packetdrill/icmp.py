"""The ICMP errors a script can have arrive."""

from __future__ import annotations

from typing import Final

from lab.packetdrill import segment
from lab.packetdrill.flow import Flow
from lab.packetdrill.problem import NotExpressible
from lab.packetdrill.script import IcmpPacket
from nodes.packet import icmp

_TYPES: Final = {
    "unreachable": icmp.DESTINATION_UNREACHABLE,
    "source_quench": icmp.SOURCE_QUENCH,
    "time_exceeded": icmp.TIME_EXCEEDED,
    "parameter_problem": icmp.PARAMETER_PROBLEM,
}
#: Codes of "destination unreachable" (RFC 792, 1122, 1812), in order.
_CODES: Final = (
    "net_unreachable",
    "host_unreachable",
    "protocol_unreachable",
    "port_unreachable",
    "frag_needed",
    "source_route_failed",
    "net_unknown",
    "host_unknown",
    "source_host_isolated",
    "net_prohibited",
    "host_prohibited",
    "net_unreachable_for_tos",
    "host_unreachable_for_tos",
    "packet_filtered",
    "precedence_violation",
    "precedence_cutoff",
)


def error_about(line: int, packet: IcmpPacket, flow: Flow) -> bytes:
    """The IP packet that reports an error about a segment of `flow`. Raises NotExpressible for unknown words."""
    kind = _number(packet.type_name, "type_")
    if kind < 0:
        kind = _TYPES.get(packet.type_name, -1)
    code = _number(packet.code_name, "code_") if packet.code_name else 0
    if code < 0 and packet.code_name in _CODES:
        code = _CODES.index(packet.code_name)
    if kind < 0 or code < 0:
        raise NotExpressible(line, f"icmp {packet.type_name} {packet.code_name}".strip())
    return segment.encode_error(flow.quoted(packet.seq, packet.size), kind, code, packet.mtu)


def _number(text: str, prefix: str) -> int:
    digits = text.removeprefix(prefix)
    return int(digits) if digits != text and digits.isdecimal() else -1
