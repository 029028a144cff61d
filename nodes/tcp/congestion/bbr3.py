"""BBR, version 3 (draft-ietf-ccwg-bbr, as of August 2026, whose names and section numbers these are): send at the rate
the path delivers, with as much in flight as it holds and as it bears without much loss.

The draft leaves ECN open but asks that marks count as congestion (section 3.7): here one counts as a round trip whose
loss is too high. Segments leave one by one, so the quantum matters for the budget of cwnd alone.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import mypyc_attr

from nodes.base import causes
from nodes.base.clock import MICROSECOND, MILLISECOND, SECOND
from nodes.tcp.congestion.base import Ack, CongestionControl
from nodes.tcp.congestion.bbr3_model import BETA, INFINITE, ONE, PathModel, inflight_at_loss, too_high
from nodes.tcp.scoreboard import Sent

STARTUP: Final = causes.BBR_STARTUP
DRAIN: Final = causes.BBR_DRAIN
DOWN: Final = causes.BBR_PROBE_BW_DOWN
CRUISE: Final = causes.BBR_PROBE_BW_CRUISE
REFILL: Final = causes.BBR_PROBE_BW_REFILL
UP: Final = causes.BBR_PROBE_BW_UP
PROBE_RTT: Final = causes.BBR_PROBE_RTT

#: Gains of pacing and window in each state (section 5.6.1), in thousandths.
_GAINS: Final = {
    STARTUP: (2770, 2000),
    DRAIN: (500, 2000),
    DOWN: (900, 2000),
    CRUISE: (1000, 2000),
    REFILL: (1000, 2000),
    UP: (1250, 2250),
    PROBE_RTT: (1000, 500),
}
#: Paced at 1 % less than the bandwidth.
_PACING: Final = 99
_HEADROOM: Final = 150
_FULL_GROWTH: Final = 1250
_FULL_ROUNDS: Final = 3
#: Separate losses in a round trip, and successive ones with marks, that end Startup.
_FULL_LOSSES: Final = 6
_FULL_MARKS: Final = 2
_DRAIN_ROUNDS: Final = 3
_MIN_PIPE: Final = 4
_PROBE_RTT_DURATION: Final = 200 * MILLISECOND
_MOST_RENO_ROUNDS: Final = 63
_MOST_UP_ROUNDS: Final = 30
_MOST_QUANTUM: Final = 65_536

# What the ACKs at hand tell of probing for bandwidth (section 2.13).
_ACKS_INIT: Final = 0
_ACKS_REFILLING: Final = 1
_ACKS_PROBE_STARTING: Final = 2
_ACKS_PROBE_FEEDBACK: Final = 3
_ACKS_PROBE_STOPPING: Final = 4


@mypyc_attr(allow_interpreted_subclasses=True)
class Bbr3(CongestionControl):
    """Paced; bounded by the loss that it causes."""

    name = "bbr3"
    rules_recovery = True
    paces = True
    counts_losses = True

    def __init__(self, mss: int, initial_window: int, abc_limit: int) -> None:
        super().__init__(mss, initial_window, abc_limit)
        self.model = PathModel()
        self.phase = STARTUP
        self._pacing_gain, self._cwnd_gain = _GAINS[STARTUP]
        self._initial = initial_window
        self._timed = False
        self.pacing_rate = initial_window * _GAINS[STARTUP][0] // ONE * SECOND // MILLISECOND
        self._delivered = 0
        #: What is sent before so much is delivered says nothing of the path: ProbeRTT kept it down.
        self._limited_until = -1
        self._full_bw = 0
        self._full_bw_count = 0
        self._full_bw_now = False
        self._full_bw_reached = False
        self._drain_start_round = 0
        # Probing for bandwidth.
        self._ack_phase = _ACKS_INIT
        self._probe_sample = False
        self._cycle_stamp = 0
        self._probe_wait = 0
        self._rounds_since_up = 0
        self._up_rounds = 0
        self._up_acked = 0
        self._up_acked_per_inc = INFINITE
        self._too_high_before = False
        self._precautionary = False
        # Probing for the round trip, and restart after idle.
        self._probe_rtt_done = 0
        self._probe_rtt_round_done = False
        self._idle_restart = False
        # Losses: how many separate ones there were in the round, where the last ended; rounds in a row with marks.
        self._losses = 0
        self._loss_end = -1
        self._marks = 0
        self._mark_round = 0
        # What there was before them.
        self._recovering = False
        self._saved = False
        self._prior_cwnd = 0
        self._undo_state = causes.NONE

    def on_every_ack(self, ack: Ack) -> None:
        """UpdateOnACK (5.2.3)."""
        model = self.model
        self._delivered = ack.total_delivered
        if self._recovering and not ack.recovering:
            self._saved = False
            self._restore_cwnd()
        self._recovering = ack.recovering
        limited = ack.app_limited or ack.prior_delivered <= self._limited_until
        model.measure(ack, limited)
        if model.round_start:
            self._rounds_since_up += 1
        if model.loss_round_start:
            if model.loss_in_round and not self._probing():
                model.lower_bounds(max(self.cwnd, self._prior_cwnd) if self._saved else self.cwnd)
            model.loss_in_round = False
        model.aggregate(ack, self.cwnd, self._full_bw_reached)
        self._check_full(ack, limited)
        if not self._full_bw_reached:
            self._check_loss(ack)
        if self.phase == STARTUP and self._full_bw_reached:
            self._enter(DRAIN)
            self._drain_start_round = model.round_count
        if self.phase == DRAIN and (
            ack.flight_after <= self._inflight(model.bw) or model.round_count > self._drain_start_round + _DRAIN_ROUNDS
        ):
            self._start_down(ack.now)
        self._update_cycle(ack, limited)
        model.time(ack)
        self._check_probe_rtt(ack)
        model.advance(ack)
        self._set_pacing_rate(ack)
        self._set_cwnd(ack)

    # Filling the pipe (5.3.1, 5.3.2).

    def _enter(self, state: int) -> None:
        self.phase = state
        self._pacing_gain, self._cwnd_gain = _GAINS[state]

    def _reset_full(self, rate: int) -> None:
        """ResetFullBW, with a first sample."""
        self._full_bw = rate
        self._full_bw_count = 0
        self._full_bw_now = False

    def _check_full(self, ack: Ack, limited: bool) -> None:
        """CheckFullBWReached (5.3.1.2)."""
        rate = ack.delivery_rate
        if self._full_bw_now or limited or not rate or not self.model.round_start:
            return
        if rate * ONE >= self._full_bw * _FULL_GROWTH:
            self._reset_full(rate)
            return
        self._full_bw_count += 1
        if self._full_bw_count >= _FULL_ROUNDS:
            self._full_bw_now = self._full_bw_reached = True

    def _check_loss(self, ack: Ack) -> None:
        """CheckStartupHighLoss (5.3.1.3)."""
        if not self.model.loss_round_start:
            return
        if ack.recovering and self._losses >= _FULL_LOSSES and too_high(ack.lost_since_sent, ack.sent_in_flight):
            self._startup_too_high()
        self._losses = 0

    def _startup_too_high(self) -> None:
        model = self.model
        self._undo_state = STARTUP
        self._full_bw_reached = self._full_bw_now = True
        model.inflight_longterm = max(model.product(model.bw), model.inflight_latest)

    # Probing for bandwidth (5.3.3).

    def _in_probe_bw(self) -> bool:
        return DOWN <= self.phase <= UP

    def _probing(self) -> bool:
        """IsProbingBW."""
        return self.phase == STARTUP or self.phase == REFILL or self.phase == UP

    def _start_down(self, now: int) -> None:
        self.model.reset_signals()
        self._up_acked_per_inc = INFINITE
        # PickProbeWait: the low digits of the time are as good as random, spread by Knuth's multiplicative hash.
        chance = now // MICROSECOND * 0x9E3779B1 & 0xFFFF_FFFF
        self._rounds_since_up = chance & 1
        self._probe_wait = 2 * SECOND + (SECOND * chance >> 32)
        self._cycle_stamp = now
        self._ack_phase = _ACKS_PROBE_STOPPING
        self.model.start_round(self._delivered)
        self._enter(DOWN)

    def _start_refill(self) -> None:
        self.model.reset_shortterm()
        self._up_rounds = self._up_acked = 0
        self._precautionary = False
        self._ack_phase = _ACKS_REFILLING
        self.model.start_round(self._delivered)
        self._enter(REFILL)

    def _start_up(self, ack: Ack) -> None:
        self._probe_sample = True
        self._ack_phase = _ACKS_PROBE_STARTING
        self.model.start_round(self._delivered)
        self._reset_full(ack.delivery_rate)
        self._enter(UP)
        self._raise_slope()

    def _update_cycle(self, ack: Ack, limited: bool) -> None:
        """UpdateProbeBWCyclePhase (5.3.3.6)."""
        if not self._full_bw_reached or self._adapt(ack, limited) or not self._in_probe_bw():
            return
        phase = self.phase
        if phase <= CRUISE:
            if self._time_to_probe(ack.now):
                self._start_refill()
            elif phase == DOWN and self._time_to_cruise(ack):
                self._enter(CRUISE)
        elif phase == REFILL:
            if self.model.round_start:
                self._start_up(ack)
        elif phase == UP and self._time_to_go_down(ack):
            self._too_high_before = False
            self._start_down(ack.now)

    def _time_to_probe(self, now: int) -> bool:
        """IsTimeToProbeBW: after two or three seconds, or when Reno would have got as much."""
        if now > self._cycle_stamp + self._probe_wait:
            return True
        return self._rounds_since_up >= min(self._target() // self.mss, _MOST_RENO_ROUNDS)

    def _time_to_cruise(self, ack: Ack) -> bool:
        flight = ack.flight_after
        return flight <= self._with_headroom() and flight <= self._inflight(self.model.max_bw)

    def _time_to_go_down(self, ack: Ack) -> bool:
        """IsTimeToGoDown. What was in flight before this ACK counts, to the segment, for that is what was tried."""
        longterm = self.model.inflight_longterm
        if self._too_high_before and ack.flight + self.mss > longterm:
            self._precautionary = True
            return True
        if ack.cwnd_limited and self.cwnd >= longterm:
            self._reset_full(ack.delivery_rate)
            return False
        return self._full_bw_now

    def _raise_slope(self) -> None:
        """RaiseInflightLongtermSlope: one segment more in the first round trip, then two, four ..."""
        self._up_acked_per_inc = max(self.cwnd >> self._up_rounds, self.mss)
        self._up_rounds = min(self._up_rounds + 1, _MOST_UP_ROUNDS)

    def _probe_upward(self, ack: Ack) -> None:
        """ProbeInflightLongtermUpward."""
        model = self.model
        if not ack.cwnd_limited or self.cwnd < model.inflight_longterm:
            return
        self._up_acked += ack.delivered
        steps = self._up_acked // self._up_acked_per_inc
        self._up_acked -= steps * self._up_acked_per_inc
        model.inflight_longterm += steps * self.mss
        if model.round_start:
            self._raise_slope()

    def _adapt(self, ack: Ack, limited: bool) -> bool:
        """AdaptLongTermModel; whether it has decided what is next."""
        model = self.model
        if model.round_start:
            if self._ack_phase == _ACKS_PROBE_STARTING:
                self._ack_phase = _ACKS_PROBE_FEEDBACK
            elif self._ack_phase == _ACKS_PROBE_STOPPING:
                self._probe_sample = False
                self._ack_phase = _ACKS_INIT
                if self._in_probe_bw():
                    if not limited:
                        model.cycle_count += 1
                    if self._precautionary and not self._too_high_before:
                        self._start_refill()
                        return True
        if model.inflight_longterm < INFINITE and not too_high(ack.lost_since_sent, ack.sent_in_flight):
            if ack.sent_in_flight > model.inflight_longterm:
                model.inflight_longterm = ack.sent_in_flight
            if self.phase == UP:
                self._probe_upward(ack)
        return False

    # Probing for the round trip (5.3.4), restart after idle (5.4).

    def _check_probe_rtt(self, ack: Ack) -> None:
        model = self.model
        if self.phase != PROBE_RTT and model.probe_rtt_expired and not self._idle_restart:
            self._enter(PROBE_RTT)
            self._prior_cwnd = max(self._prior_cwnd, self.cwnd) if self._saved else self.cwnd
            self._probe_rtt_done = 0
            self._ack_phase = _ACKS_PROBE_STOPPING
            model.start_round(self._delivered)
        if self.phase == PROBE_RTT:
            self._limited_until = self._delivered + ack.flight_after
            if not self._probe_rtt_done:
                if ack.flight_after <= self._probe_rtt_cwnd():
                    self._probe_rtt_done = ack.now + _PROBE_RTT_DURATION
                    self._probe_rtt_round_done = False
                    model.start_round(self._delivered)
            else:
                if model.round_start:
                    self._probe_rtt_round_done = True
                if self._probe_rtt_round_done:
                    self._check_probe_rtt_done(ack.now)
        if ack.delivered:
            self._idle_restart = False

    def _check_probe_rtt_done(self, now: int) -> None:
        if not self._probe_rtt_done or now <= self._probe_rtt_done:
            return
        self.model.probe_rtt_min_stamp = now
        self._restore_cwnd()
        self.model.reset_shortterm()
        if self._full_bw_reached:
            self._start_down(now)
            self._enter(CRUISE)
        else:
            self._enter(STARTUP)

    def on_restart(self, now: int) -> None:
        """HandleRestartFromIdle."""
        self._idle_restart = True
        self.model.extra_acked_since = now
        if self._in_probe_bw():
            self._pace(ONE)
        elif self.phase == PROBE_RTT:
            self._check_probe_rtt_done(now)

    # Losses and marks (5.5.10, 5.5.11).

    def on_segment_lost(self, now: int, segment: Sent, lost: int, delivered: int) -> None:
        """HandleLostPacket."""
        self._delivered = delivered
        if segment.seq != self._loss_end:
            self._losses += 1
        self._loss_end = segment.end
        self._save()
        self.model.note_loss(delivered)
        if self._probe_sample and too_high(lost, segment.in_flight):
            limited = segment.app_limited or segment.delivered <= self._limited_until
            self._too_high(now, inflight_at_loss(segment.end - segment.seq, lost, segment.in_flight), limited)

    def _too_high(self, now: int, in_flight: int, limited: bool) -> None:
        """HandleInflightTooHigh."""
        self._too_high_before = True
        self._probe_sample = False
        if not limited:
            self.model.inflight_longterm = max(in_flight, self._target() * BETA // ONE)
        if self.phase == UP:
            self._undo_state = UP
            self._start_down(now)

    def on_mark(self, now: int, flight: int, mildly: bool) -> None:
        self._congested(now, flight)
        if self.phase == STARTUP and not self._full_bw_reached:
            rounds = self.model.round_count
            self._marks = self._marks + 1 if rounds <= self._mark_round + _FULL_MARKS else 1
            self._mark_round = rounds
            if self._marks >= _FULL_MARKS:
                self._startup_too_high()

    def _congested(self, now: int, flight: int) -> None:
        self.model.note_loss(self._delivered)
        if self._probe_sample:
            self._too_high(now, flight, False)

    def on_congestion(self, now: int, flight: int) -> None:
        self.model.note_loss(self._delivered)

    def _save(self) -> None:
        """SaveStateUponLoss, once for all that happens until the loss is repaired."""
        if self._saved or self.phase == PROBE_RTT:
            self._prior_cwnd = max(self._prior_cwnd, self.cwnd)
        else:
            self._prior_cwnd = self.cwnd
        if self._saved:
            return
        self._saved = True
        self._undo_state = causes.NONE
        self.model.save()

    def _restore_cwnd(self) -> None:
        self.cwnd = max(self.cwnd, self._prior_cwnd)

    def on_loss(self, now: int, flight: int) -> None:
        self._save()

    def on_timeout(self, now: int, flight: int, first: bool) -> None:
        self._save()
        self.cwnd = self.mss

    def on_undo(self, now: int, cwnd: int, ssthresh: int) -> None:
        """HandleSpuriousLossDetection."""
        self._restore_cwnd()
        self._saved = False
        self._reset_full(0)
        self.model.take_back()
        if self._undo_state == STARTUP:
            self._full_bw_reached = False
            if self.phase != PROBE_RTT:
                self._enter(STARTUP)
        elif self._undo_state == UP and self.phase != UP and self.phase != PROBE_RTT:
            self._start_refill()
        self._undo_state = causes.NONE

    # What follows (5.6).

    def _target(self) -> int:
        """TargetInflight."""
        return min(self.model.product(self.model.bw), self.cwnd)

    def _budget(self, volume: int) -> int:
        """QuantizationBudget (5.6.4.2), 5.5.8 and 5.6.3."""
        quantum = max(min(self.pacing_rate // 1000, _MOST_QUANTUM), 2 * self.mss)
        volume = max(volume, 3 * quantum, _MIN_PIPE * self.mss)
        return volume + 2 * self.mss if self.phase == UP else volume

    def _inflight(self, bandwidth: int) -> int:
        """Inflight(1.0)."""
        return self._budget(self.model.product(bandwidth) if self.model.min_rtt else self._initial)

    def _with_headroom(self) -> int:
        """InflightWithHeadroom (5.3.3.6)."""
        longterm = self.model.inflight_longterm
        if longterm == INFINITE:
            return INFINITE
        return max(longterm - max(self.mss, longterm * _HEADROOM // ONE), _MIN_PIPE * self.mss)

    def _pace(self, gain: int) -> None:
        """SetPacingRateWithGain (5.6.2)."""
        rate = self.model.bw * gain // ONE * _PACING // 100
        if rate and (self._full_bw_reached or rate > self.pacing_rate):
            self.pacing_rate = rate

    def _set_pacing_rate(self, ack: Ack) -> None:
        if not self._timed and ack.srtt:
            # InitPacingRate was without a round trip.
            self._timed = True
            self.pacing_rate = self._initial * SECOND // ack.srtt * _GAINS[STARTUP][0] // ONE
        self._pace(self._pacing_gain)

    def _probe_rtt_cwnd(self) -> int:
        return max(self.model.product(self.model.bw) * _GAINS[PROBE_RTT][1] // ONE, _MIN_PIPE * self.mss)

    def _set_cwnd(self, ack: Ack) -> None:
        """SetCwnd (5.6.4.6) and BoundCwndForModel (5.6.4.7)."""
        model = self.model
        least = _MIN_PIPE * self.mss
        volume = model.product(model.bw) * self._cwnd_gain // ONE if model.min_rtt else self._initial
        volume = self._budget(volume + model.extra_acked)
        cwnd = self.cwnd
        if self._full_bw_reached:
            cwnd = min(cwnd + ack.delivered, volume)
        elif cwnd < volume or ack.total_delivered < self._initial:
            cwnd += ack.delivered
        cwnd = max(cwnd, least)
        bound = model.inflight_shortterm
        if self.phase == PROBE_RTT:
            cwnd = min(cwnd, self._probe_rtt_cwnd())
        if self.phase == PROBE_RTT or self.phase == CRUISE:
            bound = min(bound, self._with_headroom())
        elif self._in_probe_bw():
            bound = min(bound, model.inflight_longterm)
        self.cwnd = min(cwnd, max(bound, least))

    # What others do, and it does not.

    def on_ack(self, ack: Ack) -> None:
        pass

    def on_recovered(self, now: int) -> None:
        pass

    def on_idle(self, now: int, restart_window: int) -> None:
        pass

    # Without SACK a loss in a round trip is all that can be seen: it is too much (5.3.1.3, 5.5.10.1).

    def on_fast_retransmit(self, now: int, flight: int) -> None:
        self._save()
        self._congested(now, flight)
        if self.phase == STARTUP and not self._full_bw_reached:
            self._startup_too_high()

    def on_duplicate_ack(self, now: int) -> None:
        self.cwnd += self.mss

    def on_partial_ack(self, now: int, acked: int) -> bool:
        return True

    def on_recovery_exit(self, now: int, flight: int) -> None:
        self._saved = False
        self.cwnd = self._prior_cwnd
