"""Echo requests of this host and what came back (RFC 792, RFC 1122 section 3.2.2.6, RFC 4443 section 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from nodes.ip.counters import HostCounters
from nodes.ip.output import IpOutput
from nodes.packet import icmp, icmp6, ipv4, ipv6
from nodes.packet.icmp import IcmpMessage, encode_icmp
from nodes.packet.icmp6 import encode_icmp6


class PingAnswer(NamedTuple):
    """What answered the echo request with `sequence`: an echo reply (`type` 0, of ICMPv6 129), or an ICMP error from
    `address`, an IPv6 one where it is ICMPv6's.

    `size` is the payload in bytes, `ttl` that of the answer's packet.
    """

    sequence: int
    address: bytes
    type: int
    code: int
    rtt_ns: int
    ttl: int
    size: int


class Ping:
    """A series of echo requests to one address. `on_answer(answer)` is called for each answer, late ones included."""

    def __init__(self, pings: Pings, identifier: int, dst: bytes, on_answer: Callable[[PingAnswer], None]) -> None:
        self._pings = pings
        self._sent: dict[int, int] = {}
        self.identifier = identifier
        self.dst = dst
        self.on_answer = on_answer

    def send(self, now: int, sequence: int, size: int = 56, ttl: int = 0) -> None:
        """Send one echo request with `size` payload bytes. Raises SocketError ENETUNREACH when there is no route."""
        output = self._pings.output
        self._sent[sequence] = now
        payload = bytes(index & 0xFF for index in range(size))
        rest = self.identifier << 16 | sequence
        counters = self._pings.counters
        src = output.source_for(self.dst)
        if len(self.dst) == 16:
            counters.Icmp6OutMsgs += 1
            counters.Icmp6OutEchos += 1
            request = IcmpMessage(icmp6.ECHO_REQUEST, 0, rest, payload)
            output.send_ip(now, src, self.dst, ipv6.ICMP, encode_icmp6(request, src, self.dst), ttl)
            return
        counters.IcmpOutMsgs += 1
        counters.IcmpOutEchos += 1
        request = IcmpMessage(icmp.ECHO_REQUEST, 0, rest, payload)
        output.send_ip(now, src, self.dst, ipv4.ICMP, encode_icmp(request), ttl)

    def answered(self, now: int, sequence: int, address: bytes, kind: int, code: int, ttl: int, size: int) -> None:
        sent = self._sent.get(sequence)
        if sent is not None:
            self.on_answer(PingAnswer(sequence, address, kind, code, now - sent, ttl, size))

    def close(self) -> None:
        """Forget it; later answers are ignored."""
        self._pings.forget(self.identifier)


class Pings:
    """The pings of one host, by ICMP identifier."""

    def __init__(self, output: IpOutput, counters: HostCounters) -> None:
        self.output = output
        self.counters = counters
        self._pings: dict[int, Ping] = {}
        self._next = 0

    def open(self, dst: bytes, on_answer: Callable[[PingAnswer], None]) -> Ping:
        """A new series; its identifier is the next free one."""
        self._next = self._next % 65535 + 1
        while self._next in self._pings:
            self._next = self._next % 65535 + 1
        ping = self._pings[self._next] = Ping(self, self._next, dst, on_answer)
        return ping

    def forget(self, identifier: int) -> None:
        self._pings.pop(identifier, None)

    def on_answer(self, now: int, rest: int, address: bytes, kind: int, code: int, ttl: int, size: int) -> bool:
        """An echo reply, or an error about our echo request, whose second word is `rest`. False: not one of ours."""
        ping = self._pings.get(rest >> 16)
        if ping is None:
            return False
        ping.answered(now, rest & 0xFFFF, address, kind, code, ttl, size)
        return True
