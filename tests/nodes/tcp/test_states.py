"""Every transition of nodes.tcp.states.TRANSITIONS can happen, and no other does."""

from __future__ import annotations

import pytest

from nodes.base import causes
from nodes.base.clock import HOUR
from nodes.packet.tcp import ACK, AE, CWR, ECE, FIN, RST, SYN
from nodes.tcp import states
from nodes.tcp.congestion.plugin import load_control
from nodes.tcp.states import LEGAL, IllegalTransition, check_transition
from nodes.tcp.tcb import change_state

from . import scenes
from .harness import HTTP, PEER, Host, Peer, server
from .scenes import SCENES, Scene

ALL_CAUSES = list(causes.CAUSES)
#: A user's congestion control that cannot even be made.
BROKEN = """
from nodes.tcp.congestion.base import CongestionControl
class Broken(CongestionControl):
    name = "broken"
    def __init__(self, *arguments):
        raise ValueError
    def on_ack(self, ack):
        pass
"""


def act(scene: Scene, cause: int) -> None:
    """Make happen what `cause` says, in whatever state the scene is."""
    host, c, peer, nxt, una = scene
    state = c.state
    if cause == causes.RST_RECEIVED:
        peer.send(RST | ACK if state == states.SYN_SENT else RST, nxt, una)
    elif cause == causes.SYN_IN_WINDOW:
        peer.send(SYN, nxt + 5)
    elif cause == causes.ECN_MIXED:
        c.ecn = True  # as if the first SYN had asked for ECN as RFC 3168 has it
        peer.send(SYN | AE | CWR | ECE, 0)
    elif cause == causes.USER_ABORT:
        c.abort(host.now)
    elif cause == causes.USER_CLOSE:
        c.close(host.now)
    elif cause == causes.USER_SHUTDOWN:
        c.shutdown(host.now)
    elif cause in (causes.RETRIES_EXHAUSTED, causes.USER_TIMEOUT_EXPIRED):
        if state in (states.ESTABLISHED, states.CLOSE_WAIT):
            c.send(host.now, b"x")
        host.after(24 * HOUR)
    elif cause == causes.KEEPALIVE_PROBES_EXHAUSTED:
        c.set_option(host.now, "SO_KEEPALIVE", 1)
        host.after(24 * HOUR)
    elif cause in (causes.TIME_WAIT_EXPIRED, causes.FIN_WAIT_2_EXPIRED):
        if state == states.FIN_WAIT_2:
            c.close(host.now)
        host.after(HOUR)
    elif cause == causes.LINGER_ABORT:
        c.set_option(host.now, "SO_LINGER", 0)
        c.close(host.now)
    elif cause == causes.DATA_AFTER_CLOSE:
        c.close(host.now)
        peer.send(ACK, nxt, 1 if state == states.FIN_WAIT_1 else una, b"data")
    elif cause in (causes.ICMP_HARD_ERROR, causes.ICMP_SOFT_ERROR):
        code = 3 if cause == causes.ICMP_HARD_ERROR else 1
        host.tcp.on_icmp_error(host.now, c.local, c.remote, c.local_port, c.remote_port, peer.irs, 3, code, 0)
    elif cause == causes.TIME_WAIT_REUSED:
        c.set_option(host.now, "SO_REUSEADDR", 1)
        host.tcp.listen(host.now, b"", c.local_port, 1, {"SO_REUSEADDR": 1})
        peer.send(SYN, 100_000)
    elif cause in (causes.SYN_ACK_RECEIVED, causes.SIMULTANEOUS_SYN):
        peer.send(SYN | (ACK if cause == causes.SYN_ACK_RECEIVED else 0), 0, 1)
    elif cause in (causes.ACK_OF_SYN, causes.ACK_OF_FIN):
        peer.send(ACK, nxt, una)
    elif cause == causes.FIN_RECEIVED:
        peer.send(FIN | ACK, nxt, 1 if state == states.FIN_WAIT_1 else una)
    else:
        raise AssertionError(causes.CAUSES[cause].name)


def unread(old: int) -> Scene:
    """A scene in state `old` with data that the user has not read."""
    host, c, peer, nxt, una = SCENES[states.FIN_WAIT_1 if old == states.CLOSING else old](Host())
    if old in (states.CLOSE_WAIT, states.LAST_ACK):
        host, c, peer, nxt, una = scenes.established(Host())
    peer.send(ACK, 1, 2 if old == states.FIN_WAIT_2 else 1, b"data")
    if old in (states.CLOSE_WAIT, states.LAST_ACK, states.CLOSING):
        peer.send(FIN | ACK, 5, 1)
    if old == states.LAST_ACK:
        c.shutdown(host.now)
    return host, c, peer, nxt, una


def happen(old: int, cause: int) -> Scene:
    """Bring a connection to `old` and let `cause` happen."""
    options: dict[str, object] = {"TCP_USER_TIMEOUT": 5000} if cause == causes.USER_TIMEOUT_EXPIRED else {}
    if old == states.SYN_RECEIVED and cause in (causes.UNREAD_DATA_AT_CLOSE, causes.LINGER_ABORT):
        scene = scenes.syn_received_early(Host(), SO_LINGER=0 if cause == causes.LINGER_ABORT else -1)
        if cause == causes.LINGER_ABORT:
            scene[1].receive(0, 10)
        scene[1].close(0)
    elif cause == causes.UNREAD_DATA_AT_CLOSE:
        scene = unread(old)
        scene[1].close(scene[0].now)
    elif old == states.SYN_RECEIVED and cause in (causes.USER_SHUTDOWN, causes.USER_ABORT):
        scene = scenes.syn_received_active(Host())
        act(scene, cause)
    elif cause == causes.TIME_WAIT_OVERFLOW:
        scene = SCENES[states.FIN_WAIT_2](Host(tcp_max_tw_buckets=0))
        act(scene, causes.FIN_RECEIVED)
    elif cause == causes.CONTROL_FAILED:
        host = Host()
        host.parameters.controls["broken"] = load_control("broken.py", BROKEN)
        if old == states.SYN_RECEIVED:
            scene = scenes.syn_received_early(host, TCP_CONGESTION="broken")
        else:
            scene = SCENES[old](host)
            scene[1].set_option(host.now, "TCP_CONGESTION", "broken")
        host.run_until(host.now)
    elif cause == causes.NO_FIN_WAIT_2:
        scene = SCENES[old](Host(), TCP_LINGER2=-1)
        scene[1].close(scene[0].now)
    elif cause == causes.TOO_MANY_ORPHANS:
        scene = (scenes.syn_received_active if old == states.SYN_RECEIVED else SCENES[old])(Host(tcp_max_orphans=0))
        if old == states.SYN_RECEIVED:
            scene[1].send(scene[0].now, b"waits for the handshake, and so does CLOSE")
        scene[1].close(scene[0].now)
    elif cause == causes.ACCEPT_QUEUE_FULL:
        host = Host(tcp_abort_on_overflow=1)
        listener = host.tcp.listen(0, b"", HTTP, 1)
        zeroth, first, second = (Peer(host, port, HTTP) for port in (1000, 1001, 1002))
        for peer in (zeroth, first, second):
            peer.send(SYN, 0, mss=1460)
            peer.irs = list(host.tcp.connections.values())[-1].iss
            if peer is zeroth:
                peer.send(ACK, 1, 1)
        c = host.tcp.connections[3]
        first.send(ACK, 1, 1)
        assert len(listener.accept_queue) == 2
        second.send(ACK, 1, 1)
        scene = host, c, second, 1, 1
    else:
        scene = SCENES[old](Host(), **options)
        act(scene, cause)
    return scene


TABLE = sorted(
    (t.old, t.new, t.cause)
    for t in states.TRANSITIONS
    if states.LISTEN not in (t.old, t.new) and t.old != states.CLOSED
)


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    TABLE,
    ids=[f"{states.STATE_NAMES[o]}-{states.STATE_NAMES[n]}-{causes.CAUSES[c].name}" for o, n, c in TABLE],
)
def test_listed_transition_happens_and_is_traced(old: int, new: int, cause: int) -> None:
    """RFC 9293 section 3.3.2, figure 5, and section 3.10."""
    if (old, new, cause) == (states.SYN_RECEIVED, states.CLOSED, causes.USER_CLOSE):
        host, c, *_ = scenes.syn_received(Host())
        host.tcp.listeners[(b"", HTTP)].close(host.now)
    elif (old, new, cause) == (states.SYN_RECEIVED, states.FIN_WAIT_1, causes.USER_CLOSE):
        host, c, *_ = scenes.syn_received_active(Host())
        c.close(host.now)
    else:
        host, c, *_ = happen(old, cause)
    moves = [(e["old"], e["new"], e["cause"]) for e in host.sink.of("state") if e["conn"] == c.number]
    assert (old, new, cause) in moves
    assert set(moves) <= LEGAL


def test_opening_transitions() -> None:
    """RFC 9293 section 3.10.1 and 3.10.4: OPEN enters LISTEN or SYN-SENT, CLOSE in LISTEN enters CLOSED."""
    host = Host()
    listener = host.tcp.listen(0, b"", HTTP, 1)
    assert listener.state == states.LISTEN
    c, _ = server(host, listener=listener)
    assert host.sink.path(c.number) == ["LISTEN", "SYN-RECEIVED", "ESTABLISHED"]
    listener.close(0)
    assert listener.state == states.CLOSED
    other = host.tcp.open(0, PEER, 81)
    assert host.sink.path(other.number) == ["CLOSED", "SYN-SENT"]


def test_no_other_transition_is_possible() -> None:
    """Every (old, new, cause) that is not listed raises, and the state stays."""
    for old in range(1, 12):
        for new in range(1, 12):
            for cause in ALL_CAUSES:
                if (old, new, cause) not in LEGAL:
                    with pytest.raises(IllegalTransition):
                        check_transition(old, new, cause)
    _host, c, *_ = scenes.established(Host())
    with pytest.raises(IllegalTransition, match="ESTABLISHED -> TIME-WAIT because of FIN_RECEIVED"):
        change_state(c, 0, states.TIME_WAIT, causes.FIN_RECEIVED)
    assert c.state == states.ESTABLISHED


def test_every_transition_names_its_section() -> None:
    for transition in states.TRANSITIONS:
        assert transition.section
        assert transition.cause in causes.CAUSES
