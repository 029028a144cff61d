"""`Flow`: what the segments of a connection, seen at the node's interfaces, say of its sequence numbers (RFC 9293 3.4).

Nothing is sure here but what passed by: the kernel's own numbers follow from it a moment later.
"""

from __future__ import annotations

from typing import Final

from nodes.packet.tcp import ABSENT, ACK, FIN, SYN, Segment
from nodes.tcp.seq import unwrap

NONE: Final = -1
#: Windows, before any was seen.
_SOME_WINDOW: Final = 65535


class Flow:
    """Numbers are unwrapped (nodes.tcp.seq), NONE while unknown. `close_cause` is the user call that will end it, or
    did, 0: none of ours."""

    __slots__ = (
        "call_ns",
        "close_cause",
        "data_after_close",
        "dup_acks",
        "early",
        "fin_received",
        "fin_sent",
        "irs",
        "iss",
        "offered",
        "probes",
        "rcv_edge",
        "rcv_nxt",
        "rcv_scale",
        "resends",
        "sacked",
        "snd_max",
        "snd_una",
        "window",
    )

    def __init__(self) -> None:
        self.iss = NONE
        self.irs = NONE
        self.snd_una = NONE
        self.snd_max = NONE
        self.rcv_nxt = NONE
        self.rcv_edge = NONE
        #: Just after our FIN, and the peer's.
        self.fin_sent = NONE
        self.fin_received = NONE
        #: Shift of the windows that we send; what our SYN offered.
        self.rcv_scale = 0
        self.offered = ABSENT
        #: The peer's window, not scaled.
        self.window = _SOME_WINDOW
        #: What came out of order: (first, just after the last), in order.
        self.early: list[tuple[int, int]] = []
        #: How often each piece that is not acknowledged was sent again, by its first number.
        self.resends: dict[int, int] = {}
        self.dup_acks = 0
        self.sacked = False
        #: Keepalive probes sent since anything came.
        self.probes = 0
        self.close_cause = 0
        self.call_ns = 0
        self.data_after_close = False

    @property
    def numbers(self) -> tuple[int, int, int, int, int]:
        """ISS, IRS, SND.UNA, SND.NXT, RCV.NXT as the wire has them; 0 while unknown."""
        wire = 0xFFFF_FFFF
        known = (self.iss, self.irs, self.snd_una, self.snd_max, self.rcv_nxt)
        return tuple(0 if one == NONE else one & wire for one in known)  # type: ignore[return-value]

    def sent(self, segment: Segment) -> tuple[bool, int]:
        """We sent it. Returns whether it carries numbers sent before, and where it begins."""
        flags = segment.flags
        if self.snd_max == NONE:  # the first that is seen
            self.snd_una = self.snd_max = segment.seq
        start = unwrap(segment.seq, self.snd_max)
        if flags & SYN:
            self.iss = start
            self.offered = segment.window_scale
        if flags & ACK:
            ack = segment.ack if self.rcv_nxt == NONE else unwrap(segment.ack, self.rcv_nxt)
            scale = 0 if flags & SYN else self.rcv_scale
            self.rcv_edge = max(self.rcv_edge, ack + (segment.window << scale))
            self._received_up_to(ack)
        length = segment.length
        end = start + length
        resent = length > 0 and start < self.snd_max
        if resent:
            self.resends[start] = self.resends.get(start, 0) + 1
        elif not length and start < self.snd_max and start == self.snd_una - 1:
            self.probes += 1
        self.snd_max = max(self.snd_max, end)
        if flags & FIN:
            self.fin_sent = end
        return resent, start

    def received(self, segment: Segment) -> None:
        """It arrived. What the kernel would not take is left out as far as the wire shows it."""
        flags = segment.flags
        self.probes = 0
        if flags & SYN:
            if self.irs == NONE:
                self.irs = segment.seq
                self.rcv_nxt = max(self.rcv_nxt, segment.seq + 1)
                self.rcv_edge = self.rcv_nxt + _SOME_WINDOW
                if segment.window_scale != ABSENT and self.offered != ABSENT:
                    self.rcv_scale = self.offered
            if flags & ACK:
                self._acknowledged(segment)
            return
        if flags & ACK:
            self._acknowledged(segment)
        if self.rcv_nxt == NONE:  # its beginning was not seen
            self.rcv_nxt = segment.seq
        length = segment.length
        if not length:
            return
        start = unwrap(segment.seq, self.rcv_nxt)
        end = start + length
        if self.fin_sent != NONE and segment.payload and end > self.rcv_nxt:
            self.data_after_close = True
        if self.rcv_edge != NONE and start > self.rcv_edge:
            return  # beyond the window: not taken
        if flags & FIN:
            self.fin_received = end
        if start > self.rcv_nxt:
            self.early.append((start, end))
            self.early.sort()
        else:
            self._received_up_to(end)

    def _received_up_to(self, end: int) -> None:
        nxt = max(self.rcv_nxt, end)
        early = self.early
        while early and early[0][0] <= nxt:
            nxt = max(nxt, early.pop(0)[1])
        self.rcv_nxt = nxt

    def _acknowledged(self, segment: Segment) -> None:
        if self.snd_max == NONE:
            self.snd_una = self.snd_max = segment.ack
            return
        ack = unwrap(segment.ack, self.snd_max)
        if self.snd_una < ack <= self.snd_max:
            self.snd_una = ack
            self.dup_acks = 0
            self.sacked = bool(segment.sack)
            if self.resends:
                self.resends = {start: count for start, count in self.resends.items() if start >= ack}
        elif ack == self.snd_una and not segment.length and segment.window == self.window:
            self.dup_acks += 1
            self.sacked = self.sacked or bool(segment.sack)
        self.window = segment.window

    @property
    def bytes_acked(self) -> int:
        """Of what we sent; 0 when the beginning was not seen."""
        return max(self.snd_una - self.iss - 1 - self.fin_acknowledged, 0) if self.iss != NONE else 0

    @property
    def bytes_received(self) -> int:
        """In order; 0 when the beginning was not seen."""
        return max(self.rcv_nxt - self.irs - 1 - self.fin_taken, 0) if self.irs != NONE else 0

    @property
    def syn_acknowledged(self) -> bool:
        return self.iss != NONE and self.snd_una > self.iss

    @property
    def fin_acknowledged(self) -> bool:
        return self.fin_sent != NONE and self.snd_una >= self.fin_sent

    @property
    def fin_taken(self) -> bool:
        """The peer's FIN and all before it has come."""
        return self.fin_received != NONE and self.rcv_nxt >= self.fin_received
