"""Reno: the fast recovery of RFC 5681."""

from __future__ import annotations

from mypy_extensions import mypyc_attr

from nodes.tcp.congestion.newreno import NewReno


@mypyc_attr(allow_interpreted_subclasses=True)
class Reno(NewReno):
    """RFC 5681 section 3.2: without SACK, fast recovery ends with the first ACK of new data."""

    name = "reno"

    def on_partial_ack(self, now: int, acked: int) -> bool:
        return False

    def on_recovery_exit(self, now: int, flight: int) -> None:
        self.cwnd = self.ssthresh
