"""Echo requests of this host and what came back (RFC 792, RFC 1122 section 3.2.2.6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from nodes.ip.counters import HostCounters
from nodes.ip.output import IpOutput
from nodes.packet import icmp, ipv4
from nodes.packet.icmp import IcmpMessage, encode_icmp


class PingAnswer(NamedTuple):
    """What answered the echo request with `sequence`: an echo reply (`type` 0), or an ICMP error from `address`.

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
        message = IcmpMessage(icmp.ECHO_REQUEST, 0, self.identifier << 16 | sequence, payload)
        self._pings.counters.IcmpOutMsgs += 1
        self._pings.counters.IcmpOutEchos += 1
        output.send_ip(now, output.source_for(self.dst), self.dst, ipv4.ICMP, encode_icmp(message), ttl)

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

    def on_answer(self, now: int, rest: int, address: bytes, kind: int, code: int, ttl: int, size: int) -> None:
        """An echo reply, or an error about our echo request, whose second word is `rest`."""
        ping = self._pings.get(rest >> 16)
        if ping is not None:
            ping.answered(now, rest & 0xFFFF, address, kind, code, ttl, size)
