"""Congestion window validation, RFC 7661: what a window is worth that the application does not use."""

from __future__ import annotations

import pytest

from nodes.base import causes
from nodes.base.clock import MILLISECOND, SECOND
from nodes.packet.tcp import ACK, ECE
from nodes.tcp.connection import Connection

from .harness import Host, Peer
from .loss_scenes import MSS, opened, resent, sacked

ROUND_TRIP = 100 * MILLISECOND


class Talk:
    """An application that sends in bursts, each acknowledged after a round trip; a round trip later comes the next."""

    def __init__(self, control: str = "newreno", newcwv: int = 1) -> None:
        self.host = Host(tcp_congestion_control=control, tcp_newcwv=newcwv, tcp_ecn=1, tcp_wmem=1 << 20)
        self.c: Connection
        self.peer: Peer
        self.c, self.peer = opened(self.host, ROUND_TRIP, window=65535, window_scale=6)
        self.c.ecn = True  # as if the SYN-ACK had said so
        self.sent = 0

    @property
    def cwnd(self) -> int:
        return self.c.congestion.cwnd

    def send(self, segments: int) -> int:
        """How many of them went at once."""
        self.c.send(self.host.now, bytes(segments * MSS))
        went = len(self.peer.got())
        self.sent += went
        return went

    def burst(self, segments: int) -> None:
        assert self.send(segments) == segments
        self.host.after(ROUND_TRIP)
        while self.c.snd_una < self.c.snd_nxt:
            self.acked = (self.c.snd_una - self.c.iss - 1) // MSS + 2
            self.peer.send(ACK, 1, 1 + min(self.acked, self.sent) * MSS)
        self.host.after(ROUND_TRIP)

    def grow(self) -> None:
        """To a window of 40 segments, all of it used."""
        while self.cwnd < 40 * MSS:
            self.burst(min(self.cwnd // MSS, 40 - self.cwnd // MSS) if self.cwnd > 20 * MSS else self.cwnd // MSS)
        assert self.cwnd == 40 * MSS

    def talk(self, segments: int, seconds: int) -> None:
        """Bursts of so many for so long."""
        until = self.host.now + seconds * SECOND
        while self.host.now < until:
            self.burst(segments)


@pytest.mark.rfc("7661", "4.4-1")
@pytest.mark.parametrize(("newcwv", "segments"), [(0, 10), (1, 40)])
def test_a_window_is_kept_over_a_pause(newcwv: int, segments: int) -> None:
    """Without it RFC 5681 section 4.1 has the window begin anew after an RTO."""
    talk = Talk(newcwv=newcwv)
    talk.grow()
    talk.host.after(60 * SECOND)
    assert talk.send(60) == segments


@pytest.mark.rfc("7661", "4.4-3", "4.4-6")
def test_it_grows_where_half_of_it_is_used() -> None:
    """Five segments of forty are no reason to grow, twenty are, whatever Linux thinks (it grows to twice what is out);
    and at the beginning, when pipeACK is undefined, everything is."""
    talk = Talk()
    talk.grow()
    talk.talk(5, 2)  # for a second it is remembered that all of it was used
    before = talk.cwnd
    talk.talk(5, 3)
    assert talk.cwnd == before
    half = before // MSS // 2 + 1
    talk.burst(half)
    talk.talk(half, 1)
    assert talk.cwnd > before


def test_it_grows_when_all_of_it_is_used() -> None:
    """Even where pipeACK does not know of it yet."""
    talk = Talk()
    talk.grow()
    talk.talk(5, 4)
    window = talk.cwnd // MSS
    assert talk.send(60) == window
    talk.host.after(ROUND_TRIP)
    talk.peer.send(ACK, 1, 1 + (talk.sent - window + 2) * MSS)
    assert talk.cwnd == (window + 2) * MSS


@pytest.mark.rfc("7661", "4.4-2", "4.4.3-1", "4.4.3-2")
@pytest.mark.parametrize("idle", [False, True])
def test_after_five_minutes_it_is_halved(idle: bool) -> None:
    """To the initial window at least; ssthresh keeps three quarters of it."""
    talk = Talk()
    talk.grow()
    talk.c.congestion.ssthresh = 20 * MSS
    talk.talk(5, 290)
    assert talk.cwnd == 40 * MSS
    if idle:
        talk.host.after(20 * SECOND)
        talk.burst(5)
    else:
        talk.talk(5, 20)
    assert talk.cwnd == 20 * MSS
    assert talk.c.congestion.ssthresh == 30 * MSS
    assert talk.host.sink.of("cwnd")[-1]["cause"] == causes.NOT_VALIDATED
    talk.host.after(650 * SECOND)
    talk.send(1)
    assert talk.cwnd == 10 * MSS


@pytest.mark.rfc("7661", "4.4-4", "4.4.1-1", "4.4.1-2", "4.4.1-3")
@pytest.mark.parametrize(("used", "newcwv", "during", "after"), [(8, 1, 4, 7 / 2), (12, 1, 6, 11 / 2), (8, 0, 28, 28)])
def test_a_loss_leaves_half_of_what_was_there(used: int, newcwv: int, during: int, after: float) -> None:
    """Eight segments in flight, or twelve lately, of forty: four, and when one was sent again half of seven. CUBIC
    alone would take 0.7 of the forty."""
    talk = Talk("cubic", newcwv)
    talk.grow()
    talk.talk(used, 4)
    first = talk.sent
    talk.send(8)
    talk.host.after(ROUND_TRIP)
    answers = sacked(talk.peer, first, (first + 1, first + 7))
    talk.host.after(30 * MILLISECOND)
    assert resent(talk.peer, first) in answers + talk.peer.got()
    assert talk.c.congestion.ssthresh == during * MSS
    talk.host.after(ROUND_TRIP)
    talk.peer.send(ACK, 1, 1 + talk.sent * MSS)
    assert talk.cwnd == int(after * MSS)
    assert talk.c.congestion.ssthresh == talk.cwnd


@pytest.mark.rfc("7661", "4.4.1-5")
def test_after_a_recovery_pipe_ack_is_undefined() -> None:
    """So the window is as good as validated until there is a measure, even when the last is long ago."""
    talk = Talk()
    talk.grow()
    talk.talk(16, 4)
    first = talk.sent
    talk.send(16)
    talk.host.after(ROUND_TRIP)
    sacked(talk.peer, first, (first + 1, first + 15))
    talk.host.after(ROUND_TRIP + 30 * MILLISECOND)
    talk.peer.send(ACK, 1, 1 + talk.sent * MSS)
    after = talk.cwnd
    assert after == 15 * MSS // 2
    talk.host.after(5 * SECOND)
    talk.c.congestion.ssthresh = 100 * MSS  # one ACK shows it then
    talk.send(3)
    talk.host.after(ROUND_TRIP)
    talk.peer.send(ACK, 1, 1 + (talk.sent - 2) * MSS)
    assert talk.cwnd == after + MSS


@pytest.mark.rfc("7661", "4.4.1-4")
def test_it_does_not_fall_below_one_segment() -> None:
    talk = Talk("cubic")
    talk.grow()
    talk.talk(1, 4)
    first = talk.sent
    talk.send(2)
    talk.host.after(ROUND_TRIP)
    sacked(talk.peer, first, (first + 1, first + 1))
    talk.host.after(50 * MILLISECOND)
    talk.host.after(ROUND_TRIP)
    talk.peer.send(ACK, 1, 1 + talk.sent * MSS)
    assert talk.cwnd == MSS


def test_a_mark_leaves_half_of_what_was_there() -> None:
    """Nothing has to be sent again."""
    talk = Talk("cubic")
    talk.grow()
    talk.talk(8, 4)
    talk.send(8)
    talk.host.after(ROUND_TRIP)
    talk.peer.send(ACK | ECE, 1, 1 + (talk.sent - 6) * MSS)
    assert talk.cwnd == 4 * MSS


@pytest.mark.rfc("7661", "4.4-5")
def test_a_timeout_is_as_ever() -> None:
    talk = Talk()
    talk.grow()
    talk.talk(8, 4)
    talk.send(8)
    talk.host.after(2 * SECOND)
    assert talk.cwnd == MSS
    assert talk.c.congestion.ssthresh == 4 * MSS
