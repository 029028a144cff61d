"""`EventSink`: what events are given to; it packs, counts or ignores them."""

from __future__ import annotations

from mypy_extensions import mypyc_attr

from nodes.base.events import (
    APP,
    ATTACK,
    CALL,
    CALL_RECEIVE,
    CALL_SEND,
    CHALLENGE_ACK,
    CONNECTION,
    CONTROL,
    CWND,
    DISCARD,
    ECN,
    ERROR,
    ILLEGAL,
    LEVEL_ALL,
    LEVEL_CONGESTION,
    LEVEL_OFF,
    LEVEL_SEGMENTS,
    LEVEL_STATES,
    LISTENER,
    MUTANT,
    QUEUE,
    RECOVERY,
    RESET,
    RETRANSMIT,
    RTT,
    SOURCE_STACK,
    STATE,
    TIMER,
    TIMER_FIRED,
    URGENT,
    VERDICT,
    VERDICT_PASSED,
    WINDOW,
)


@mypyc_attr(allow_interpreted_subclasses=True)
class EventSink:
    """Receives events. This base discards everything; `lab.trace.spool` writes, tests collect.

    `level` and `capture` are read by producers before they build an event, so a level that is off costs one
    comparison. `node` is an interned name, `conn` the connection's number on its node (0: none).
    """

    def __init__(self, level: int = LEVEL_OFF, capture: bool = False) -> None:
        self.level = level
        self.capture = capture
        #: Source of what is emitted from now on.
        self.source = SOURCE_STACK

    def name(self, text: str) -> int:
        """The number that stands for `text` in records; 0 for the empty string."""
        return 0

    def emit(self, kind: int, time_ns: int, node: int, conn: int, cause: int, values: tuple[int, ...]) -> None:
        """Record an event whose fields, in the table's order, are `values`. No level check is made here."""

    def emit_tail(
        self, kind: int, time_ns: int, node: int, conn: int, cause: int, values: tuple[int, ...], tail: bytes
    ) -> None:
        """Record an event of a kind with a tail (bytes, or UTF-8 text)."""

    # One typed method per kind that protocol code emits; each checks its level.

    def connection(
        self,
        time_ns: int,
        node: int,
        conn: int,
        origin: int,
        local_address: int,
        local_port: int,
        remote_address: int,
        remote_port: int,
    ) -> None:
        """A TCB was made. Addresses are interned names."""
        if self.level >= LEVEL_STATES:
            self.emit(
                CONNECTION, time_ns, node, conn, 0, (origin, local_address, local_port, remote_address, remote_port)
            )

    def state(self, time_ns: int, node: int, conn: int, cause: int, old: int, new: int) -> None:
        """The connection went from state `old` to `new` (numbers of nodes.tcp.states)."""
        if self.level >= LEVEL_STATES:
            self.emit(STATE, time_ns, node, conn, cause, (old, new))

    def retransmit(self, time_ns: int, node: int, conn: int, cause: int, seq: int, length: int, count: int) -> None:
        """`length` bytes from `seq` are sent again, for the `count`-th time."""
        if self.level >= LEVEL_CONGESTION:
            self.emit(RETRANSMIT, time_ns, node, conn, cause, (seq, length, count))

    def rtt(
        self, time_ns: int, node: int, conn: int, sample_ns: int, srtt_ns: int, rttvar_ns: int, rto_ns: int
    ) -> None:
        """A round-trip sample was taken and the estimator now says this (RFC 6298 section 2)."""
        if self.level >= LEVEL_CONGESTION:
            self.emit(RTT, time_ns, node, conn, 0, (sample_ns, srtt_ns, rttvar_ns, rto_ns))

    def cwnd(
        self,
        time_ns: int,
        node: int,
        conn: int,
        cause: int,
        cwnd: int,
        ssthresh: int,
        flight: int,
        pacing_rate: int,
        mss: int,
    ) -> None:
        """Congestion window, slow-start threshold, bytes in flight; pacing in bytes/s or UNKNOWN."""
        if self.level >= LEVEL_CONGESTION:
            self.emit(CWND, time_ns, node, conn, cause, (cwnd, ssthresh, flight, pacing_rate, mss))

    def recovery(
        self, time_ns: int, node: int, conn: int, cause: int, entered: bool, algorithm: int, recover: int
    ) -> None:
        """Loss recovery entered or left; `recover` is the sequence number that ends it."""
        if self.level >= LEVEL_CONGESTION:
            self.emit(RECOVERY, time_ns, node, conn, cause, (int(entered), algorithm, recover))

    def timer(
        self, time_ns: int, node: int, conn: int, timer: int, action: int, deadline_ns: int, backoff: int
    ) -> None:
        """FIRED is recorded from level congestion on, SET and CANCELLED at level all."""
        if self.level >= (LEVEL_CONGESTION if action == TIMER_FIRED else LEVEL_ALL):
            self.emit(TIMER, time_ns, node, conn, 0, (timer, action, deadline_ns, backoff))

    def window(self, time_ns: int, node: int, conn: int, side: int, window: int, edge: int, zero_edge: bool) -> None:
        """A window changed. `zero_edge`: it became zero or opened again (recorded from level congestion on)."""
        if self.level >= (LEVEL_CONGESTION if zero_edge else LEVEL_ALL):
            self.emit(WINDOW, time_ns, node, conn, 0, (side, window, edge))

    def challenge_ack(self, time_ns: int, node: int, conn: int, cause: int, seq: int, suppressed: bool) -> None:
        """A challenge ACK was sent, or suppressed by the limit, because of the segment with `seq`."""
        if self.level >= LEVEL_STATES:
            self.emit(CHALLENGE_ACK, time_ns, node, conn, cause, (seq, int(suppressed)))

    def reset(self, time_ns: int, node: int, conn: int, cause: int, direction: int, accepted: bool, seq: int) -> None:
        """A RST was sent (`accepted` true), or received and accepted or ignored; the cause says why."""
        if self.level >= LEVEL_STATES:
            self.emit(RESET, time_ns, node, conn, cause, (direction, int(accepted), seq))

    def discard(self, time_ns: int, node: int, conn: int, cause: int, seq: int, length: int, flags: int) -> None:
        """A segment that arrived was not processed further; the cause says why."""
        if self.level >= LEVEL_CONGESTION:
            self.emit(DISCARD, time_ns, node, conn, cause, (seq, length, flags))

    def illegal(self, time_ns: int, node: int, conn: int, cause: int, state: int, call: int) -> None:
        """A user call that RFC 9293 does not allow in this state; the cause has its words."""
        if self.level >= LEVEL_STATES:
            self.emit(ILLEGAL, time_ns, node, conn, cause, (state, call))

    def call(self, time_ns: int, node: int, conn: int, call: int, length: int) -> None:
        """A user call was made. SEND and RECEIVE are recorded from level segments on, with their bytes."""
        if self.level >= (LEVEL_SEGMENTS if call in (CALL_SEND, CALL_RECEIVE) else LEVEL_STATES):
            self.emit(CALL, time_ns, node, conn, 0, (call, length))

    def listener(
        self,
        time_ns: int,
        node: int,
        conn: int,
        cause: int,
        local_address: int,
        local_port: int,
        syn_queue: int,
        accept_queue: int,
        backlog: int,
    ) -> None:
        """The queues of a listener changed, or one overflowed (cause)."""
        if self.level >= LEVEL_STATES:
            self.emit(
                LISTENER, time_ns, node, conn, cause, (local_address, local_port, syn_queue, accept_queue, backlog)
            )

    def error(self, time_ns: int, node: int, conn: int, cause: int, errno_name: int) -> None:
        """The connection failed; its user will see this error (interned errno name)."""
        if self.level >= LEVEL_STATES:
            self.emit(ERROR, time_ns, node, conn, cause, (errno_name,))

    def mutant(self, time_ns: int, node: int, conn: int, mutant: int) -> None:
        """The TCP of a connection is wrong on purpose (interned name)."""
        if self.level >= LEVEL_STATES:
            self.emit(MUTANT, time_ns, node, conn, 0, (mutant,))

    def control(self, time_ns: int, node: int, conn: int, control: int, why: int) -> None:
        """A user's congestion control has failed."""
        if self.level >= LEVEL_STATES:
            self.emit(CONTROL, time_ns, node, conn, 0, (control, why))

    def ecn(
        self,
        time_ns: int,
        node: int,
        conn: int,
        cause: int,
        delivered_ce: int,
        received_ce: int,
        sends_ect: bool,
        sends_option: bool,
    ) -> None:
        """AccECN: marks told by the peer, or a decision about ECN; packets in all so far."""
        if self.level >= LEVEL_CONGESTION:
            self.emit(ECN, time_ns, node, conn, cause, (delivered_ce, received_ce, int(sends_ect), int(sends_option)))

    def urgent(self, time_ns: int, node: int, conn: int, direction: int, seq: int) -> None:
        """Urgent data: the number of its byte."""
        if self.level >= LEVEL_CONGESTION:
            self.emit(URGENT, time_ns, node, conn, 0, (direction, seq))

    def verdict(self, time_ns: int, link: int, frame: int, verdict: int, rule: int, delay_ns: int) -> None:
        """What a link decided on the `frame`-th frame of a direction. PASSED is recorded from level segments on."""
        if self.level >= (LEVEL_SEGMENTS if verdict == VERDICT_PASSED else LEVEL_CONGESTION):
            self.emit(VERDICT, time_ns, 0, 0, 0, (link, frame, verdict, rule, delay_ns))

    def queue(self, time_ns: int, link: int, packets: int, length: int) -> None:
        """Occupancy of a link direction's queue after a change."""
        if self.level >= LEVEL_SEGMENTS:
            self.emit(QUEUE, time_ns, 0, 0, 0, (link, packets, length))

    def attack(self, time_ns: int, attack: int, action: int, packets: int, note: str) -> None:
        """An attack did something; `packets` it has injected so far."""
        if self.level >= LEVEL_STATES:
            self.emit_tail(ATTACK, time_ns, 0, 0, 0, (attack, action, packets), note.encode())

    def app(self, time_ns: int, node: int, conn: int, app: int, what: int, value: int) -> None:
        """An application reports something in its own words (interned) with one number."""
        if self.level >= LEVEL_STATES:
            self.emit(APP, time_ns, node, conn, 0, (app, what, value))
