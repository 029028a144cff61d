"""Whether a segment our stack sent is the one a script expects.

Successive segments stand for one larger packet of the script, as Linux's segmentation offload sends it. Offload also
sets PSH on its large packets, so a PSH that the script has on a full-sized segment need not be on ours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from lab.packetdrill import options
from lab.packetdrill.flow import Flow
from lab.packetdrill.script import Packet, TcpOption
from lab.packetdrill.segment import WireSegment, flag_words
from nodes.packet import tcp

_ECN: Final = {"noecn": (0,), "ect1": (1,), "ect0": (2,), "ect01": (1, 2), "ce": (3,)}
#: What may differ between segments that were one packet: the last has FIN and PSH, the first CWR.
_OF_ENDS: Final = tcp.FIN | tcp.PSH | tcp.CWR


def joined(first: WireSegment, second: WireSegment, full: int) -> WireSegment | str:
    """`first` with `second` behind it (`full`: the payload of each but the last), or why they do not join."""
    if len(first.payload) % full:
        return f"segments of {full} and {len(first.payload) % full} bytes where there should be one packet"
    if second.seq != (first.seq + len(first.payload)) & 0xFFFF_FFFF:
        return f"seq {second.seq} after {first.words()}"
    if (first.flags ^ second.flags) & ~_OF_ENDS or (first.ack, first.window) != (second.ack, second.window):
        return f"{second.words()} after {first.words()}"
    return replace(
        second,
        seq=first.seq,
        flags=second.flags & ~tcp.CWR | first.flags & tcp.CWR,
        payload=first.payload + second.payload,
    )


def difference(packet: Packet, segment: WireSegment, flow: Flow, full_sized: bool, stamp_ticks: int) -> str:
    """What is not as the script has it ("": nothing). `full_sized`: the last segment was; `stamp_ticks`: how far a
    timestamp may be off, or -1."""
    expected, flags = packet.flags, segment.flags
    if full_sized and expected & tcp.PSH:
        flags |= tcp.PSH
    if flags != expected:
        return f"flags {flag_words(segment.flags)} instead of {flag_words(expected)}"
    if segment.seq != packet.seq:
        return f"seq {segment.seq} instead of {packet.seq}"
    if len(segment.payload) != packet.size:
        return f"{len(segment.payload)} bytes instead of {packet.size}"
    if any(segment.payload):
        return "payload that was never written"
    if flags & tcp.ACK and segment.ack != packet.ack:
        return f"ack {segment.ack} instead of {packet.ack}"
    if packet.window >= 0 and segment.window != packet.window:
        return f"win {segment.window} instead of {packet.window}"
    if segment.urgent != packet.urgent:
        return f"urg {segment.urgent} instead of {packet.urgent}"
    if packet.ecn and segment.tos & 3 not in _ECN[packet.ecn]:
        return f"ECN bits {segment.tos & 3} instead of [{packet.ecn}]"
    return "" if packet.options is None else _options(packet, segment, flow, stamp_ticks)


def _options(packet: Packet, segment: WireSegment, flow: Flow, stamp_ticks: int) -> str:
    expected = packet.options or ()
    if [option.kind for option in expected] != [option.kind for option in segment.options]:
        return f"options {_listed(segment.options)} instead of {_listed(expected)}"
    for ours, theirs in zip(segment.options, expected, strict=True):
        if ours.kind == options.TIMESTAMP:
            off = flow.stamped(theirs, ours)
            if 0 <= stamp_ticks < off:
                return f"a timestamp {off} ticks from that of {theirs.text}"
        elif ours.data != theirs.data:
            return f"option {ours.text} instead of {theirs.text}"
    return ""


def _listed(found: tuple[TcpOption, ...]) -> str:
    return f"<{','.join(option.text for option in found)}>"
