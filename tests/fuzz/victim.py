"""The host under attack: its TCP alone, fed with segments, or a whole stack, fed with frames."""

from __future__ import annotations

from typing import Final

from nodes.base.clock import NEVER
from nodes.base.errors import SocketError
from nodes.base.event_sink import EventSink
from nodes.base.events import STATE
from nodes.base.random import Randomness
from nodes.base.records import RecordWriter
from nodes.packet import icmp6, ipv6
from nodes.packet.arp import REPLY, ArpPacket, encode_arp
from nodes.packet.ethernet import TYPE_ARP, TYPE_IPV4, TYPE_IPV6, encode_ethernet
from nodes.packet.icmp import IcmpMessage, encode_icmp
from nodes.packet.ipv4 import ICMP, TCP, Ipv4Packet, decode_ipv4, encode_ipv4
from nodes.packet.ipv6 import Ipv6Packet
from nodes.packet.malformed import MalformedPacket
from nodes.packet.tcp import Segment
from nodes.packet.tcp_codec import decode_tcp, encode_tcp
from nodes.stack import Stack
from nodes.tcp.counters import Counters
from nodes.tcp.endpoints import Tcp
from nodes.tcp.network import Network
from nodes.tcp.parameters import Parameters

from .violation import Violation

HERE: Final = bytes((10, 0, 0, 1))
PEER: Final = bytes((10, 0, 0, 2))
OTHERS: Final = (PEER, bytes((10, 0, 0, 3)), bytes((10, 0, 0, 4)))
HERE6: Final = bytes.fromhex("fd000000000000000000000000000001")
PEER6: Final = bytes.fromhex("fd000000000000000000000000000002")

_OUR_MAC: Final = b"\x02\0\0\0\0\x01"
_PEER_MAC: Final = b"\x02\0\0\0\0\x02"
#: Errors of ICMPv6, and what is none.
_ICMP6: Final = (1, 2, 3, 4, 137)
#: Times that the timers may be served at one instant, and while time moves once.
_AT_ONE_INSTANT: Final = 200
_IN_ONE_STEP: Final = 100_000


class Moves(EventSink):
    """Keeps the moves of all connections from state to state: (connection, old, new)."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.moves: list[tuple[int, int, int]] = []

    def name(self, text: str) -> int:
        return 0

    def emit(self, kind: int, time_ns: int, node: int, conn: int, cause: int, values: tuple[int, ...]) -> None:
        if kind == STATE:
            self.moves.append((conn, values[0], values[1]))


class Records(RecordWriter):
    """The same, and makes a record of every event, as a lab does: what does not fit its field is an error."""

    def __init__(self, level: int) -> None:
        super().__init__(level, False)
        self.moves: list[tuple[int, int, int]] = []

    def emit(self, kind: int, time_ns: int, node: int, conn: int, cause: int, values: tuple[int, ...]) -> None:
        super().emit(kind, time_ns, node, conn, cause, values)
        if kind == STATE:
            self.moves.append((conn, values[0], values[1]))

    def _write(self, data: bytes) -> None:
        return


#: An ICMPv6 error has no more than the smallest MTU (RFC 4443 section 2.4).
_QUOTED6: Final = ipv6.MIN_MTU - ipv6.HEADER_LEN - 8


class Victim:
    """What both kinds have in common. `sent` is what left for `peer` since it was last emptied."""

    tcp: Tcp

    def __init__(self, parameters: Parameters, sink: Moves | Records, here: bytes, peer: bytes) -> None:
        self.parameters = parameters
        self.sink = sink
        self.here = here
        self.peer = peer
        self.now = 0
        self.sent: list[Segment] = []

    def deliver(self, segment: Segment, src: bytes) -> None:
        """The segment arrives from `src`."""
        raise NotImplementedError

    def icmp(self, kind: int, code: int, rest: int, segment: Segment, dst: bytes) -> None:
        """An ICMP error arrives about a segment of ours to `dst`."""
        raise NotImplementedError

    def next_deadline(self) -> int:
        return self.tcp.next_deadline()

    def on_timer(self) -> None:
        self.tcp.on_timer(self.now)

    def flush(self) -> None:
        """Let go what it has ready to send."""

    def advance(self, until: int) -> None:
        """Serve the timers up to `until`."""
        rounds = stuck = 0
        while (deadline := self.next_deadline()) <= until:
            stuck = stuck + 1 if deadline <= self.now else 0
            rounds += 1
            if stuck > _AT_ONE_INSTANT or rounds > _IN_ONE_STEP:
                raise Violation(f"timers: served {rounds} times up to {self.now}, and the next is due at {deadline}")
            self.now = max(self.now, deadline)
            self.on_timer()
        self.now = max(self.now, until)


class _Network(Network):
    """Hands everything to the victim's list."""

    def __init__(self, victim: Victim) -> None:
        self._victim = victim

    def transmit(self, now: int, src: bytes, dst: bytes, segment: Segment, conn: int, cause: int, resent: bool) -> None:
        if dst == self._victim.peer:
            self._victim.sent.append(segment)

    def source_for(self, dst: bytes) -> bytes:
        if len(dst) != len(self._victim.here):
            raise SocketError("ENETUNREACH", "network is unreachable")
        return self._victim.here

    def is_local(self, address: bytes) -> bool:
        return address == self._victim.here

    def is_broadcast(self, address: bytes) -> bool:
        return False

    def mtu_to(self, now: int, dst: bytes) -> int:
        return 1500

    def mtu_until(self, dst: bytes) -> int:
        return NEVER

    def link_mtu(self, dst: bytes) -> int:
        return 1500


class TcpVictim(Victim):
    """A Tcp and nothing below it."""

    def __init__(
        self, parameters: Parameters, sink: Moves | Records, seed: int, here: bytes = HERE, peer: bytes = PEER
    ) -> None:
        super().__init__(parameters, sink, here, peer)
        self.tcp = Tcp("victim", _Network(self), parameters, Randomness(seed), sink, Counters())

    def deliver(self, segment: Segment, src: bytes) -> None:
        self.tcp.on_segment(self.now, src, self.here, segment, 0, 0)

    def icmp(self, kind: int, code: int, rest: int, segment: Segment, dst: bytes) -> None:
        mtu = max(rest & 0xFFFF, 552) if (kind, code) == (3, 4) else 0
        self.tcp.on_icmp_error(
            self.now, self.here, dst, segment.src_port, segment.dst_port, segment.seq, kind, code, mtu
        )


class StackVictim(Victim):
    """A Stack with one interface, whose neighbours say where they are."""

    def __init__(
        self, parameters: Parameters, sink: Moves | Records, seed: int, here: bytes = HERE, peer: bytes = PEER
    ) -> None:
        super().__init__(parameters, sink, here, peer)
        self.stack = Stack("victim", parameters, Randomness(seed), sink)
        interface = self.stack.add_interface("eth0", _OUR_MAC, HERE, 24)
        self.stack.add_ipv6(interface, HERE6, 64)
        self.tcp = self.stack.tcp

    def deliver(self, segment: Segment, src: bytes) -> None:
        self.packet(src, TCP, encode_tcp(segment, src, self.here))

    def packet(self, src: bytes, protocol: int, payload: bytes, fragment: int = 0, identification: int = 0) -> bytes:
        """A packet arrives; returns its frame. `fragment` is the word of flags and offset, as IPv4 has it."""
        if len(src) == 4:
            packet = encode_ipv4(Ipv4Packet(src, self.here, protocol, payload, 64, identification, fragment))
            frame = encode_ethernet(_OUR_MAC, _PEER_MAC, TYPE_IPV4, packet)
        else:
            if fragment:
                word = (fragment & 0x1FFF) << 3 | fragment >> 13 & 1
                payload = ipv6.FRAGMENT_HEADER.pack(protocol, 0, word, identification) + payload
                protocol = ipv6.FRAGMENT
            packet = ipv6.encode_ipv6(Ipv6Packet(src, self.here, protocol, payload))
            frame = encode_ethernet(_OUR_MAC, _PEER_MAC, TYPE_IPV6, packet)
        self.frame(frame)
        return frame

    def frame(self, frame: bytes) -> None:
        """Any frame arrives."""
        self.stack.on_frame(self.now, 0, frame)
        self._pull()

    def icmp(self, kind: int, code: int, rest: int, segment: Segment, dst: bytes) -> None:
        data = encode_tcp(segment, self.here, dst)
        if len(dst) == 4:
            quoted = encode_ipv4(Ipv4Packet(self.here, dst, TCP, data[:28], 60))
            self.packet(self.peer, ICMP, encode_icmp(IcmpMessage(kind, code, rest, quoted)))
        else:
            quoted = ipv6.encode_ipv6(Ipv6Packet(self.here, dst, TCP, data))[:_QUOTED6]
            message = IcmpMessage(_ICMP6[kind % len(_ICMP6)], code % 8, rest, quoted)
            self.packet(self.peer, ipv6.ICMP, icmp6.encode_icmp6(message, self.peer, self.here))

    def next_deadline(self) -> int:
        return self.stack.next_deadline()

    def on_timer(self) -> None:
        self.stack.on_timer(self.now)
        self._pull()

    def flush(self) -> None:
        self._pull()

    def _pull(self) -> None:
        rounds = 0
        while frames := self.stack.pull():
            rounds += 1
            if rounds > _AT_ONE_INSTANT:
                raise Violation("the stack goes on answering its neighbours")
            for _, frame in frames:
                kind = frame[12:14]
                if kind == TYPE_ARP:
                    self._on_arp(frame)
                elif kind == TYPE_IPV4:
                    self._on_ipv4(frame)
                elif kind == TYPE_IPV6:
                    self._on_ipv6(frame)

    def _on_arp(self, frame: bytes) -> None:
        if frame[20:22] == b"\0\1" and frame[38:42] in OTHERS:
            reply = encode_arp(ArpPacket(REPLY, _PEER_MAC, frame[38:42], _OUR_MAC, HERE))
            self.stack.on_frame(self.now, 0, encode_ethernet(_OUR_MAC, _PEER_MAC, TYPE_ARP, reply))

    # Whatever the stack sends can be read.

    def _on_ipv4(self, frame: bytes) -> None:
        try:
            packet = decode_ipv4(frame[14:])
            if packet.protocol == TCP and not packet.fragment & 0x3FFF:
                self._left(packet.dst, packet.payload)
        except MalformedPacket as error:
            raise Violation(f"it sent what nobody can read: {error}: {frame.hex()}") from error

    def _on_ipv6(self, frame: bytes) -> None:
        try:
            packet = ipv6.decode_ipv6(frame[14:])
            if packet.next_header == TCP:
                self._left(packet.dst, packet.payload)
            elif packet.next_header == ipv6.ICMP:
                message = icmp6.decode_icmp6(packet.payload, packet.src, packet.dst)
                if message.type == icmp6.NEIGHBOUR_SOLICITATION and message.payload[:16] == PEER6:
                    told = icmp6.advertisement(PEER6, _PEER_MAC, icmp6.SOLICITED | icmp6.OVERRIDE)
                    data = icmp6.encode_icmp6(told, PEER6, packet.src)
                    answer = ipv6.encode_ipv6(Ipv6Packet(PEER6, packet.src, ipv6.ICMP, data, 255))
                    self.stack.on_frame(self.now, 0, encode_ethernet(_OUR_MAC, _PEER_MAC, TYPE_IPV6, answer))
        except MalformedPacket as error:
            raise Violation(f"it sent what nobody can read: {error}: {frame.hex()}") from error

    def _left(self, dst: bytes, data: bytes) -> None:
        segment = decode_tcp(data)
        if dst == self.peer:
            self.sent.append(segment)
