"""Mutant: the next segment goes when the last is acknowledged. A segment for each round trip, however fast the path."""

from __future__ import annotations

from nodes.tcp.congestion.base import Ack, CongestionControl


class StopAndWait(CongestionControl):
    """A congestion window of one segment that nothing changes."""

    name = "stop-and-wait"

    def __init__(self, mss: int, initial_window: int, abc_limit: int) -> None:
        super().__init__(mss, mss, abc_limit)
        self.ssthresh = mss

    def on_ack(self, ack: Ack) -> None:
        """It does not grow."""

    def ssthresh_after_loss(self, now: int, flight: int) -> int:
        """It does not shrink."""
        return self.mss
