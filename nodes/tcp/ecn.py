"""Explicit congestion notification: agreeing on it, marks echoed, echoes obeyed (RFC 3168 section 6.1; RFC 8257 where
the congestion control wants every mark). More accurate feedback is in accecn.py, chosen here."""

from __future__ import annotations

from nodes.base import causes
from nodes.packet.tcp import ACK, CE, CWR, ECE, ECT_0, Segment
from nodes.tcp import accecn, accecn_handshake, congestion_control, newcwv, segments
from nodes.tcp.tcb import Tcb


def _exact(c: Tcb) -> bool:
    return c.tcp.parameters.controls[c.options.congestion].exact_ecn


def offers(c: Tcb) -> int:
    """The flags by which our SYN asks for ECN. Not when it was lost, perhaps for asking (RFC 3168 section 6.1.1.1);
    AccECN is asked for twice (RFC 9768 section 3.1.4.1)."""
    parameters = c.tcp.parameters
    known = parameters.tcp_ecn
    if c.total_retrans:
        if parameters.tcp_ecn_fallback and c.total_retrans > (c.ecn_offered == accecn.FLAGS):
            return 0
        # One connection never asks for both kinds (RFC 9768 section 3.1.5).
        return c.ecn_offered
    if known == 3:
        return accecn.FLAGS
    return ECE | CWR if known == 1 or known == 4 or _exact(c) else 0


def agree(c: Tcb, segment: Segment) -> None:
    """The peer's SYN or SYN-ACK has come: which feedback there will be (RFC 3168 section 6.1.1, RFC 9768 table 2)."""
    told = segment.flags & accecn.FLAGS
    if segment.flags & ACK and c.ecn_offered != accecn.FLAGS:
        # Both bits come from who only reflects them.
        c.ecn = c.ecn_offered != 0 and told & (ECE | CWR) == ECE
    elif segment.flags & ACK:
        c.ecn = told != 0 and told != accecn.FLAGS
        if c.ecn and told != ECE:
            accecn_handshake.begin(c, segment)
    elif c.tcp.parameters.tcp_ecn >= 3 and told != 0 and told != ECE | CWR:
        c.ecn = True
        accecn_handshake.begin(c, segment)
    else:
        c.ecn = told & (ECE | CWR) == ECE | CWR and (c.tcp.parameters.tcp_ecn != 0 or _exact(c))


def mark(c: Tcb, segment: Segment, resent: bool) -> None:
    """What a segment of ours says; only new data may be marked (sections 6.1.4 to 6.1.6)."""
    if c.ece:
        segment.flags |= ECE
    if segment.payload and (not resent or c.congestion.exact_ecn):
        segment.ecn = ECT_0
        if c.cwr_due:
            c.cwr_due = False
            segment.flags |= CWR


def on_segment(c: Tcb, now: int, segment: Segment) -> None:
    """An acceptable segment has come: remember whether its packet was marked, for the ACKs to tell."""
    if segment.ecn:
        c.ecn_seen = True
    marked = segment.ecn == CE
    if c.congestion.exact_ecn:
        if segment.payload and marked != c.ece:
            # RFC 8257 section 3.2: what is not acknowledged yet was otherwise, so its ACK goes first.
            if c.ack_bytes:
                segments.send_ack(c, now, causes.ACK_NOW)
            c.ece = marked
        return
    if segment.flags & CWR:
        c.ece = False
    if marked:
        c.ece = True


def on_echo(c: Tcb, now: int) -> None:
    """An ACK tells of a mark: once in a round trip it counts as a loss does (section 6.1.2)."""
    if c.congestion.exact_ecn or c.in_recovery or c.rto_recovery or c.snd_una < c.cwr_until:
        return
    reduced(c)
    c.undo = None
    cwnd = c.congestion.cwnd
    flight = c.snd_nxt - c.snd_una
    c.congestion.on_mark(now, flight, c.tcp.parameters.tcp_abe != 0)
    if c.validation is not None:
        newcwv.on_congestion(c, now, c.validation, flight, cwnd, False)
    congestion_control.record(c, now, causes.ECN_ECHO)


def reduced(c: Tcb) -> None:
    """The window was reduced, for whatever reason: the next new data tells (section 6.1.2), unless feedback is accurate
    (RFC 9768 section 3.1.5)."""
    if c.ecn:
        c.cwr_due = c.accurate is None
        c.cwr_until = c.snd_nxt
