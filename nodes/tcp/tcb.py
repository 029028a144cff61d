"""The transmission control block (RFC 9293 section 3.3.1) and the one function that changes its state.

Sequence numbers in here are unwrapped ints (see seq.py); times are ns; sizes bytes. The other files of this package
are functions over a `Tcb`, one concept each; `connection.py` adds the user's calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from nodes.base import causes
from nodes.base.clock import MILLISECOND, NEVER
from nodes.tcp import states
from nodes.tcp.congestion.base import UNLIMITED, CongestionControl
from nodes.tcp.options import Options
from nodes.tcp.rate import Rate
from nodes.tcp.reassembly import Reassembly
from nodes.tcp.recovery_state import Prr, Rack, Undo
from nodes.tcp.sack import Received
from nodes.tcp.scoreboard import Scoreboard
from nodes.tcp.sendqueue import SendQueue

if TYPE_CHECKING:
    from nodes.tcp.accecn import AccEcn
    from nodes.tcp.endpoints import Tcp
    from nodes.tcp.fastopen import FastOpen
    from nodes.tcp.listener import Listener
    from nodes.tcp.newcwv import Validation
    from nodes.tcp.plpmtud import Search
    from nodes.tcp.urgent import Urgent

#: How a connection came about (nodes.base.events.ORIGINS).
ACTIVE: Final = 1
PASSIVE: Final = 2

#: The MSS of a peer that announces none, RFC 9293 section 3.7.1.
DEFAULT_MSS_IPV4: Final = 536
DEFAULT_MSS_IPV6: Final = 1220
#: The largest window there can be: 65535 and a shift of 14 (RFC 7323 section 2.3).
MAX_WINDOW: Final = 65_535 << 14
#: What the timestamps option takes in every segment, padding included.
TIMESTAMPS_LENGTH: Final = 12


class Tcb:
    """Everything one connection remembers. Names follow RFC 9293, 6298, 5681 and 7323."""

    __slots__ = (
        "accurate",
        "ack_answers",
        "ack_bytes",
        "ack_cause",
        "ack_delay",
        "ack_quick",
        "ack_small",
        "acked_at",
        "backoff",
        "blocked",
        "board",
        "buffered",
        "busy_time",
        "bytes_acked",
        "bytes_received",
        "bytes_retrans",
        "bytes_sent",
        "chrono",
        "chrono_since",
        "close_on_established",
        "closed_window",
        "congestion",
        "control_failed_at",
        "cwnd_limited",
        "cwnd_seen",
        "cwr_due",
        "cwr_until",
        "data_at",
        "data_segs_in",
        "data_segs_out",
        "deferred",
        "delack_at",
        "delivered",
        "delivered_ce",
        "delivered_ce_segs",
        "dsack_dups",
        "dup_acks",
        "dup_acks_sent_at",
        "early",
        "ece",
        "ecn",
        "ecn_offered",
        "ecn_seen",
        "error",
        "error_cause",
        "error_pending",
        "fast",
        "fin_at",
        "fin_queued",
        "fin_received",
        "fin_sent",
        "fin_seq",
        "fin_wait_2_at",
        "frto",
        "in_recovery",
        "irs",
        "iss",
        "keepalive_at",
        "keepalive_probes",
        "last_ack_received",
        "last_ack_sent",
        "last_ack_sent_at",
        "last_received",
        "last_sent",
        "last_size",
        "listener",
        "local",
        "local_port",
        "max_out",
        "max_snd_wnd",
        "mss",
        "mtu",
        "mtu_until",
        "number",
        "on_ready",
        "options",
        "origin",
        "orphan",
        "paced_until",
        "pacing_at",
        "partial_acked",
        "peer_mss",
        "persist_at",
        "persist_backoff",
        "phase_seen",
        "probe_at",
        "probe_end",
        "probe_resent",
        "probes",
        "prr",
        "rack",
        "rate",
        "rcv_adv",
        "rcv_mss",
        "rcv_nxt",
        "rcv_ooopack",
        "rcv_queue",
        "rcv_rtt",
        "rcv_rtt_at",
        "rcv_rtt_seq",
        "rcv_shift",
        "rcv_space",
        "ready",
        "reassembly",
        "received",
        "recover",
        "remote",
        "remote_port",
        "reordering_at",
        "retrans_at",
        "retransmits",
        "rto",
        "rto_at",
        "rto_recovery",
        "rttvar",
        "rwnd_limited",
        "sack",
        "scaling",
        "search",
        "segs_in",
        "segs_out",
        "small_end",
        "snd_nxt",
        "snd_queue",
        "snd_shift",
        "snd_una",
        "snd_up",
        "snd_wl1",
        "snd_wl2",
        "snd_wnd",
        "sndbuf_limited",
        "soft_error",
        "space_at",
        "space_seq",
        "srtt",
        "ssthresh_seen",
        "state",
        "synchronized",
        "tcp",
        "time_wait_at",
        "time_wait_since",
        "timestamps",
        "total_retrans",
        "total_rto",
        "total_rto_recoveries",
        "total_rto_time",
        "ts_offset",
        "ts_recent",
        "ts_recent_at",
        "undo",
        "urgent",
        "usage_end",
        "user_closed",
        "user_timeout_at",
        "validation",
        "wake_at",
        "window_clamp",
        "write_waits",
    )

    # Compiled, attributes lie in memory in this order: what a segment touches is side by side, what both directions
    # need, then what receiving data and what sending it needs, so that few lines of a processor's cache hold it.
    tcp: Tcp
    state: int
    snd_una: int
    snd_nxt: int
    rcv_nxt: int
    rcv_adv: int
    ts_recent: int
    ts_recent_at: int
    last_received: int
    last_ack_sent: int
    ack_cause: int
    fin_at: int
    delack_at: int
    wake_at: int
    rto_at: int
    snd_queue: SendQueue
    board: Scoreboard
    options: Options
    accurate: AccEcn | None
    urgent: Urgent | None
    received: Received
    on_ready: Callable[[], None] | None
    local: bytes
    remote: bytes
    local_port: int
    remote_port: int
    number: int
    ts_offset: int
    buffered: int
    window_clamp: int
    rcv_mss: int
    rcv_shift: int
    snd_up: int
    segs_in: int
    segs_out: int
    ack_bytes: int
    ack_quick: int
    ack_small: int
    last_ack_sent_at: int
    ready: bool
    synchronized: bool
    timestamps: bool
    sack: bool
    ecn: bool
    closed_window: bool
    fin_queued: bool
    fin_sent: bool
    fin_received: bool
    user_closed: bool
    error_pending: bool

    ack_delay: int
    ack_answers: int
    data_at: int
    data_segs_in: int
    bytes_received: int
    rcv_queue: list[bytes]
    reassembly: Reassembly
    rcv_rtt: int
    rcv_rtt_at: int
    rcv_rtt_seq: int
    rcv_space: int
    space_at: int
    space_seq: int
    keepalive_probes: int

    congestion: CongestionControl
    rate: Rate
    rack: Rack
    search: Search | None
    undo: Undo | None
    validation: Validation | None
    snd_wnd: int
    snd_wl1: int
    snd_wl2: int
    snd_shift: int
    max_snd_wnd: int
    mss: int
    srtt: int
    rttvar: int
    rto: int
    backoff: int
    retransmits: int
    probes: int
    persist_backoff: int
    persist_at: int
    reordering_at: int
    probe_at: int
    probe_end: int
    user_timeout_at: int
    mtu_until: int
    last_ack_received: int
    last_sent: int
    acked_at: int
    bytes_acked: int
    bytes_sent: int
    data_segs_out: int
    delivered: int
    small_end: int
    dup_acks: int
    cwr_until: int
    max_out: int
    usage_end: int
    cwnd_seen: int
    ssthresh_seen: int
    phase_seen: int
    frto: int
    chrono: int
    in_recovery: bool
    rto_recovery: bool
    cwnd_limited: bool
    blocked: bool

    def __init__(
        self,
        tcp: Tcp,
        number: int,
        origin: int,
        local: bytes,
        local_port: int,
        remote: bytes,
        remote_port: int,
        options: Options,
        iss: int,
    ) -> None:
        parameters = tcp.parameters
        self.tcp = tcp
        self.number = number
        self.origin = origin
        self.local = local
        self.local_port = local_port
        self.remote = remote
        self.remote_port = remote_port
        self.options = options
        self.listener: Listener | None = None
        self.state = states.CLOSED
        #: Called (by Tcp, never in the middle of processing) when readable, writable, eof or error may have changed.
        self.on_ready = None
        self.ready = False

        # send sequence space
        self.iss = iss
        self.snd_una = iss
        self.snd_nxt = iss
        #: SND.UP: the number after the urgent data, if that is not acknowledged.
        self.snd_up = iss
        self.snd_wnd = 0
        self.snd_wl1 = 0
        self.snd_wl2 = 0
        self.max_snd_wnd = 0
        self.snd_shift = 0
        self.snd_queue = SendQueue()
        #: Sent and not acknowledged.
        self.board = Scoreboard()
        #: End of the last segment sent that was smaller than the MSS (Nagle as Linux does it, after Minshall).
        self.small_end = iss
        self.fin_queued = False
        self.fin_sent = False
        self.fin_seq = 0

        # receive sequence space
        self.irs = 0
        self.rcv_nxt = 0
        #: Right edge of the window announced to the peer.
        self.rcv_adv = 0
        self.rcv_shift = 0
        #: Whether the window announced last was 0.
        self.closed_window = False
        self.rcv_queue = []  # an empty deque takes 700 bytes
        #: Bytes in rcv_queue.
        self.buffered = 0
        self.reassembly = Reassembly()
        self.received = Received()
        #: Where a FIN that came out of order stands in the stream; -1: none has.
        self.fin_at = -1
        self.fin_received = False
        #: Urgent data that the user has not read past (urgent.py).
        self.urgent = None
        self.rcv_mss = DEFAULT_MSS_IPV4
        #: Bytes received since the last ACK sent, and why an ACK is due at the end of this event (NONE: it is not).
        self.ack_bytes = 0
        self.ack_cause = causes.NONE
        self.last_ack_sent = 0
        # Linux's delayed ACKs (acking.py): how many more are sent at once, how often this end has answered what it got,
        # the delay, small segments since the last ACK, when data came last and the size of a small segment.
        self.ack_quick = 0
        self.ack_answers = 0 if options.quickack else parameters.tcp_pingpong_thresh
        self.ack_delay = 0
        self.ack_small = 0
        self.data_at = 0
        self.last_size = 0
        #: TCP_WINDOW_CLAMP: no larger window is announced.
        self.window_clamp = options.window_clamp or MAX_WINDOW
        # What the user reads in a round trip, and the round trip (autotuning.py).
        self.rcv_rtt = 0
        self.rcv_rtt_at = 0
        self.rcv_rtt_seq = 0
        self.rcv_space = 0
        self.space_at = 0
        self.space_seq = 0
        self.dup_acks_sent_at = -NEVER

        # options of the connection
        #: Largest packet that fits the path, and until when that is believed.
        self.mtu = 0
        self.mtu_until = NEVER
        #: The search for it without routers' help; None: there is none.
        self.search = None
        self.peer_mss = DEFAULT_MSS_IPV6 if len(remote) == 16 else DEFAULT_MSS_IPV4
        #: Payload of a full segment: Eff.snd.MSS of RFC 9293 section 3.7.1.
        self.mss = self.peer_mss
        #: What we offer in our SYN; once the peer's SYN has come, what both ends use.
        self.timestamps = bool(parameters.tcp_timestamps)
        self.scaling = bool(parameters.tcp_window_scaling)
        self.sack = bool(parameters.tcp_sack)
        self.ts_offset = 0
        self.ts_recent = 0
        self.ts_recent_at = 0

        # round trips and retransmission (RFC 6298)
        self.srtt = 0
        self.rttvar = 0
        self.rto = parameters.tcp_rto_initial_ms * MILLISECOND
        #: Timeouts in a row, and how often the RTO was doubled since the last sample.
        self.retransmits = 0
        self.backoff = 0
        #: When the first of the timeouts in a row was.
        self.retrans_at = 0
        self.total_retrans = 0
        self.probes = 0
        self.persist_backoff = 0
        self.keepalive_probes = 0

        # congestion (RFC 5681, 6582)
        self.congestion = parameters.controls[options.congestion](self.mss, self.mss, 1)
        self.cwnd_seen = 0
        self.ssthresh_seen = UNLIMITED
        self.phase_seen = causes.NONE
        self.dup_acks = 0
        self.in_recovery = False
        #: Whether this recovery has seen a partial ACK.
        self.partial_acked = False
        self.rto_recovery = False
        self.recover = iss
        #: Whether the window was the limit in this flight, which ends at `usage_end`; the most that was outstanding.
        self.cwnd_limited = False
        self.max_out = 0
        self.usage_end = iss
        #: What tcp_newcwv knows of the window; None: it is off.
        self.validation = None
        self.rate = Rate()
        #: Pacing: nothing goes before `paced_until`; the timer of it is `pacing_at`.
        self.paced_until = 0
        self.pacing_at = NEVER
        # ECN (RFC 3168): the flags offered in our SYN; agreed; marks are to be echoed; a reduction is to be told, and
        # none is made again before `cwr_until` is acknowledged.
        self.ecn_offered = 0
        self.ecn = False
        #: AccECN (RFC 9768), if that is what was agreed on.
        self.accurate = None
        #: Whether a packet of the peer's was marked as one of an ECN connection.
        self.ecn_seen = False
        self.ece = False
        self.cwr_due = False
        self.cwr_until = iss
        #: Bytes, and segments, of ours that the peer told to have come marked.
        self.delivered_ce = 0
        self.delivered_ce_segs = 0
        # the same with SACK (RFC 8985, 6937, 5682, 4015)
        self.rack = Rack()
        self.prr = Prr(0)
        self.undo = None
        self.frto = 0
        #: SND.NXT when a loss probe was sent, -1: none is out; and whether it was something sent before.
        self.probe_end = -1
        self.probe_resent = False

        # deadlines, ns; NEVER: not running. `wake_at` is when the host will look at them next.
        self.rto_at = NEVER
        self.delack_at = NEVER
        self.persist_at = NEVER
        self.keepalive_at = NEVER
        self.time_wait_at = NEVER
        self.time_wait_since = 0
        self.fin_wait_2_at = NEVER
        self.user_timeout_at = NEVER
        self.reordering_at = NEVER
        self.probe_at = NEVER
        self.wake_at = NEVER
        #: When the user's congestion control failed: the connection fails as soon as that is done which goes on.
        self.control_failed_at = NEVER

        # for the user
        self.synchronized = False
        #: Fast Open: None without it. `early`: as server, so that data flows before our SYN is acknowledged.
        self.fast: FastOpen | None = None
        self.early = False
        #: Cause of a CLOSE that waits for ESTABLISHED because data is queued (3.10.4), or NONE.
        self.close_on_established = causes.NONE
        self.user_closed = False
        #: Whether it counts as one that nobody holds (tcp_max_orphans).
        self.orphan = False
        #: Whether the ACK of our SYN-ACK has come and TCP_DEFER_ACCEPT makes us wait for more.
        self.deferred = False
        #: Whether `send` has left the buffer too full to be writable: the ACK that frees it makes `ready`.
        self.blocked = False
        #: Whether a call of the user waits to send more; whoever makes it wait says so (Linux: sk_write_pending).
        self.write_waits = False
        #: errno name the connection failed with ("" while it has not), RFC 9293's words for it, and whether the user
        #: has still to be told.
        self.error = ""
        self.error_cause = causes.NONE
        self.error_pending = False
        self.soft_error = ""
        #: When sequence space was last sent; -1 until the connection has sent data.
        self.last_sent = -1
        self.last_received = 0
        #: When SND.UNA last moved, or at first when our SYN went.
        self.acked_at = 0
        self.segs_in = 0
        self.segs_out = 0
        self.bytes_acked = 0
        self.bytes_received = 0
        self.delivered = 0
        # for TCP_INFO alone
        self.last_ack_received = 0
        self.last_ack_sent_at = 0
        self.data_segs_in = 0
        self.data_segs_out = 0
        self.bytes_sent = 0
        self.bytes_retrans = 0
        self.dsack_dups = 0
        self.rcv_ooopack = 0
        #: Timeouts in all, how many times in a row there were some, and how long all these lasted, ns.
        self.total_rto = 0
        self.total_rto_recoveries = 0
        self.total_rto_time = 0
        #: What the sender waits for, since when, and for how long it has in all, ns (chronograph.py).
        self.chrono = 0
        self.chrono_since = 0
        self.busy_time = 0
        self.rwnd_limited = 0
        self.sndbuf_limited = 0

    def next_deadline(self) -> int:
        """The earliest of the connection's deadlines, or NEVER."""
        deadline = self.rto_at
        if self.delack_at < deadline:
            deadline = self.delack_at
        if self.persist_at < deadline:
            deadline = self.persist_at
        if self.keepalive_at < deadline:
            deadline = self.keepalive_at
        if self.time_wait_at < deadline:
            deadline = self.time_wait_at
        if self.fin_wait_2_at < deadline:
            deadline = self.fin_wait_2_at
        if self.user_timeout_at < deadline:
            deadline = self.user_timeout_at
        if self.reordering_at < deadline:
            deadline = self.reordering_at
        if self.probe_at < deadline:
            deadline = self.probe_at
        if self.pacing_at < deadline:
            deadline = self.pacing_at
        if self.control_failed_at < deadline:
            deadline = self.control_failed_at
        return deadline

    @property
    def opening(self) -> bool:
        """Whether whoever has called OPEN waits: not when Fast Open lets data flow before the handshake is done."""
        if self.state != states.SYN_SENT and self.state != states.SYN_RECEIVED:
            return False
        return not self.early and (self.fast is None or not self.fast.deferred)

    @property
    def rcv_wnd(self) -> int:
        """The receive window as announced: RCV.WND."""
        return max(self.rcv_adv - self.rcv_nxt, 0)

    @property
    def min_rtt(self) -> int:
        """The lowest round trip of the last minutes, ns; 0: none was measured."""
        return self.rack.min_rtt

    @property
    def delivery_rate(self) -> int:
        """The last sample of how fast the network delivers, bytes per second; 0: none."""
        return self.rate.sample

    @property
    def flight(self) -> int:
        """Bytes believed to be on their way."""
        return self.board.flying

    @property
    def outstanding(self) -> bool:
        """Whether something is waiting for the peer: data or FIN sent or queued."""
        return self.snd_nxt > self.snd_una or self.snd_queue.length > 0 or (self.fin_queued and not self.fin_sent)


def change_state(c: Tcb, now: int, new: int, cause: int) -> None:
    """Move `c` to state `new`. The only place where a state changes; illegal transitions raise IllegalTransition."""
    old = c.state
    states.check_transition(old, new, cause)
    c.state = new
    c.ready = True
    tcp = c.tcp
    tcp.sink.state(now, tcp.node, c.number, cause, old, new)
    if old == states.TIME_WAIT:
        tcp.time_waits -= 1
    if c.orphan and (new == states.TIME_WAIT or new == states.CLOSED):
        c.orphan = False
        tcp.orphans -= 1
    if new == states.CLOSED:
        if old == states.SYN_SENT or old == states.SYN_RECEIVED:
            tcp.counters.TcpAttemptFails += 1
        elif (old == states.ESTABLISHED or old == states.CLOSE_WAIT) and cause != causes.ACK_OF_FIN:
            tcp.counters.TcpEstabResets += 1
        _release(c)
        tcp.forget(c, now, cause)


def _release(c: Tcb) -> None:
    """RFC 9293 section 3.10.5: all queues flushed but what the user may still read; no timer runs."""
    c.rto_at = c.delack_at = c.persist_at = c.keepalive_at = NEVER
    c.time_wait_at = c.fin_wait_2_at = c.user_timeout_at = c.reordering_at = c.probe_at = c.pacing_at = NEVER
    c.control_failed_at = NEVER
    c.snd_queue.clear()
    c.board.clear()
    c.reassembly.clear()
    c.ack_cause = causes.NONE
