"""SYN cookies (RFC 4987 section 3.6): when the SYN queue is full, the SYN-ACK itself says what a queue would keep.

Its number holds the minute and which of four MSS the peer has, under two keyed hashes; its timestamp holds, in its
lowest bits, window scale, SACK and ECN, which a peer without timestamps therefore loses. The layout is Linux's. That
AccECN was agreed on the peer's ACK says itself.
"""

from __future__ import annotations

from typing import Final

from nodes.base.clock import MILLISECOND, SECOND
from nodes.packet.tcp import CWR, ECE, SYN, Segment
from nodes.tcp import accecn
from nodes.tcp.isn import IsnGenerator
from nodes.tcp.seq import MASK
from nodes.tcp.tcb import Tcb

#: The MSS a cookie can say; the peer's is rounded down to one of them.
MSS_IPV4: Final = (536, 1300, 1440, 1460)
MSS_IPV6: Final = (1220, 1420, 1440, 8940)
#: The cookies' clock, and how many of its ticks a cookie is good for.
TICK_NS: Final = 60 * SECOND
MAX_AGE: Final = 2
#: For how long after the last cookie sent ACKs are looked at for cookies, ns.
LOOKED_FOR: Final = MAX_AGE * TICK_NS

_COUNT_SHIFT: Final = 24
_LOW: Final = 0xFF_FFFF
# the lowest bits of a SYN-ACK's timestamp
_SCALE: Final = 0xF
_NO_SCALE: Final = 0xF
_SACK: Final = 0x10
_ECN: Final = 0x20
_STAMP_BITS: Final = 6


def _table(c: Tcb) -> tuple[int, ...]:
    return MSS_IPV6 if len(c.remote) == 16 else MSS_IPV4


def bake(c: Tcb, isn: IsnGenerator, now: int) -> None:
    """Make ISS and timestamps of an embryo, which has taken its SYN, such that they say all of it again."""
    table = _table(c)
    index = len(table) - 1
    while index and c.peer_mss < table[index]:
        index -= 1
    count = now // TICK_NS
    low = (_hash(c, isn, b"cookie %d" % count) + index) & _LOW
    c.iss = (_hash(c, isn, b"cookie") + c.irs + (count << _COUNT_SHIFT) + low) & MASK
    if not c.timestamps:
        c.sack = False
        c.ecn = c.accurate is not None
        c.scaling = False
        c.rcv_shift = 0
        return
    said = (
        (c.snd_shift if c.scaling else _NO_SCALE)
        | (_SACK if c.sack else 0)
        | (_ECN if c.ecn and c.accurate is None else 0)
    )
    clock = now // MILLISECOND
    stamp = clock >> _STAMP_BITS << _STAMP_BITS | said
    if stamp > clock:
        stamp -= 1 << _STAMP_BITS
    c.ts_offset += stamp - clock


def eat(c: Tcb, isn: IsnGenerator, now: int, segment: Segment) -> Segment | None:
    """The SYN that the cookie acknowledged by `segment` stands for; None when it is no cookie of ours, or too old.
    `c` is an embryo for the same 4-tuple."""
    irs = (segment.seq - 1) & MASK
    rest = (segment.ack - 1 - _hash(c, isn, b"cookie") - irs) & MASK
    now_count = now // TICK_NS
    age = (now_count - (rest >> _COUNT_SHIFT)) & 0xFF
    if age >= MAX_AGE or age > now_count:
        return None
    index = (rest - _hash(c, isn, b"cookie %d" % (now_count - age))) & _LOW
    table = _table(c)
    if index >= len(table):
        return None
    syn = Segment(segment.src_port, segment.dst_port, irs, 0, SYN, segment.window, b"")
    syn.mss = table[index]
    if c.tcp.parameters.tcp_ecn >= 3 and not segment.payload and accecn.ace_of(segment.flags) > 1:
        # Only who asked for AccECN acknowledges a SYN-ACK with such flags (RFC 9768 section 5.1).
        syn.flags |= accecn.FLAGS
    if segment.tsval < 0:
        return syn
    parameters = c.tcp.parameters
    said = (segment.tsecr - c.ts_offset) & MASK
    scale = said & _SCALE
    if not parameters.tcp_timestamps or (said & _SACK and not parameters.tcp_sack):
        return None
    syn.tsval = segment.tsval
    syn.tsecr = segment.tsecr
    syn.sack_permitted = said & _SACK != 0
    if said & _ECN:
        syn.flags |= ECE | CWR
    if scale != _NO_SCALE:
        if not parameters.tcp_window_scaling:
            return None
        syn.window_scale = scale
    return syn


def _hash(c: Tcb, isn: IsnGenerator, purpose: bytes) -> int:
    return isn.keyed(purpose, c.local, c.local_port, c.remote, c.remote_port)
