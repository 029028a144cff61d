"""More accurate ECN feedback (AccECN, RFC 9768): both ends count marks, and every segment tells the count.

The three flags AE, CWR and ECE are one counter, ACE, of the packets that came marked, modulo 8. The AccECN option has
the bytes that came with each codepoint. Here counters begin at 0; on the wire at 5, and at 1 for the bytes of ECT, so
that one that was cleared on the way shows (section 3.2.1). How it is agreed on is in accecn_handshake.py.
"""

from __future__ import annotations

from typing import Final

from nodes.base import causes
from nodes.base.events import LEVEL_CONGESTION
from nodes.packet.tcp import AE, CE, CWR, ECE, ECT_0, ECT_1, SYN, AccEcnOption, Segment
from nodes.packet.tcp_codec import MAX_OPTIONS_LEN, accecn_length
from nodes.tcp.seq import HALF, MASK
from nodes.tcp.tcb import TIMESTAMPS_LENGTH, Tcb

FLAGS: Final = AE | CWR | ECE
_ACE_SHIFT: Final = 6
_ACE_MASK: Final = 7
#: Where the counters begin on the wire; the byte counters by codepoint.
_FIRST_ACE: Final = 5
FIRST_BYTES: Final = (0, 1, 1, 0)
_BYTES_MASK: Final = 0xFF_FFFF
_OLD: Final = 0x80_0000
#: How a codepoint that came is told in the handshake, as ACE (section 3.1.1, table 2, and 3.2.2.1, table 3).
REFLECTED: Final = (0b010, 0b011, 0b100, 0b110)
#: The codepoints in the fields of an option of each order (section 3.2.3, figure 4).
ORDERS: Final = ((ECT_0, CE, ECT_1), (ECT_1, CE, ECT_0))
#: The longest option, with its padding.
OPTION_LENGTH: Final = 12
#: Each byte counter is told at least once in so many bytes (section 3.2.3.3).
_OFTEN: Final = 1 << 22
#: A peer that usually acknowledges more segments at once than this lets no conclusion be drawn from a large step.
_STRIDE: Final = 4
_STRIDE_SHIFT: Final = 4
#: Appendix A.2.2: the least that a marked segment is likely to have, as a part of the MSS.
_SAFETY: Final = 2

# What is known of the peer's options (as tcpi_accecn_opt_seen has it) ...
NOT_SEEN: Final = 0
EMPTY_SEEN: Final = 1
COUNTER_SEEN: Final = 2
FAIL_SEEN: Final = 3
# ... and what does not work (as tcpi_accecn_fail_mode has it): feedback of ours, the peer's, and the same of options.
ACE_FAIL_SEND: Final = 1
ACE_FAIL_RECV: Final = 2
OPTION_FAIL_SEND: Final = 4
OPTION_FAIL_RECV: Final = 8


class AccEcn:
    """What one connection in AccECN mode remembers."""

    __slots__ = (
        "arrived",
        "counting",
        "deaf",
        "delivered_bytes",
        "delivered_ce",
        "demand",
        "failed",
        "fields",
        "last",
        "marks_at_option",
        "no_ect",
        "option_at",
        "pending",
        "received_bytes",
        "received_ce",
        "reflect",
        "reported_twice",
        "reserved",
        "seen",
        "segs_before",
        "stride",
        "syn_ecn",
        "tsval",
    )

    def __init__(self, syn_ecn: int) -> None:
        # As receiver of data: packets that came with CE (r.cep), and payload bytes by codepoint (r.e1b, r.e0b, r.ceb).
        self.received_ce = 0
        self.received_bytes = [0, 0, 0, 0]
        #: The codepoint that came last; of the last SYN or SYN-ACK.
        self.last = syn_ecn
        self.syn_ecn = syn_ecn
        #: The next ACK answers a SYN-ACK, and tells how that came.
        self.reflect = False
        #: Marks that no segment has told yet.
        self.pending = 0
        #: How many of the next segments need the option; how many fields it needs, by order; when it went last.
        self.demand = 0
        self.fields = [0, 0]
        self.option_at = 0
        #: Room for the option that the MSS leaves.
        self.reserved = 0
        #: Where the data began that was last reported as come twice, by an ACK with the option.
        self.reported_twice = -1

        # As sender: what the peer has told (s.cep, s.e1b, s.e0b, s.ceb).
        self.delivered_ce = 0
        self.delivered_bytes = [0, 0, 0, 0]
        #: Whether ACE is a counter: after the handshake.
        self.counting = False
        #: Segments that had arrived by the last ACK, and the peer's last timestamp.
        self.arrived = 0
        self.tsval = 0
        #: Segments that an ACK brings on average, times 1 << _STRIDE_SHIFT.
        self.stride = 0
        #: `delivered_ce` when the last option came, and segments sent before the handshake was done.
        self.marks_at_option = 0
        self.segs_before = 0

        # What does not work.
        #: Nothing is sent as ECN-capable; feedback is not believed.
        self.no_ect = False
        self.deaf = False
        self.seen = NOT_SEEN
        self.failed = 0


def ace_of(flags: int) -> int:
    """The ACE field."""
    return flags >> _ACE_SHIFT & _ACE_MASK


def reflected(codepoint: int) -> int:
    """The flags by which a handshake tells that a SYN or SYN-ACK came with this codepoint."""
    return REFLECTED[codepoint] << _ACE_SHIFT


# As receiver of data.


def on_segment(c: Tcb, segment: Segment) -> None:
    """Count an acceptable segment (section 3.2), and acknowledge at once what the peer should know (3.2.2.5.1)."""
    a = c.accurate
    assert a is not None
    codepoint = segment.ecn
    size = len(segment.payload)
    edge = codepoint != a.last
    a.last = codepoint
    if codepoint:
        c.ecn_seen = True
        if size:
            before = a.received_bytes[codepoint]
            a.received_bytes[codepoint] = before + size
            for order in (0, 1):
                a.fields[order] = max(a.fields[order], ORDERS[order].index(codepoint) + 1)
            if (before ^ (before + size)) & -_OFTEN and not a.demand:
                a.demand = 1
        if codepoint == CE:
            a.received_ce += 1
            a.pending += 1
            a.demand = 2
    if edge:
        a.demand = 2
        if size:
            c.ack_cause = causes.ECN_CHANGED
    if a.pending >= 2 and (a.pending >= 3 or size or c.ack_bytes) and (size or c.sack):
        c.ack_cause = causes.ECN_MARKS


def came_twice(c: Tcb, left: int) -> None:
    """Data has come that was acknowledged before. If the ACK that reported the same was lost too, so may be all that
    carry the option (section 3.2.3.2.2)."""
    a = c.accurate
    assert a is not None
    if a.reported_twice == left:
        block_option(c, c.last_received)
    a.reported_twice = left if sends_option(c) else -1


def block_option(c: Tcb, now: int) -> None:
    """Something on the path seems to swallow what carries the option: none is sent any more."""
    a = c.accurate
    if a is not None and not a.failed & OPTION_FAIL_SEND:
        a.failed |= OPTION_FAIL_SEND
        record(c, now, causes.ECN_OPTION_BLOCKED)


def sends_option(c: Tcb) -> bool:
    """Whether options are sent. Linux does not begin before it has seen one; RFC 9768 lets one (section 3.2.3.2.3)."""
    a = c.accurate
    if a is None or a.failed & OPTION_FAIL_SEND or not c.tcp.parameters.tcp_ecn_option:
        return False
    return a.seen != NOT_SEEN or c.tcp.parameters.profile != "linux"


def reserve(c: Tcb) -> int:
    """What full segments leave for the option, bytes."""
    a = c.accurate
    assert a is not None
    a.reserved = OPTION_LENGTH if sends_option(c) else 0
    return a.reserved


def mark(c: Tcb, now: int, segment: Segment, resent: bool) -> None:
    """What a segment of ours says, after its SACK blocks. New data is ECN-capable (RFC 3168 section 6.1.4); as Linux
    has it everything is, where SACK tells ACKs of ACKs from duplicates (RFC 9768 section 3.2.2.5.1)."""
    a = c.accurate
    assert a is not None
    if a.reflect and not segment.payload and not segment.sack:
        a.reflect = False
        segment.flags |= reflected(a.syn_ecn)
    else:
        segment.flags |= (a.received_ce + _FIRST_ACE & _ACE_MASK) << _ACE_SHIFT
    a.pending = 0
    if not a.no_ect:
        if c.tcp.parameters.profile == "linux":
            if c.sack or segment.payload:
                segment.ecn = ECT_0
        elif segment.payload and not resent:
            segment.ecn = ECT_0
    if not sends_option(c):
        return
    parameters = c.tcp.parameters
    if parameters.tcp_ecn_option == 1 and not a.demand:
        beacon = parameters.tcp_ecn_option_beacon
        if not beacon or (now - a.option_at) * beacon < c.srtt:
            return
    _add_option(c, now, a, segment)


def _add_option(c: Tcb, now: int, a: AccEcn, segment: Segment) -> None:
    """As many fields as fit, but all that have changed since the last option; up to two SACK blocks go first
    (section 3.2.3.3). Linux writes order 1 only."""
    order = 1
    if c.tcp.parameters.profile != "linux" and a.fields[0] <= a.fields[1]:
        order = 0
    needed = a.fields[order]
    room = MAX_OPTIONS_LEN - (TIMESTAMPS_LENGTH if c.timestamps else 0)
    if segment.payload:
        # (A probe of the path's MTU is larger than the MSS, and is to be as large as a segment with all its options.)
        room = min(room, max(c.mss - len(segment.payload), 0) + a.reserved)
    blocks = len(segment.sack)
    while True:
        left = room - (4 + 8 * blocks if blocks else 0)
        count = 3
        while count >= needed and accecn_length(count, blocks > 0) > left:
            count -= 1
        if count >= needed:
            break
        if blocks <= 2:
            return
        blocks -= 1
    segment.sack = segment.sack[:blocks]
    told = ORDERS[order][:count]
    segment.accecn = AccEcnOption(order, tuple(a.received_bytes[n] + FIRST_BYTES[n] & _BYTES_MASK for n in told))
    a.fields[0] = a.fields[1] = 0
    a.option_at = now
    if a.demand:
        a.demand -= 1


# As sender of data.


def on_ack(c: Tcb, now: int, segment: Segment, delivered: int) -> int:
    """What an ACK tells of marks, after all else that it tells, such as `delivered` bytes: how many of ours came
    marked. An ACK that shows nothing new may be old, and counts for nothing (section 3.2.2.2)."""
    a = c.accurate
    assert a is not None
    newly = c.board.arrived - a.arrived
    stamped = segment.tsval
    later = stamped >= 0 and stamped != a.tsval and (stamped - a.tsval) & MASK < HALF
    if segment.flags & SYN or segment.ack != c.snd_una & MASK or not (newly or delivered or later):
        return 0
    a.arrived = c.board.arrived
    if later:
        a.tsval = stamped
    if not a.counting:
        return 0
    ace = ace_of(segment.flags)
    if ace == 0 and not a.delivered_ce and c.segs_out - a.segs_before < 8 - _FIRST_ACE and not a.no_ect:
        # Of so few packets not enough can be marked for the counter to be 0 again (section 3.2.2.4).
        a.no_ect = a.deaf = True
        a.failed |= ACE_FAIL_RECV
        record(c, now, causes.ECN_BLEACHED)
    marked_bytes = _read_option(c, a, segment.accecn)
    if newly:
        a.stride += newly - (a.stride >> _STRIDE_SHIFT) if a.stride else newly << _STRIDE_SHIFT
    marks = (ace - _FIRST_ACE - a.delivered_ce) & _ACE_MASK
    if newly > _ACE_MASK:
        marks = _safe(a, marks, newly, marked_bytes, c.mss)
    if a.deaf:
        return 0
    a.delivered_ce += marks
    if marked_bytes >= 0:
        if marked_bytes and a.delivered_ce == a.marks_at_option and newly <= _ACE_MASK and not a.no_ect:
            # Bytes came marked, and no packet did: somebody changes what is told (section 3.2.3.2.5).
            a.no_ect = True
            a.failed |= ACE_FAIL_RECV
            record(c, now, causes.ECN_MANGLED)
        a.marks_at_option = a.delivered_ce
    if not marks:
        return 0
    c.tcp.ack.ece = True
    marked = marked_bytes if marked_bytes > 0 else marks * c.mss
    c.delivered_ce += marked
    c.delivered_ce_segs += marks
    c.tcp.counters.TcpExtTCPDeliveredCE += marks
    record(c, now, causes.ECN_ECHO)
    return marked


def take_first_option(c: Tcb, a: AccEcn, option: AccEcnOption | None) -> None:
    """The first option that comes; zero where a counter of ECT should be means that it was cleared (3.2.3.2.4)."""
    if option is None:
        return
    fields = option.fields
    if not fields:
        a.seen = EMPTY_SEEN
    elif fields[0] == 0 or (len(fields) == 3 and fields[2] == 0):
        a.seen = FAIL_SEEN
        a.failed |= OPTION_FAIL_RECV
        record(c, c.last_received, causes.ECN_BLEACHED)
    else:
        a.seen = COUNTER_SEEN


def _read_option(c: Tcb, a: AccEcn, option: AccEcnOption | None) -> int:
    """Take over the peer's byte counters (section 3.2.3.1). How many bytes were marked since the last option; -1: there
    is no option, or it is not to be trusted."""
    if option is None or a.failed & OPTION_FAIL_RECV:
        return -1
    if a.seen < COUNTER_SEEN:
        if a.seen == NOT_SEEN and c.bytes_sent >= _OLD:
            # So late nobody knows how often the counters have wrapped.
            return -1
        take_first_option(c, a, option)
        if a.seen == FAIL_SEEN:
            return -1
    before = a.delivered_bytes[CE]
    for codepoint, value in zip(ORDERS[option.order], option.fields, strict=False):
        step = value - FIRST_BYTES[codepoint] - a.delivered_bytes[codepoint] & _BYTES_MASK
        if step < _OLD:
            a.delivered_bytes[codepoint] += step
    return a.delivered_bytes[CE] - before


def _safe(a: AccEcn, least: int, newly: int, marked_bytes: int, mss: int) -> int:
    """How many packets were marked, where ACE may have wrapped (section 3.2.2.5.2, appendix A.2): `least` or, if that
    is likelier, the most that it can stand for."""
    most = newly - ((newly - least) & _ACE_MASK)
    if marked_bytes >= 0:
        if marked_bytes <= mss * least and marked_bytes * _SAFETY < mss * most:
            return least
    elif a.stride > _STRIDE << _STRIDE_SHIFT:
        return least
    return most


def record(c: Tcb, now: int, cause: int) -> None:
    """Something about ECN has changed."""
    tcp = c.tcp
    a = c.accurate
    if tcp.sink.level >= LEVEL_CONGESTION and a is not None:
        tcp.sink.ecn(now, tcp.node, c.number, cause, a.delivered_ce, a.received_ce, not a.no_ect, sends_option(c))
