"""What is recorded of a segment: every field of the schema, in its order."""

from __future__ import annotations

from nodes.base import causes
from nodes.base.event_sink import EventSink
from nodes.base.events import KIND_BY_NUMBER, LEVEL_CONGESTION, LEVEL_SEGMENTS, SACK, SEGMENT, SENT, UNKNOWN
from nodes.packet.tcp import ACK, Segment
from nodes.packet.trace import record_segment


class Recorder(EventSink):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.names = [""]
        self.events: list[dict[str, int]] = []

    def name(self, text: str) -> int:
        if text not in self.names:
            self.names.append(text)
        return self.names.index(text)

    def emit(self, kind: int, time_ns: int, node: int, conn: int, cause: int, values: tuple[int, ...]) -> None:
        named = dict(zip((field.name for field in KIND_BY_NUMBER[kind].fields), values, strict=True))
        self.events.append({"kind": kind, "time_ns": time_ns, "node": node, "conn": conn, "cause": cause, **named})


def record(sink: Recorder) -> None:
    segment = Segment(1000, 80, 5, 6, ACK, 7, b"payload")
    segment.tsval = 8
    segment.tsecr = 0
    segment.sack = ((10, 20), (30, 40))
    record_segment(
        sink,
        99,
        sink.name("h1"),
        3,
        causes.RETRANSMIT_RTO,
        SENT,
        sink.name("h1:eth0"),
        12,
        bytes([10, 0, 0, 1]),
        bytes([10, 0, 0, 2]),
        segment,
        True,
    )


def test_segment_and_sack_events() -> None:
    sink = Recorder(LEVEL_SEGMENTS)
    record(sink)
    common = {"time_ns": 99, "node": 1, "conn": 3, "cause": causes.RETRANSMIT_RTO, "direction": SENT}
    assert sink.events == [
        {
            **common,
            "kind": SEGMENT,
            "interface": sink.name("h1:eth0"),
            "frame": 12,
            "src_address": sink.name("10.0.0.1"),
            "src_port": 1000,
            "dst_address": sink.name("10.0.0.2"),
            "dst_port": 80,
            "seq": 5,
            "ack": 6,
            "flags": ACK,
            "window": 7,
            "length": 7,
            "mss": UNKNOWN,
            "window_scale": UNKNOWN,
            "tsval": 8,
            "tsecr": 0,
            "sack_permitted": 0,
            "resent": 1,
        },
        {**common, "kind": SACK, "index": 0, "left": 10, "right": 20},
        {**common, "kind": SACK, "index": 1, "left": 30, "right": 40},
    ]


def test_nothing_below_level_segments() -> None:
    sink = Recorder(LEVEL_CONGESTION)
    record(sink)
    assert sink.events == []
