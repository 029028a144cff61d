"""The connection a script talks about: how its numbers and addresses stand for those on the wire."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from lab.packetdrill import options
from lab.packetdrill.config import Config
from lab.packetdrill.problem import Mismatch
from lab.packetdrill.script import Packet, TcpOption
from lab.packetdrill.segment import WireSegment
from nodes.packet import tcp
from nodes.tcp.connection import Connection

# Where a flow stands; what a script's packet can mean depends on it.
NEW: Final = "new"
LISTENING: Final = "listening"
CONNECTING: Final = "connecting"
SYN_SENT: Final = "syn sent"
SYN_ARRIVED: Final = "syn arrived"
OPEN: Final = "open"

_MASK: Final = 0xFFFF_FFFF
_ECT: Final = {"": 0, "noecn": 0, "ect1": 1, "ect0": 2, "ce": 3}


@dataclass(slots=True)
class Flow:
    """Script numbers count from 0 at each end's first SYN, except in SYNs themselves, where they are what they are."""

    config: Config
    state: str = NEW
    connection: Connection | None = None
    local_port: int = 0
    remote_port: int = 0
    #: Our first sequence number on the wire, and in the script.
    local_isn: int = 0
    script_isn: int = 0
    #: The peer's, which is the same in both.
    remote_isn: int = 0
    #: Our timestamps: the first in the script and on the wire, and each one's value on the wire by that in the script.
    first_stamps: tuple[int, int] | None = None
    stamps: dict[int, int] = field(default_factory=dict)

    def owns(self, segment: WireSegment) -> bool:
        """Whether our stack sent `segment` on this flow."""
        if self.state == CONNECTING:
            return segment.flags & (tcp.SYN | tcp.ACK) == tcp.SYN and segment.dst_port == self.config.connect_port
        return (segment.dst, segment.src_port, segment.dst_port) == (
            self.config.remote_ip,
            self.local_port,
            self.remote_port,
        )

    def starts_with(self, packet: Packet, segment: WireSegment) -> None:
        """`segment` is our first SYN or SYN-ACK, and `packet` what the script has for it."""
        self.local_port = segment.src_port
        self.remote_port = segment.dst_port
        self.local_isn = segment.seq
        self.script_isn = packet.seq
        self.state = SYN_SENT if self.state == CONNECTING else OPEN

    # From the script to the wire.

    def inbound(self, line: int, packet: Packet) -> WireSegment:
        """The segment of the peer that `packet` stands for. Raises Mismatch for an echo of a timestamp never sent."""
        syn = packet.flags & tcp.SYN
        if syn and self.state == SYN_SENT:
            self.remote_isn = packet.seq
        ack_offset = self.local_isn - self.script_isn if syn else self.local_isn
        acks = packet.flags & tcp.ACK
        return WireSegment(
            self.config.remote_ip,
            self.config.local_ip,
            packet.src_port or self.remote_port,
            packet.dst_port or self.local_port,
            (packet.seq + (0 if syn else self.remote_isn)) & _MASK,
            (packet.ack + ack_offset) & _MASK if acks else 0,
            packet.flags,
            max(packet.window, 0),
            packet.urgent,
            tuple(self._option_to_wire(line, option, ack_offset, acks != 0) for option in packet.options or ()),
            bytes(packet.size),
            _ECT[packet.ecn],
        )

    def _option_to_wire(self, line: int, option: TcpOption, offset: int, acks: bool) -> TcpOption:
        if option.kind == options.SACK:
            return replace(option, data=_shifted(option.data, offset))
        if option.kind == options.TIMESTAMP and acks:
            echo = int.from_bytes(option.data[4:], "big")
            live = self.stamps.get(echo)
            if live is None and self.config.ts_ecr_scaled and self.first_stamps is not None:
                live = (echo - self.first_stamps[0] + self.first_stamps[1]) & _MASK
            if live is None:
                raise Mismatch(line, f"TS ecr {echo} echoes no TS val that the stack has sent")
            return replace(option, data=option.data[:4] + live.to_bytes(4, "big"))
        return option

    def quoted(self, seq: int, size: int) -> WireSegment:
        """A segment of ours as an ICMP error quotes it, from script number `seq`."""
        return WireSegment(
            self.config.local_ip,
            self.config.remote_ip,
            self.local_port,
            self.remote_port,
            (seq + self.local_isn) & _MASK,
            0,
            0,
            0,
            0,
            (),
            bytes(size),
        )

    # From the wire to the script.

    def outbound(self, segment: WireSegment) -> WireSegment:
        """A segment of ours with the numbers a script has for it."""
        syn = segment.flags & tcp.SYN
        ack_offset = 0 if syn else -self.remote_isn
        return replace(
            segment,
            seq=(segment.seq - self.local_isn + (self.script_isn if syn else 0)) & _MASK,
            ack=(segment.ack + ack_offset) & _MASK if segment.flags & tcp.ACK else segment.ack,
            options=tuple(
                replace(option, data=(data := _shifted(option.data, ack_offset)), text=options.words(option.kind, data))
                if option.kind == options.SACK
                else option
                for option in segment.options
            ),
        )

    def stamped(self, script: TcpOption, actual: TcpOption) -> int:
        """How far the value of our timestamp `actual` is from the script's, in ticks."""
        expected = int.from_bytes(script.data[:4], "big")
        live = int.from_bytes(actual.data[:4], "big")
        self.stamps[expected] = live
        if self.first_stamps is None:
            self.first_stamps = (expected, live)
        first_script, first_live = self.first_stamps
        off = (live - first_live - expected + first_script) & _MASK
        return min(off, 0x1_0000_0000 - off)


def _shifted(edges: bytes, offset: int) -> bytes:
    """SACK edges, each `offset` further."""
    return b"".join(
        ((int.from_bytes(edges[at : at + 4], "big") + offset) & _MASK).to_bytes(4, "big")
        for at in range(0, len(edges), 4)
    )
