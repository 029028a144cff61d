"""What BBR version 3 believes of the path: how fast it delivers, how long it takes, how much it bears
(draft-ietf-ccwg-bbr, section 5.5, whose names these are)."""

from __future__ import annotations

from typing import Final

from nodes.base.clock import SECOND
from nodes.tcp.congestion.base import Ack
from nodes.tcp.congestion.windowed import WindowedMax

#: No bound.
INFINITE: Final = 1 << 60

#: In thousandths (section 2.7): the loss that is borne, what is left of a bound that loss lowers.
ONE: Final = 1000
_LOSS_THRESH: Final = 20
BETA: Final = 700

_MAX_BW_CYCLES: Final = 2
_EXTRA_ACKED_ROUNDS: Final = 10
_MIN_RTT_WINDOW: Final = 10 * SECOND
_PROBE_RTT_INTERVAL: Final = 5 * SECOND


class PathModel:
    """Bandwidths are bytes per second, volumes bytes, times ns."""

    __slots__ = (
        "_extra_acked",
        "_extra_acked_delivered",
        "_max_bw",
        "_min_rtt_stamp",
        "_next_round_delivered",
        "_probe_rtt_min_delay",
        "_undo_bw_shortterm",
        "_undo_inflight_longterm",
        "_undo_inflight_shortterm",
        "bw",
        "bw_latest",
        "bw_shortterm",
        "cycle_count",
        "extra_acked_since",
        "inflight_latest",
        "inflight_longterm",
        "inflight_shortterm",
        "loss_in_round",
        "loss_round_delivered",
        "loss_round_start",
        "min_rtt",
        "probe_rtt_expired",
        "probe_rtt_min_stamp",
        "round_count",
        "round_start",
    )

    def __init__(self) -> None:
        self._max_bw = WindowedMax()
        self.cycle_count = 0
        #: The bandwidth to use: the highest of two cycles, but not above what losses since the last probe allow.
        self.bw = 0
        self.bw_shortterm = INFINITE
        self.inflight_longterm = INFINITE
        self.inflight_shortterm = INFINITE
        #: The most of this round.
        self.bw_latest = 0
        self.inflight_latest = 0
        #: The lowest of ten seconds; 0: nothing was measured yet. And what decides when it is to be probed for.
        self.min_rtt = 0
        self._min_rtt_stamp = 0
        self._probe_rtt_min_delay = 0
        self.probe_rtt_min_stamp = 0
        self.probe_rtt_expired = False
        #: Round trips, and whether the ACK at hand begins one.
        self.round_count = 0
        self.round_start = False
        self._next_round_delivered = 0
        #: The same for rounds that begin with a loss, and whether there was one in this.
        self.loss_round_start = False
        self.loss_round_delivered = 0
        self.loss_in_round = False
        self._extra_acked = WindowedMax()
        self.extra_acked_since = 0
        self._extra_acked_delivered = 0
        self.save()

    @property
    def max_bw(self) -> int:
        """The highest of this cycle and the one before."""
        return self._max_bw.best

    @property
    def extra_acked(self) -> int:
        """By how much ACKs come in lumps: the most above what the bandwidth lets expect."""
        return self._extra_acked.best

    def product(self, bandwidth: int) -> int:
        """Bandwidth times round trip."""
        return bandwidth * self.min_rtt // SECOND

    # Once per ACK, in this order; what was measured on a path that was not full is `limited`.

    def measure(self, ack: Ack, limited: bool) -> None:
        """UpdateLatestDeliverySignals (5.5.10.2), UpdateRound (5.5.1), UpdateMaxBw (5.5.5)."""
        self.loss_round_start = self.round_start = False
        prior = ack.prior_delivered
        if prior < 0:
            return
        rate = ack.delivery_rate
        delivered = ack.total_delivered
        if rate > self.bw_latest:
            self.bw_latest = rate
        if delivered - prior > self.inflight_latest:
            self.inflight_latest = delivered - prior
        if prior >= self.loss_round_delivered:
            self.loss_round_delivered = delivered
            self.loss_round_start = True
        if prior >= self._next_round_delivered:
            self._next_round_delivered = delivered
            self.round_count += 1
            self.round_start = True
        if rate and (not limited or rate >= self.max_bw):
            self._max_bw.update(self.cycle_count, rate, _MAX_BW_CYCLES)

    def lower_bounds(self, cwnd: int) -> None:
        """AdaptLowerBoundsFromCongestion (5.5.10.2): a round with loss is over that was none of probing."""
        if self.bw_shortterm == INFINITE:
            self.bw_shortterm = self.max_bw
        if self.inflight_shortterm == INFINITE:
            self.inflight_shortterm = cwnd
        self.bw_shortterm = max(self.bw_latest, self.bw_shortterm * BETA // ONE)
        self.inflight_shortterm = max(self.inflight_latest, self.inflight_shortterm * BETA // ONE)

    def aggregate(self, ack: Ack, cwnd: int, full: bool) -> None:
        """UpdateACKAggregation (5.5.9)."""
        expected = self.bw * (ack.now - self.extra_acked_since) // SECOND
        if self._extra_acked_delivered <= expected:
            self._extra_acked_delivered = expected = 0
            self.extra_acked_since = ack.now
        self._extra_acked_delivered += ack.delivered
        extra = min(self._extra_acked_delivered - expected, cwnd)
        self._extra_acked.update(self.round_count, extra, _EXTRA_ACKED_ROUNDS if full else 1)

    def time(self, ack: Ack) -> None:
        """UpdateMinRTT (5.3.4.3)."""
        now = ack.now
        rtt = ack.newest_rtt
        delay = self._probe_rtt_min_delay
        self.probe_rtt_expired = delay > 0 and now > self.probe_rtt_min_stamp + _PROBE_RTT_INTERVAL
        if rtt and (rtt < delay or not delay or self.probe_rtt_expired):
            delay = self._probe_rtt_min_delay = rtt
            self.probe_rtt_min_stamp = now
        if delay and (delay < self.min_rtt or not self.min_rtt or now > self._min_rtt_stamp + _MIN_RTT_WINDOW):
            self.min_rtt = delay
            self._min_rtt_stamp = self.probe_rtt_min_stamp

    def advance(self, ack: Ack) -> None:
        """AdvanceLatestDeliverySignals and BoundBWForModel (5.5.10.2)."""
        if self.loss_round_start:
            self.bw_latest = ack.delivery_rate
            self.inflight_latest = ack.total_delivered - ack.prior_delivered
        self.bw = min(self.max_bw, self.bw_shortterm)

    # What the states ask for.

    def start_round(self, delivered: int) -> None:
        """The round ends when something arrives that is sent from now on."""
        self._next_round_delivered = delivered

    def note_loss(self, delivered: int) -> None:
        """NoteLoss (5.5.10.1)."""
        if not self.loss_in_round:
            self.loss_round_delivered = delivered
        self.loss_in_round = True

    def reset_signals(self) -> None:
        """ResetCongestionSignals (5.5.10.2)."""
        self.loss_in_round = False
        self.bw_latest = self.inflight_latest = 0

    def reset_shortterm(self) -> None:
        """ResetShortTermModel (5.5.10.2)."""
        self.bw_shortterm = self.inflight_shortterm = INFINITE

    def save(self) -> None:
        """SaveStateUponLoss (5.5.11.1): what losses may lower."""
        self._undo_bw_shortterm = self.bw_shortterm
        self._undo_inflight_shortterm = self.inflight_shortterm
        self._undo_inflight_longterm = self.inflight_longterm

    def take_back(self) -> None:
        """HandleSpuriousLossDetection (5.5.11.2): there was no loss."""
        self.loss_in_round = False
        self.bw_shortterm = max(self.bw_shortterm, self._undo_bw_shortterm)
        self.inflight_shortterm = max(self.inflight_shortterm, self._undo_inflight_shortterm)
        self.inflight_longterm = max(self.inflight_longterm, self._undo_inflight_longterm)


def too_high(lost: int, in_flight: int) -> bool:
    """IsInflightTooHigh (5.5.10.1): more than 2 % of what was in flight is lost."""
    return lost * ONE > in_flight * _LOSS_THRESH


def inflight_at_loss(size: int, lost: int, in_flight: int) -> int:
    """InflightAtLoss (5.5.10.1): how much of what was in flight with a lost segment the path bore."""
    before = in_flight - size
    prefix = (before * _LOSS_THRESH - (lost - size) * ONE) // (ONE - _LOSS_THRESH)
    return before + max(prefix, 0)
