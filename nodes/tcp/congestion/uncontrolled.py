"""No congestion control: what the Internet was before 1988, to be seen once, in a laboratory."""

from __future__ import annotations

from mypy_extensions import mypyc_attr

from nodes.tcp.congestion.base import UNLIMITED, Ack, CongestionControl


@mypyc_attr(allow_interpreted_subclasses=True)
class Uncontrolled(CongestionControl):
    """Only the receiver's window limits what is in flight, also when everything is lost (RFC 896, congestion
    collapse)."""

    name = "none"
    rules_recovery = True

    def __init__(self, mss: int, initial_window: int, abc_limit: int) -> None:
        super().__init__(mss, UNLIMITED, abc_limit)

    def on_ack(self, ack: Ack) -> None:
        pass

    def on_loss(self, now: int, flight: int) -> None:
        pass

    def on_recovered(self, now: int) -> None:
        pass

    def on_congestion(self, now: int, flight: int) -> None:
        pass

    def on_timeout(self, now: int, flight: int, first: bool) -> None:
        pass

    def on_idle(self, now: int, restart_window: int) -> None:
        pass

    def on_fast_retransmit(self, now: int, flight: int) -> None:
        pass

    def on_duplicate_ack(self, now: int) -> None:
        pass

    def on_partial_ack(self, now: int, acked: int) -> bool:
        return True

    def on_recovery_exit(self, now: int, flight: int) -> None:
        pass

    def on_mss_change(self, now: int, mss: int) -> None:
        self.mss = mss
