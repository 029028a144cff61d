"""DCTCP: the window shrinks by how much was marked, not by whether something was (RFC 8257)."""

from __future__ import annotations

from typing import Final

from mypy_extensions import mypyc_attr

from nodes.tcp.congestion.base import Ack
from nodes.tcp.congestion.newreno import NewReno

#: alpha is a fraction of this; g = 1/16 (section 4.2).
ALPHA_ONE: Final = 1024
_G_SHIFT: Final = 4


@mypyc_attr(allow_interpreted_subclasses=True)
class Dctcp(NewReno):
    """For networks of switches that mark (`ecn_threshold` of a link), where nothing else shares the queues."""

    name = "dctcp"
    exact_ecn = True

    def __init__(self, mss: int, initial_window: int, abc_limit: int) -> None:
        super().__init__(mss, initial_window, abc_limit)
        #: The share of bytes that were marked, averaged; of ALPHA_ONE.
        self.alpha = ALPHA_ONE
        self._round = -1
        self._acked_bytes = 0
        self._marked_bytes = 0
        self._reduced_round = -1

    def on_every_ack(self, ack: Ack) -> None:
        """Sections 3.3 and 3.4."""
        if ack.round != self._round:
            self._round = ack.round
            if self._acked_bytes:
                share = min(self._marked_bytes * ALPHA_ONE // self._acked_bytes, ALPHA_ONE)
                self.alpha += (share >> _G_SHIFT) - (self.alpha >> _G_SHIFT)
                self._acked_bytes = self._marked_bytes = 0
        self._acked_bytes += ack.acked
        if ack.ece:
            self._marked_bytes += ack.marked
            if self._reduced_round != ack.round and not ack.recovering:
                self._reduced_round = ack.round
                self.cwnd = max(self.cwnd - self.cwnd * self.alpha // (2 * ALPHA_ONE), 2 * self.mss)
                self.ssthresh = self.cwnd

    def on_ack(self, ack: Ack) -> None:
        if not ack.ece:
            super().on_ack(ack)
