"""BBR, version 1: send at the rate the path delivers, with as much in flight as it holds, by a model of the path
(draft-cardwell-iccrg-bbr-congestion-control-00, whose section numbers stand below). Long-term sampling for policers is
left out."""

from __future__ import annotations

from typing import Final

from mypy_extensions import mypyc_attr

from nodes.base.clock import MICROSECOND, MILLISECOND, SECOND
from nodes.tcp.congestion.base import Ack, CongestionControl
from nodes.tcp.congestion.windowed import WindowedMax

STARTUP: Final = 0
DRAIN: Final = 1
PROBE_BW: Final = 2
PROBE_RTT: Final = 3

#: Gains in thousandths: 2 / ln 2 and its inverse, one period of probing for bandwidth, the window in it.
_HIGH_GAIN: Final = 2885
_DRAIN_GAIN: Final = 347
_CYCLE: Final = (1250, 750, 1000, 1000, 1000, 1000, 1000, 1000)
_CWND_GAIN: Final = 2000
_GAIN_ONE: Final = 1000
#: The bandwidth is the highest of so many round trips, and paced at 1 % less.
_BW_ROUNDS: Final = 10
_MARGIN: Final = 99
#: The pipe is full when so many round trips have not brought a quarter more.
_FULL_ROUNDS: Final = 3
_MIN_RTT_WINDOW: Final = 10 * SECOND
_PROBE_RTT_TIME: Final = 200 * MILLISECOND
_MIN_SEGMENTS: Final = 4
#: Segments above the product, for delayed ACKs.
_QUANTA: Final = 3


@mypyc_attr(allow_interpreted_subclasses=True)
class Bbr(CongestionControl):
    """Paced; a loss as such does not reduce it."""

    name = "bbr"
    rules_recovery = True
    paces = True

    def __init__(self, mss: int, initial_window: int, abc_limit: int) -> None:
        super().__init__(mss, initial_window, abc_limit)
        self.mode = STARTUP
        self._initial = initial_window
        self._pacing_gain = _HIGH_GAIN
        self._cwnd_gain = _HIGH_GAIN
        self._rates = WindowedMax()
        self._min_rtt = 0
        self._min_rtt_at = 0
        self._round = 0
        self._full_rate = 0
        self._full_rounds = 0
        self._full = False
        self._phase = 0
        self._phase_at = 0
        self._probe_rtt_ends = -1
        self._probe_rtt_round = 0
        self._reduced_until = 0
        self._prior_cwnd = 0
        self._recovering = False
        self._conserving_round = -1
        self._flight = 0
        self._delivered = 0

    @property
    def bandwidth(self) -> int:
        """BBR.BtlBw, bytes per second; 0 before the first sample."""
        return self._rates.best

    # The model.

    def on_every_ack(self, ack: Ack) -> None:
        round_began = ack.round != self._round
        self._round = ack.round
        self._flight = ack.flight_after
        self._delivered = ack.delivered
        self._update_bandwidth(ack)
        self._check_cycle(ack)
        self._check_full(ack, round_began)
        self._check_drain(ack)
        self._update_min_rtt(ack)
        self._set_pacing_rate(ack)
        self._set_cwnd(ack)

    def _update_bandwidth(self, ack: Ack) -> None:
        """Section 4.1.1."""
        rate = ack.delivery_rate
        if not rate:
            return
        own_doing = ack.app_limited or self.mode == PROBE_RTT or ack.prior_delivered < self._reduced_until
        if not own_doing or rate >= self.bandwidth:
            self._rates.update(self._round, rate, _BW_ROUNDS)

    def _check_full(self, ack: Ack, round_began: bool) -> None:
        """Section 4.3.2.2."""
        if self._full or not round_began or ack.app_limited or not self.bandwidth:
            return
        if self.bandwidth * 4 >= self._full_rate * 5:
            self._full_rate = self.bandwidth
            self._full_rounds = 0
            return
        self._full_rounds += 1
        self._full = self._full_rounds >= _FULL_ROUNDS

    def _check_drain(self, ack: Ack) -> None:
        """Section 4.3.3."""
        if self.mode == STARTUP and self._full:
            self.mode = DRAIN
            self._pacing_gain = _DRAIN_GAIN
            self._cwnd_gain = _HIGH_GAIN
        if self.mode == DRAIN and ack.flight_after <= self._product(_GAIN_ONE):
            self._enter_probe_bw(ack.now)

    def _enter_probe_bw(self, now: int) -> None:
        """Section 4.3.4.3; where in the cycle is as good as random: so flows do not probe together."""
        self.mode = PROBE_BW
        self._cwnd_gain = _CWND_GAIN
        phase = now // MICROSECOND % (len(_CYCLE) - 1)
        self._phase = phase + 1 if phase >= 1 else 0
        self._phase_at = now
        self._pacing_gain = _CYCLE[self._phase]

    def _check_cycle(self, ack: Ack) -> None:
        if self.mode != PROBE_BW:
            return
        gain = self._pacing_gain
        over = ack.now - self._phase_at > self._min_rtt
        if gain > _GAIN_ONE:
            over = over and (ack.lost > 0 or ack.flight >= self._product(gain))
        elif gain < _GAIN_ONE:
            over = over or ack.flight <= self._product(_GAIN_ONE)
        if over:
            self._phase = (self._phase + 1) % len(_CYCLE)
            self._phase_at = ack.now
            self._pacing_gain = _CYCLE[self._phase]

    def _update_min_rtt(self, ack: Ack) -> None:
        """Sections 4.1.2 and 4.3.5."""
        now = ack.now
        expired = self._min_rtt > 0 and now > self._min_rtt_at + _MIN_RTT_WINDOW
        if ack.rtt and (not self._min_rtt or ack.rtt <= self._min_rtt or expired):
            self._min_rtt = ack.rtt
            self._min_rtt_at = now
        if expired and self.mode != PROBE_RTT:
            self.mode = PROBE_RTT
            self._pacing_gain = self._cwnd_gain = _GAIN_ONE
            self._prior_cwnd = max(self._prior_cwnd, self.cwnd)
            self._probe_rtt_ends = -1
        if self.mode != PROBE_RTT:
            return
        if self._probe_rtt_ends < 0:
            if ack.flight_after <= _MIN_SEGMENTS * self.mss:
                self._probe_rtt_ends = now + _PROBE_RTT_TIME
                self._probe_rtt_round = ack.round
        elif now >= self._probe_rtt_ends and ack.round > self._probe_rtt_round:
            self._min_rtt_at = now
            self._reduced_until = ack.total_delivered + ack.flight_after
            self.cwnd = max(self.cwnd, self._prior_cwnd)
            self._prior_cwnd = 0
            if self._full:
                self._enter_probe_bw(now)
            else:
                self.mode = STARTUP
                self._pacing_gain = self._cwnd_gain = _HIGH_GAIN

    # What follows from it.

    def _product(self, gain: int) -> int:
        """Bandwidth times lowest round trip times gain (section 4.2.3.2), bytes."""
        if not self.bandwidth or not self._min_rtt:
            return self._initial
        return self.bandwidth * self._min_rtt // SECOND * gain // _GAIN_ONE + _QUANTA * self.mss

    def _set_pacing_rate(self, ack: Ack) -> None:
        """Section 4.2.1."""
        if self.bandwidth:
            rate = self.bandwidth * self._pacing_gain // _GAIN_ONE * _MARGIN // 100
        else:
            rate = self.cwnd * SECOND // max(ack.srtt, MILLISECOND) * _HIGH_GAIN // _GAIN_ONE
        if self._full or rate > self.pacing_rate:
            self.pacing_rate = max(rate, self.mss)

    def _set_cwnd(self, ack: Ack) -> None:
        """Section 4.2.3."""
        cwnd = self.cwnd
        if ack.recovering:
            cwnd = max(cwnd - ack.lost, self.mss)
        elif self._recovering:
            cwnd = max(cwnd, self._prior_cwnd)
            self._prior_cwnd = 0
        self._recovering = ack.recovering
        target = self._product(self._cwnd_gain)
        if ack.recovering and ack.round <= self._conserving_round:
            cwnd = max(cwnd, ack.flight_after + ack.delivered)
        elif self._full:
            cwnd = min(cwnd + ack.delivered, target)
        elif cwnd < target or ack.total_delivered < self._initial:
            cwnd += ack.delivered
        cwnd = max(cwnd, _MIN_SEGMENTS * self.mss)
        if self.mode == PROBE_RTT:
            cwnd = min(cwnd, _MIN_SEGMENTS * self.mss)
        self.cwnd = cwnd

    # What others do for a loss, and it does not.

    def on_ack(self, ack: Ack) -> None:
        pass

    def on_loss(self, now: int, flight: int) -> None:
        """For one round trip send no more than arrives (section 4.2.3.3)."""
        self._prior_cwnd = max(self._prior_cwnd, self.cwnd)
        self._conserving_round = self._round + 1
        self.cwnd = max(self._flight + self._delivered, self.mss)

    def on_recovered(self, now: int) -> None:
        pass

    def on_congestion(self, now: int, flight: int) -> None:
        pass

    def on_timeout(self, now: int, flight: int, first: bool) -> None:
        if first:
            self._prior_cwnd = max(self._prior_cwnd, self.cwnd)
        self._full_rate = 0
        self.cwnd = self.mss

    def on_idle(self, now: int, restart_window: int) -> None:
        pass

    def on_fast_retransmit(self, now: int, flight: int) -> None:
        self._prior_cwnd = max(self._prior_cwnd, self.cwnd)

    def on_duplicate_ack(self, now: int) -> None:
        self.cwnd += self.mss

    def on_partial_ack(self, now: int, acked: int) -> bool:
        return True

    def on_recovery_exit(self, now: int, flight: int) -> None:
        self.cwnd = max(self._prior_cwnd, _MIN_SEGMENTS * self.mss)
