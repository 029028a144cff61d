"""AccECN in the handshake (RFC 9768 section 3.1): who asks, who grants, and how the SYN and the SYN-ACK came."""

from __future__ import annotations

from nodes.base import causes
from nodes.packet.tcp import ACK, CE, CWR, ECE, SYN, AccEcnOption, Segment
from nodes.packet.tcp_codec import MAX_OPTIONS_LEN, accecn_length
from nodes.tcp import segments
from nodes.tcp.accecn import (
    ACE_FAIL_RECV,
    FIRST_BYTES,
    FLAGS,
    NOT_SEEN,
    ORDERS,
    REFLECTED,
    AccEcn,
    ace_of,
    record,
    reflected,
    take_first_option,
)
from nodes.tcp.tcb import ACTIVE, TIMESTAMPS_LENGTH, Tcb


def begin(c: Tcb, segment: Segment) -> None:
    """AccECN mode (section 3.1.1): the peer's SYN asks for it, or its SYN-ACK grants it."""
    a = c.accurate = AccEcn(segment.ecn)
    if not segment.flags & ACK:
        return
    if segment.ecn:
        # Section 3.2.2.2: once, however many SYN-ACKs come marked.
        a.received_ce = int(segment.ecn == CE)
        a.received_bytes[segment.ecn] += len(segment.payload)
    take_first_option(c, a, segment.accecn)
    _look_for_mangling(c, a, ace_of(segment.flags))


def syn_came_again(c: Tcb, segment: Segment) -> bool:
    """A SYN that has come before. True: it asks for another kind of feedback, so the two ends could not know which
    they have (section 3.1.5), and the connection is to be reset."""
    asked = segment.flags & FLAGS
    a = c.accurate
    if a is None:
        return c.ecn and asked not in (0, CWR | ECE)
    if asked == CWR | ECE:
        return True
    if asked == 0:
        a.no_ect = True
    a.syn_ecn = segment.ecn
    return False


def mark_syn_ack(c: Tcb, segment: Segment) -> None:
    """What our SYN-ACK says: how the latest SYN came (3.1.5), and an option as a test of the path. After a timeout
    there is no option, after two no flag either (section 3.2.3.2.2)."""
    a = c.accurate
    assert a is not None
    if c.retransmits > 1:
        a.no_ect = True
        return
    segment.flags |= reflected(a.syn_ecn)
    if c.tcp.parameters.tcp_ecn_option and not c.total_retrans:
        room = MAX_OPTIONS_LEN - 4 - (TIMESTAMPS_LENGTH if c.timestamps else 4 if c.sack else 0) - 4 * int(c.scaling)
        if segment.fast_open is not None:
            room -= 4 + (len(segment.fast_open.cookie) + 3 & ~3)
        order = int(c.tcp.parameters.profile == "linux")
        for count in (3, 2, 1, 0):
            if accecn_length(count, False) <= room:
                segment.accecn = AccEcnOption(order, tuple(FIRST_BYTES[known] for known in ORDERS[order][:count]))
                break


def answer_syn_ack(c: Tcb, now: int) -> None:
    """Acknowledge the SYN-ACK by a segment without data, which tells how that came (section 3.2.2.1)."""
    assert c.accurate is not None
    c.accurate.reflect = True
    segments.send_ack(c, now, causes.HANDSHAKE)


def syn_ack_came_again(c: Tcb, segment: Segment) -> None:
    """Our ACK of a SYN-ACK was lost: the next tells how this one came."""
    a = c.accurate
    if a is not None and c.origin == ACTIVE and segment.flags & ACK:
        a.syn_ecn = segment.ecn
        a.reflect = True
        if segment.ecn == CE and not a.received_ce:
            a.received_ce = 1


def done(c: Tcb, segment: Segment) -> bool:
    """Our SYN is acknowledged. Whether that tells of congestion on the way of our SYN, or SYN-ACK."""
    a = c.accurate
    assert a is not None
    ace = ace_of(segment.flags)
    if c.origin == ACTIVE:
        congested = segment.flags & SYN != 0 and ace == REFLECTED[CE]
    else:
        if a.seen == NOT_SEEN:
            take_first_option(c, a, segment.accecn)
        congested = False
        if not segment.payload and not segment.sack and not segment.flags & SYN:
            # Section 3.2.2.1, table 4.
            if ace == 0:
                a.no_ect = a.deaf = True
                a.failed |= ACE_FAIL_RECV
                record(c, c.last_received, causes.ECN_BLEACHED)
            else:
                congested = ace == REFLECTED[CE]
                a.delivered_ce = int(congested)
                _look_for_mangling(c, a, ace)
    return congested


def start(c: Tcb, now: int) -> None:
    """The handshake is done: from now on ACE counts."""
    a = c.accurate
    assert a is not None
    a.counting = True
    a.arrived = c.board.arrived
    a.segs_before = c.segs_out
    record(c, now, causes.ECN_ACCURATE)


def _look_for_mangling(c: Tcb, a: AccEcn, ace: int) -> None:
    """Our SYN or SYN-ACK was sent as not ECN-capable: as anything else it cannot have come (section 3.2.2.3)."""
    if ace in REFLECTED[1:] and c.tcp.parameters.tcp_ecn_fallback:
        a.no_ect = True
        a.failed |= ACE_FAIL_RECV
        record(c, c.last_received, causes.ECN_MANGLED)
