"""Two ends and a hostile network: hypothesis drives the users' calls, the network and time; what TCP promises holds.

The network loses, repeats, delays and reorders what is sent, shrinks the path's MTU, and has a forger off the path, who
knows addresses and ports but guesses sequence numbers. It never alters or forges what would be believed: no TCP
promises anything against that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nodes.base import causes, events
from nodes.base.clock import MILLISECOND, NEVER, SECOND
from nodes.base.errors import SocketError
from nodes.packet.tcp import ACK, FIN, PSH, RST, SYN, Segment
from nodes.tcp import states
from nodes.tcp.congestion import CONTROLS
from nodes.tcp.connection import Connection
from nodes.tcp.seq import HALF, MASK

from .harness import HERE, HTTP, PEER, FakeNetwork, Host

#: What both ends write, each from its own place, so that no byte looks like its neighbours or the other end's.
TEXT = bytes((at * 167 + (at >> 8) * 13) & 0xFF for at in range(1 << 18))
HOUR = 3600 * SECOND
FORGED = (RST, RST | ACK, SYN, ACK, ACK | PSH, ACK | FIN)
#: 0 is what ends a connection, so that most live for a while.
SELDOM = st.integers(0, 7)
CALLS = st.sampled_from((0, 1))


class Flying(NamedTuple):
    """A segment on its way to `to`."""

    to: int
    src: bytes
    dst: bytes
    segment: Segment


class End(Host):
    """A host, its one connection, and what its user has written and read."""

    def __init__(self, profile: str, local: bytes, text_at: int, knobs: dict[str, object]) -> None:
        super().__init__(profile, local, seed=text_at + 1, **knobs)
        self.sink.level = events.LEVEL_STATES
        self.network = Watched(self, local)
        self.tcp.network = self.network
        self.c: Connection | None = None
        self.text_at = text_at
        self.written = 0
        self.read = bytearray()
        #: Whether its user has closed in whatever way, so that nothing more is read or may be lost.
        self.gone = False
        #: Whether its user has said that it writes no more.
        self.shut = False
        self.highest = 0
        self.edge = 0

    def text(self, start: int, end: int) -> bytes:
        return TEXT[self.text_at + start : self.text_at + end]


class Watched(FakeNetwork):
    """Looks at each segment as it leaves."""

    def __init__(self, end: End, local: bytes) -> None:
        super().__init__(local)
        self.end = end

    def transmit(self, now: int, src: bytes, dst: bytes, segment: Segment, conn: int, cause: int, resent: bool) -> None:
        super().transmit(now, src, dst, segment, conn, cause, resent)
        c = self.end.tcp.connections.get(conn)
        if c is None or c is not self.end.c:
            return
        if segment.flags & ACK and not segment.flags & (SYN | RST):
            self._window(c, segment)
        if segment.payload and not resent:
            self._new_data(c, segment, cause)

    def _window(self, c: Connection, segment: Segment) -> None:
        """Our right window edge never moves left; what scaling rounds off is no retraction (RFC 7323 section 2.4)."""
        edge = (segment.ack - c.irs & MASK) + (segment.window << c.rcv_shift)
        assert edge > self.end.edge - (1 << c.rcv_shift), f"the right edge goes from {self.end.edge} to {edge}"
        self.end.edge = max(self.end.edge, edge)

    def _new_data(self, c: Connection, segment: Segment, cause: int) -> None:
        """No new data beyond what cwnd, PRR (which sets cwnd), limited transmit or a loss probe allow; nor beyond the
        peer's window."""
        end = (segment.seq - c.iss & MASK) + len(segment.payload)
        if end <= self.end.highest:
            return
        self.end.highest = end
        probe = cause == causes.WINDOW_PROBE
        assert end <= c.snd_una + c.snd_wnd - c.iss + probe, "beyond the peer's window"
        allowed = c.congestion.cwnd
        if cause == causes.LIMITED_TRANSMIT:
            allowed += 2 * c.mss
        if segment.flags & FIN:
            allowed += 1  # what goes with the last data is no data
        assert probe or c.flight <= allowed, (
            f"{c.flight} bytes on their way; cwnd {allowed}, {causes.CAUSES[cause].name}"
        )
        if not c.board.sacked and not c.board.lost:
            assert c.flight == c.snd_nxt - c.snd_una


class TwoEnds(RuleBasedStateMachine):
    """`ends[0]` opens, `ends[1]` listens (or both open)."""

    @initialize(
        profile=st.sampled_from(("linux", "rfc")),
        control=st.sampled_from(sorted(CONTROLS)),
        timestamps=st.integers(0, 1),
        sack=st.integers(0, 1),
        recovery=st.integers(0, 1),
        probes=st.sampled_from((0, 3)),
        searches=st.integers(0, 2),
        rcvbuf=st.sampled_from((65_535, 1 << 20, 2000, 256)),
        sndbuf=st.sampled_from((1 << 20, 1 << 20, 2000, 1)),
        both=st.booleans(),
        meet=st.integers(0, 3),
    )
    def begin(
        self,
        profile: str,
        control: str,
        timestamps: int,
        sack: int,
        recovery: int,
        probes: int,
        searches: int,
        rcvbuf: int,
        sndbuf: int,
        both: bool,
        meet: int,
    ) -> None:
        """`meet`: but for 3 the connection is open before anything bad happens."""
        knobs: dict[str, object] = {
            "tcp_timestamps": timestamps,
            "tcp_sack": sack,
            "tcp_recovery": recovery,
            "tcp_early_retrans": probes,
            "tcp_mtu_probing": searches,
            "rmem_max": 1 << 20,
            "tcp_congestion_control": control,
        }
        self.ends = (End(profile, HERE, 0, knobs), End(profile, PEER, 1 << 17, knobs))
        self.now = 0
        self.air: list[Flying] = []
        options: dict[str, object] = {"SO_RCVBUF": rcvbuf, "SO_SNDBUF": sndbuf}
        one, other = self.ends
        if both:
            one.c = one.tcp.open(0, PEER, HTTP, local_port=HTTP, options=options)
            other.c = other.tcp.open(0, HERE, HTTP, local_port=HTTP, options=options)
        else:
            self.listener = other.tcp.listen(0, b"", HTTP, 4, options)
            one.c = one.tcp.open(0, PEER, HTTP, options=options)
        self.collect()
        while meet < 3 and self.air:
            self.now += 5 * MILLISECOND
            self.arrive(self.air.pop(0))

    def collect(self) -> None:
        """What was sent is on its way; whoever was accepted is known."""
        for index, end in enumerate(self.ends):
            for _, src, dst, segment, *_ in end.network.sent:
                self.air.append(Flying(1 - index, src, dst, segment))
            end.network.sent.clear()
        other = self.ends[1]
        if other.c is None and self.listener.accept_queue:
            other.c = self.listener.accept(self.now)

    def arrive(self, flying: Flying) -> None:
        self.ends[flying.to].tcp.on_segment(self.now, flying.src, flying.dst, flying.segment, 0, 0)
        self.collect()

    # The network.

    @precondition(lambda self: self.air)
    @rule(count=st.integers(1, 12))
    def delivers(self, count: int) -> None:
        for _ in range(min(count, len(self.air))):
            self.arrive(self.air.pop(0))

    @precondition(lambda self: self.air)
    @rule(rounds=st.integers(1, 6), milliseconds=st.integers(1, 50), reading=st.booleans())
    def does_its_work(self, rounds: int, milliseconds: int, reading: bool) -> None:
        """For some round trips all arrives, in order; the users write all the time, and may read."""
        for _ in range(rounds):
            for which, end in enumerate(self.ends):
                if reading:
                    self.read(end, 1 << 20)
                self.writes_some(which, 5000)
            self.let_pass(self.now + milliseconds * MILLISECOND)
            for _ in range(len(self.air)):
                self.arrive(self.air.pop(0))

    @precondition(lambda self: self.air)
    @rule(at=st.integers(0, 1000))
    def delivers_out_of_order(self, at: int) -> None:
        self.arrive(self.air.pop(at % len(self.air)))

    @precondition(lambda self: self.air)
    @rule(at=st.integers(0, 1000))
    def repeats(self, at: int) -> None:
        self.air.append(self.air[at % len(self.air)])

    @precondition(lambda self: self.air)
    @rule(at=st.integers(0, 1000), count=st.sampled_from((1, 2, 5, 1000)))
    def loses(self, at: int, count: int) -> None:
        at %= len(self.air)
        del self.air[at : at + count]

    @rule(milliseconds=st.sampled_from((1, 5, 39, 41, 200, 1000, 3000)))
    def waits(self, milliseconds: int) -> None:
        self.let_pass(self.now + milliseconds * MILLISECOND)

    @rule()
    def waits_for_a_timer(self) -> None:
        deadline = min(end.tcp.next_deadline() for end in self.ends)
        if deadline < self.now + HOUR:
            self.let_pass(max(deadline, self.now))

    def let_pass(self, until: int) -> None:
        while (deadline := min(end.tcp.next_deadline() for end in self.ends)) <= until:
            self.now = max(self.now, deadline)
            for end in self.ends:
                end.tcp.on_timer(self.now)
            self.collect()
        self.now = max(self.now, until)

    @rule(which=CALLS, code=st.sampled_from((0, 1, 5, 11, 12)), time_exceeded=st.booleans())
    def says_that_it_is_unreachable(self, which: int, code: int, time_exceeded: bool) -> None:
        """Soft errors, which end nothing that is established (RFC 5461, RFC 5927 section 5)."""
        end = self.ends[which]
        c = end.c
        if c is not None and c.synchronized:
            before = c.state
            kind, code = (11, 0) if time_exceeded else (3, code)
            end.tcp.on_icmp_error(
                self.now, c.local, c.remote, c.local_port, c.remote_port, c.snd_una & MASK, kind, code, 0
            )
            assert c.state == before
            self.collect()

    @rule(which=CALLS, mtu=st.integers(552, 1500))
    def has_a_narrow_link(self, which: int, mtu: int) -> None:
        end = self.ends[which]
        c = end.c
        if c is not None:
            end.tcp.on_icmp_error(self.now, c.local, c.remote, c.local_port, c.remote_port, c.snd_una & MASK, 3, 4, mtu)
            self.collect()

    @rule(
        which=CALLS, flags=st.sampled_from((RST, RST | ACK, SYN, ACK, ACK | PSH, ACK | FIN)), guess=st.integers(0, MASK)
    )
    def has_a_forger(self, which: int, flags: int, guess: int) -> None:
        """Who hits the window (or a SYN) has not guessed: that is left out."""
        end = self.ends[which]
        c = end.c
        if c is None or not c.synchronized or c.state in (states.TIME_WAIT, states.CLOSED):
            return
        if (guess - c.rcv_nxt) & MASK <= c.rcv_adv - c.rcv_nxt + 2 * 1460 or (c.rcv_nxt - guess) & MASK < 2 * 1460:
            return
        payload = b"forged" if flags & PSH else b""
        segment = Segment(c.remote_port, c.local_port, guess, c.snd_una & MASK, flags, 1000, payload)
        before = (c.state, c.rcv_nxt, c.buffered, c.snd_una)
        end.tcp.on_segment(self.now, c.remote, c.local, segment, 0, 0)
        assert (c.state, c.rcv_nxt, c.buffered, c.snd_una) == before
        self.collect()

    # The users.

    @rule(which=CALLS, size=st.sampled_from((1, 10, 536, 1460, 3000, 20_000, 60_000)))
    def writes(self, which: int, size: int) -> None:
        self.writes_some(which, size)

    def writes_some(self, which: int, size: int) -> None:
        end = self.ends[which]
        if end.c is None or end.written + size > 1 << 17:
            return
        try:
            end.written += end.c.send(self.now, end.text(end.written, end.written + size))
        except SocketError:
            assert end.shut or end.gone or end.c.error
        self.collect()

    @rule(which=CALLS, size=st.sampled_from((1, 100, 1460, 1 << 20)))
    def reads(self, which: int, size: int) -> None:
        self.read(self.ends[which], size)

    def read(self, end: End, size: int) -> None:
        if end.c is None:
            return
        try:
            end.read += end.c.receive(self.now, size)
        except SocketError as error:
            assert end.gone or end.c.error or error.errno_name == "EBADF"
        self.collect()

    @rule(which=CALLS, sure=SELDOM)
    def says_that_it_writes_no_more(self, which: int, sure: int) -> None:
        end = self.ends[which]
        if sure == 0 and end.c is not None and end.c.state != states.CLOSED and not end.gone:
            end.gone = end.c.state == states.SYN_SENT
            end.shut = True
            end.c.shutdown(self.now)
            self.collect()

    @rule(which=CALLS, abort=st.integers(0, 3), sure=SELDOM)
    def closes(self, which: int, abort: int, sure: int) -> None:
        end = self.ends[which]
        if sure == 0 and end.c is not None and end.c.state != states.CLOSED and not end.gone:
            end.gone = True
            if abort:
                end.c.close(self.now)
            else:
                end.c.abort(self.now)
            self.collect()

    @rule(
        which=CALLS,
        option=st.sampled_from(
            (
                ("TCP_NODELAY", 1),
                ("TCP_NODELAY", 0),
                ("SO_RCVBUF", 300),
                ("SO_RCVBUF", 100_000),
                ("SO_SNDBUF", 10),
                ("SO_KEEPALIVE", 1),
                *(("TCP_CONGESTION", name) for name in CONTROLS),
            )
        ),
    )
    def sets_an_option(self, which: int, option: tuple[str, Any]) -> None:
        end = self.ends[which]
        if end.c is not None and end.c.state != states.CLOSED and not end.c.user_closed:
            end.c.set_option(self.now, *option)
            self.collect()

    # What holds.

    @invariant()
    def variables_are_in_order(self) -> None:
        for end in self.ends:
            c = end.c
            if c is not None:
                assert c.iss <= c.snd_una <= c.snd_nxt <= c.iss + HALF
                assert not c.synchronized or c.rcv_nxt <= c.rcv_adv
                assert c.reassembly.length <= max(c.rcv_adv - c.rcv_nxt, 0)
                assert 0 <= c.board.flying + c.board.lost + c.board.sacked <= c.snd_nxt - c.snd_una

    @invariant()
    def what_is_read_is_what_was_written(self) -> None:
        one, other = self.ends
        for reader, writer in ((one, other), (other, one)):
            assert bytes(reader.read) == writer.text(0, len(reader.read))
            assert len(reader.read) <= writer.written

    def teardown(self) -> None:
        """From now on the network loses nothing: whoever has something outstanding finishes, or learns of failure."""
        if not hasattr(self, "ends"):
            return
        limit = self.now + 100 * HOUR
        steps = 0
        while True:
            steps += 1
            assert steps < 200_000, "it goes on and on"
            for end in self.ends:
                c = end.c
                if c is None or end.gone:
                    continue
                if not c.fin_queued and c.state not in (states.SYN_SENT, states.CLOSED):
                    end.shut = True
                    c.shutdown(self.now)
                    self.collect()
                if c.buffered:
                    self.read(end, 1 << 20)
            if self.air:
                self.now += MILLISECOND
                self.arrive(self.air.pop(0))
                for end in self.ends:
                    end.tcp.on_timer(self.now)
                self.collect()
                continue
            deadline = min(end.tcp.next_deadline() for end in self.ends)
            if deadline == NEVER or deadline > limit:
                break
            self.let_pass(deadline)
        for index, end in enumerate(self.ends):
            c = end.c
            other = self.ends[1 - index]
            if c is None:
                continue
            # Nothing waits any more for a peer that does not answer.
            assert c.state == states.CLOSED or not c.outstanding, f"{states.STATE_NAMES[c.state]} with data outstanding"
            if not (c.error or end.gone or other.gone or other.c is None or other.c.error):
                assert c.state in (states.CLOSED, states.TIME_WAIT)
                assert len(other.read) == end.written
        self.variables_are_in_order()
        self.what_is_read_is_what_was_written()


TwoEnds.TestCase.settings = settings(
    max_examples=60, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestTwoEnds = TwoEnds.TestCase
