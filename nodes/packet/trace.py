"""What the trace says of a segment seen at an interface: one SEGMENT event, and one SACK event per block."""

from __future__ import annotations

from nodes.base.event_sink import EventSink
from nodes.base.events import LEVEL_SEGMENTS, SACK, SEGMENT, UNKNOWN
from nodes.packet.address import address_text
from nodes.packet.tcp import ABSENT, Segment


def record_segment(
    sink: EventSink,
    now: int,
    node: int,
    conn: int,
    cause: int,
    direction: int,
    interface: int,
    frame: int,
    src: bytes,
    dst: bytes,
    segment: Segment,
    resent: bool,
) -> None:
    """Record a segment SENT or RECEIVED (nodes.base.events) as the `frame`-th frame, from 1, of that direction of an
    interface. `node` and `interface` are interned names; nothing is recorded below level segments."""
    if sink.level < LEVEL_SEGMENTS:
        return
    sink.emit(
        SEGMENT,
        now,
        node,
        conn,
        cause,
        (
            direction,
            interface,
            frame,
            sink.name(address_text(src)),
            segment.src_port,
            sink.name(address_text(dst)),
            segment.dst_port,
            segment.seq,
            segment.ack,
            segment.flags,
            segment.window,
            len(segment.payload),
            _known(segment.mss),
            _known(segment.window_scale),
            _known(segment.tsval),
            _known(segment.tsecr),
            int(segment.sack_permitted),
            int(resent),
        ),
    )
    for index, (left, right) in enumerate(segment.sack):
        sink.emit(SACK, now, node, conn, cause, (direction, index, left, right))


def _known(option: int) -> int:
    return UNKNOWN if option == ABSENT else option
