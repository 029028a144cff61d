"""Connections of the kernel, inferred from segments and from what it answers."""

from __future__ import annotations

import time

from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.real import RealScheduler
from nodes.base.tasks import TaskRunner
from nodes.kernel.connections import Connections
from nodes.kernel.follower import Follower, Seen
from nodes.kernel.sock_diag import Listed
from nodes.packet.tcp import ACK, FIN, SYN, Segment
from nodes.tcp import states
from tests.nodes.tcp.harness import Sink

US, THEM = b"\x0a\0\0\x01", b"\x0a\0\0\x02"


def test_an_answer_that_is_older_than_a_segment_undoes_nothing() -> None:
    """As when a busy machine lets a FIN pass between the kernel's list and its being read."""
    scheduler = RealScheduler(time.monotonic_ns())
    connections = Connections("h1", TaskRunner(scheduler))
    follower = Follower(scheduler, connections, Sink(), 1)
    connection = follower.opened(0, (US, 5000, THEM, 80))
    for number, (at, sent, seq, ack, flags) in enumerate(
        [(0, True, 0, 0, SYN), (1, False, 0, 1, SYN | ACK), (2, True, 1, 1, ACK), (1000, False, 1, 1, FIN | ACK)]
    ):
        ports = (5000, 80) if sent else (80, 5000)
        segment = Segment(*ports, seq, ack, flags, 1000, b"")
        ends = (US, THEM) if sent else (THEM, US)
        follower.on_segment(Seen(at * MILLISECOND, sent, 1, number, *ends, segment))
    assert connection.state == states.CLOSE_WAIT
    listed = Listed(states.ESTABLISHED, US, 5000, THEM, 80, 7, 0, 0, 0, 0, b"", "")
    follower.reconcile(900 * MILLISECOND, [listed])
    assert connection.state == states.CLOSE_WAIT
    follower.reconcile(2 * SECOND, [])
    assert connection.state == states.CLOSED
