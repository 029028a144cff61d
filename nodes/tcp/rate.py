"""How fast the network delivers (draft-cheng-iccrg-delivery-rate-estimation), and counting round trips by it.

Each segment remembers, when it is sent, how much had been delivered by then; when it arrives, what was delivered
meanwhile, over the longer of how long that took to send and to be acknowledged, is a sample.
"""

from __future__ import annotations

from nodes.base.clock import SECOND
from nodes.tcp.congestion.base import Ack
from nodes.tcp.scoreboard import Sent


class Rate:
    """Of one connection: the draft's C.delivered (bytes), C.delivered_time, C.first_sent_time and C.app_limited."""

    __slots__ = (
        "app_limited",
        "delivered",
        "delivered_at",
        "early",
        "first_sent_at",
        "newest",
        "round",
        "round_ends",
        "sample",
        "sample_app_limited",
    )

    def __init__(self) -> None:
        self.delivered = 0
        self.delivered_at = 0
        self.first_sent_at = 0
        #: Of what was delivered, what only duplicate ACKs have told of: nobody knows which segments these are.
        self.early = 0
        #: What was sent before so much is delivered was too little for a fair sample; 0: it was not.
        self.app_limited = 0
        #: Of what the ACK at hand tells: what was sent last.
        self.newest: Sent | None = None
        self.round = 0
        self.round_ends = 0
        #: The last sample, bytes per second, and whether it was limited by the application.
        self.sample = 0
        self.sample_app_limited = True

    def sent(self, record: Sent, now: int, flying: int, lost: int) -> None:
        """It is being sent, for the first time or again, while so many bytes with it are on their way; so many were
        lost in all until now."""
        if flying <= record.end - record.seq:
            self.first_sent_at = self.delivered_at = now
        record.first_sent_at = self.first_sent_at
        record.delivered = self.delivered
        record.delivered_at = self.delivered_at
        record.app_limited = self.app_limited != 0
        record.in_flight = flying
        record.lost_before = lost

    def arrived(self, record: Sent, now: int) -> None:
        """It is known to have arrived."""
        size = record.end - record.seq
        if self.early:
            told = min(self.early, size)
            self.early -= told
            size -= told
        self.delivered += size
        self.delivered_at = now
        newest = self.newest
        if newest is None or record.delivered >= newest.delivered:
            self.newest = record

    def duplicate(self, size: int, now: int) -> None:
        """A duplicate ACK of who does not know SACK: something of about this size has arrived (section 4.1.3.6.1 of
        draft-ietf-ccwg-bbr)."""
        self.early += size
        self.delivered += size
        self.delivered_at = now

    def fill(self, ack: Ack, lost: int) -> None:
        """What the ACK at hand says of the rate, and the round trip it belongs to; `lost` in all until now."""
        ack.total_delivered = self.delivered
        newest = self.newest
        ack.delivery_rate = 0
        if newest is None:
            ack.prior_delivered = -1
            ack.newest_rtt = ack.sent_in_flight = ack.lost_since_sent = 0
        else:
            self.newest = None
            self.first_sent_at = newest.sent_at
            if newest.delivered >= self.round_ends:
                self.round += 1
                self.round_ends = self.delivered
            interval = max(newest.sent_at - newest.first_sent_at, self.delivered_at - newest.delivered_at)
            ack.prior_delivered = newest.delivered
            ack.app_limited = newest.app_limited
            ack.newest_rtt = 0 if newest.count else ack.now - newest.sent_at
            ack.sent_in_flight = newest.in_flight
            ack.lost_since_sent = lost - newest.lost_before
            if interval >= ack.min_rtt and interval > 0:
                rate = (self.delivered - newest.delivered) * SECOND // interval
                ack.delivery_rate = rate
                self.sample = rate
                self.sample_app_limited = newest.app_limited
            if self.app_limited and self.delivered > self.app_limited:
                self.app_limited = 0
        ack.round = self.round
