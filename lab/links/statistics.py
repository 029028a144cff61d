"""What one direction of a link has done so far."""

from __future__ import annotations

from typing import Final

COUNTERS: Final = (
    "bytes_delivered",
    "bytes_in",
    "corrupted",
    "delayed",
    "dropped_down",
    "dropped_loss",
    "dropped_queue",
    "dropped_rule",
    "duplicated",
    "held",
    "injected",
    "marked",
    "packets_delivered",
    "packets_in",
    "queue_bytes",
    "queue_bytes_max",
    "queue_packets",
    "queue_packets_max",
    "reordered",
    "resets",
)


class Statistics:
    """Counts since the link was made. A frame may count in several of them (duplicated and corrupted, say)."""

    __slots__ = COUNTERS

    def __init__(self) -> None:
        self.packets_in = 0  # offered by the node; injected ones are counted apart
        self.bytes_in = 0
        self.packets_delivered = 0  # handed over at the far end, copies included
        self.bytes_delivered = 0
        self.queue_packets = 0
        self.queue_bytes = 0
        self.queue_packets_max = 0
        self.queue_bytes_max = 0
        self.dropped_loss = 0
        self.dropped_queue = 0
        self.dropped_rule = 0
        self.dropped_down = 0
        self.duplicated = 0
        self.corrupted = 0
        self.reordered = 0
        self.delayed = 0  # by a rule
        self.held = 0  # by a rule
        self.resets = 0  # frames a rule replaced by RSTs
        self.injected = 0
        self.marked = 0  # by the queue, with CE

    def as_dict(self) -> dict[str, int]:
        """All counts by name."""
        return {name: getattr(self, name) for name in COUNTERS}
