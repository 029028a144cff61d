"""RED: random early detection (Floyd and Jacobson 1993; RFC 2309), with marks instead of drops where packets allow it.

The names and units are tc-red's: `red_min`, `red_max` and `red_probability`. As there, what counts is bytes, and a
packet that may be marked is marked also above `red_max`. All in whole numbers: averages are in 1/512 of a byte.
"""

from __future__ import annotations

from typing import Final

from lab.links.ecn import mark
from lab.links.packet import MARKED, Packet
from lab.links.queue import DropTail, Settings
from nodes.base.clock import SECOND
from nodes.base.random import CHANCE_ONE, RandomStream

#: w_q = 2^-9, the 0.002 of the paper's section 6: the average follows some 500 packets.
_SHIFT: Final = 9
#: What the queue could have sent while it was empty is counted in packets of so many bits (avpkt 1000 of tc-red).
_PACKET_BITS: Final = 8_000
#: (1 - w_q)^m as a fraction of this.
_ONE: Final = 1 << 32
_KEPT: Final = _ONE - (_ONE >> _SHIFT)
#: After so many the average is gone.
_FORGOTTEN: Final = 1 << 14


class Red(DropTail):
    """Drops or marks, by chance, more the longer the queue has been on average, so that senders slow down before it
    is full and not all at once."""

    def __init__(self, settings: Settings, stream: RandomStream) -> None:
        super().__init__(settings, stream)
        self._stream = stream
        #: Average queue, bytes * 512.
        self._average = 0
        #: Packets since the last one dropped or marked; -1: the average is below red_min.
        self._count = -1
        self._empty_since = 0

    @property
    def average(self) -> int:
        """The average queue, bytes."""
        return self._average >> _SHIFT

    def push(self, now: int, packet: Packet) -> bool:
        self._estimate(now)
        if self._picks():
            self._count = 0
            marked = mark(packet.frame) if self.settings.red_ecn else b""
            if not marked:
                return False
            packet.frame = marked
            packet.altered = True
            packet.marks |= MARKED
        return super().push(now, packet)

    def pop(self, now: int) -> Packet | None:
        packet = super().pop(now)
        if packet is not None and not self.packets:
            self._empty_since = now
        return packet

    def _estimate(self, now: int) -> None:
        """The average with what waits now; while nothing waited, as if small packets had found that (section 4)."""
        average = self._average
        if not self.packets and average:
            rate = self.settings.rate_bps
            passed = (now - self._empty_since) * rate // (_PACKET_BITS * SECOND) if rate else _FORGOTTEN
            average = average * decay(passed) // _ONE
            self._empty_since = now
        self._average = average + self.bytes - (average >> _SHIFT)

    def _picks(self) -> bool:
        """Whether this packet is to say that there is congestion (figure 2)."""
        settings = self.settings
        low, high = settings.red_min << _SHIFT, settings.red_max << _SHIFT
        if self._average < low:
            self._count = -1
            return False
        if self._average >= high:
            return True
        self._count += 1
        # p_b = max_p (avg - min) / (max - min); the chance is p_b / (1 - count p_b), so gaps are uniform (section 7).
        chance = settings.red_probability * (self._average - low) // (high - low)
        left = CHANCE_ONE - self._count * chance
        return left <= 0 or self._stream.below(left) < chance


def decay(packets: int) -> int:
    """(1 - 1/512)^packets, out of 2^32."""
    if packets >= _FORGOTTEN:
        return 0
    result = _ONE
    power = _KEPT
    while packets:
        if packets & 1:
            result = result * power // _ONE
        power = power * power // _ONE
        packets >>= 1
    return result
