"""Tahoe: fast retransmit, but no fast recovery (Jacobson 1988; RFC 2001 without its section 4)."""

from __future__ import annotations

from mypy_extensions import mypyc_attr

from nodes.tcp.congestion.base import Ack
from nodes.tcp.congestion.newreno import NewReno


@mypyc_attr(allow_interpreted_subclasses=True)
class Tahoe(NewReno):
    """Every loss, however it shows, is followed by slow start from one segment."""

    name = "tahoe"
    rules_recovery = True

    def __init__(self, mss: int, initial_window: int, abc_limit: int) -> None:
        # Every ACK adds one segment, also the one that acknowledges all that was behind the loss.
        super().__init__(mss, initial_window, 1)
        self._repairing = False

    def on_every_ack(self, ack: Ack) -> None:
        if self._repairing and ack.acked:
            self.cwnd = min(self.cwnd + self.mss, self.ssthresh)

    def on_loss(self, now: int, flight: int) -> None:
        self.on_timeout(now, flight, True)
        self._repairing = True

    def on_timeout(self, now: int, flight: int, first: bool) -> None:
        super().on_timeout(now, flight, first)
        self._repairing = False

    def on_fast_retransmit(self, now: int, flight: int) -> None:
        self.on_timeout(now, flight, True)

    def on_duplicate_ack(self, now: int) -> None:
        pass

    def on_partial_ack(self, now: int, acked: int) -> bool:
        return False

    def on_recovered(self, now: int) -> None:
        self._repairing = False

    def on_recovery_exit(self, now: int, flight: int) -> None:
        pass
