"""What a connection remembers of losses with SACK; rack.py, prr.py and undo.py work with it."""

from __future__ import annotations

from typing import Final

#: Recoveries for which a widened reordering window stays (RFC 8985 section 7.2, step 4).
PERSIST: Final = 16


class Rack:
    """RFC 8985 section 5.3's variables; times ns. `order` is the place of RACK.segment among the transmissions, which
    says more than RACK.xmit_ts and RACK.end_seq: of two at the same instant either may have been the first."""

    __slots__ = (
        "degree",
        "dsack_round",
        "fack",
        "late",
        "min_rtt",
        "min_rtt_at",
        "mult",
        "order",
        "persist",
        "reordering",
        "rtt",
        "seen",
    )

    def __init__(self) -> None:
        self.order = 0
        self.rtt = 0
        self.min_rtt = 0
        self.min_rtt_at = 0
        self.fack = 0
        self.reordering = False
        #: Whether the ACK at hand tells of some.
        self.late = False
        #: The most reordering seen, segments; 0: none.
        self.degree = 0
        #: How many ACKs have told of reordering.
        self.seen = 0
        #: RACK.reo_wnd_mult, RACK.reo_wnd_persist, RACK.dsack_round (-1: none).
        self.mult = 1
        self.persist = PERSIST
        self.dsack_round = -1


class Prr:
    """RFC 6937 section 3's variables, bytes."""

    __slots__ = ("delivered", "out", "recover_fs")

    def __init__(self, flight: int) -> None:
        self.delivered = 0
        self.out = 0
        self.recover_fs = max(flight, 1)


class Undo:
    """What there was before a recovery. `stamp` is the timestamp of its first retransmission, `resent` how many
    retransmissions nobody has called superfluous."""

    __slots__ = ("cwnd", "marker", "resent", "ssthresh", "stamp")

    def __init__(self, cwnd: int, ssthresh: int, marker: int, stamp: int) -> None:
        self.cwnd = cwnd
        self.ssthresh = ssthresh
        self.marker = marker
        self.stamp = stamp
        self.resent = 0
