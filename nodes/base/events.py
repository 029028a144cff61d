"""The trace schema: every kind of event, its fields and their units.

This table is the single source: the spool's records, the API's messages, the Parquet columns and the docs follow it
(tests hold them together). Producers call the typed methods of `EventSink` (event_sink.py).

Every event carries: its kind, `time_ns` (lab time), `node` and `connection` (0 where there is none), a `cause` and
its `source`.
Numbers are bytes, ns or counts; sequence numbers are the raw 32-bit ones of the wire.
Strings are interned: `sink.name("h1")` gives an int once, records hold the int.
"""

from __future__ import annotations

from typing import Final, NamedTuple

# Trace levels: each includes those before it.
LEVEL_OFF: Final = 0
LEVEL_STATES: Final = 1
LEVEL_CONGESTION: Final = 2
LEVEL_SEGMENTS: Final = 3
LEVEL_ALL: Final = 4
LEVEL_NAMES: Final = ("off", "states", "congestion", "segments", "all")

# Kinds of events.
CONNECTION: Final = 1
STATE: Final = 2
SEGMENT: Final = 3
SACK: Final = 4
RETRANSMIT: Final = 5
RTT: Final = 6
CWND: Final = 7
RECOVERY: Final = 8
TIMER: Final = 9
WINDOW: Final = 10
CHALLENGE_ACK: Final = 11
RESET: Final = 12
DISCARD: Final = 13
ILLEGAL: Final = 14
CALL: Final = 15
LISTENER: Final = 16
ERROR: Final = 17
MUTANT: Final = 18
CONTROL: Final = 19
ECN: Final = 20
URGENT: Final = 21
FRAME: Final = 32
VERDICT: Final = 33
DELIVERY: Final = 34
QUEUE: Final = 35
LINK: Final = 36
ATTACK: Final = 40
APP: Final = 41
ACTION: Final = 42
COUNTER: Final = 43
NAME: Final = 255

# Enums of single fields; the number is an index into the tuple.
ORIGINS: Final = ("", "ACTIVE", "PASSIVE")
DIRECTIONS: Final = ("", "SENT", "RECEIVED")
TIMERS: Final = (
    "",
    "RETRANSMISSION",
    "DELAYED_ACK",
    "PERSIST",
    "KEEPALIVE",
    "TIME_WAIT",
    "FIN_WAIT_2",
    "USER_TIMEOUT",
    "SYN_ACK",
    "REORDERING",
    "LOSS_PROBE",
)
TIMER_ACTIONS: Final = ("", "SET", "FIRED", "CANCELLED")
WINDOW_SIDES: Final = ("", "SEND", "RECEIVE")
ALGORITHMS: Final = ("", "FAST_RECOVERY", "RTO_RECOVERY")
CALLS: Final = ("", "OPEN", "LISTEN", "ACCEPT", "SEND", "RECEIVE", "SHUTDOWN", "CLOSE", "ABORT", "STATUS", "SET_OPTION")
VERDICTS: Final = (
    "",
    "PASSED",
    "DROPPED_LOSS",
    "DROPPED_QUEUE",
    "DROPPED_RULE",
    "DROPPED_DOWN",
    "CORRUPTED",
    "DUPLICATED",
    "DELAYED",
    "REORDERED",
    "HELD",
    "RESET",
    "INJECTED",
    "MARKED",
)
ATTACK_ACTIONS: Final = ("", "CREATED", "TRIGGERED", "INJECTED", "STOPPED", "DONE")

#: Who says so. STACK: our TCP, or whoever made the event. Of nodes with the kernel's TCP: CAPTURE what passed the
#: interface, INFERRED what follows from it by RFC 9293, TRACEFS and SOCK_DIAG what the kernel itself said.
SOURCES: Final = ("STACK", "CAPTURE", "INFERRED", "TRACEFS", "SOCK_DIAG")

SOURCE_STACK: Final = 0
SOURCE_CAPTURE: Final = 1
SOURCE_INFERRED: Final = 2
SOURCE_TRACEFS: Final = 3
SOURCE_SOCK_DIAG: Final = 4
SENT: Final = 1
RECEIVED: Final = 2
TIMER_RETRANSMISSION: Final = 1
TIMER_DELAYED_ACK: Final = 2
TIMER_PERSIST: Final = 3
TIMER_KEEPALIVE: Final = 4
TIMER_TIME_WAIT: Final = 5
TIMER_FIN_WAIT_2: Final = 6
TIMER_USER_TIMEOUT: Final = 7
TIMER_SYN_ACK: Final = 8
TIMER_REORDERING: Final = 9
TIMER_LOSS_PROBE: Final = 10
TIMER_SET: Final = 1
TIMER_FIRED: Final = 2
TIMER_CANCELLED: Final = 3
WINDOW_SEND: Final = 1
WINDOW_RECEIVE: Final = 2
FAST_RECOVERY: Final = 1
RTO_RECOVERY: Final = 2
CALL_OPEN: Final = 1
CALL_LISTEN: Final = 2
CALL_ACCEPT: Final = 3
CALL_SEND: Final = 4
CALL_RECEIVE: Final = 5
CALL_SHUTDOWN: Final = 6
CALL_CLOSE: Final = 7
CALL_ABORT: Final = 8
CALL_STATUS: Final = 9
CALL_SET_OPTION: Final = 10
VERDICT_PASSED: Final = 1
VERDICT_DROPPED_LOSS: Final = 2
VERDICT_DROPPED_QUEUE: Final = 3
VERDICT_DROPPED_RULE: Final = 4
VERDICT_DROPPED_DOWN: Final = 5
VERDICT_CORRUPTED: Final = 6
VERDICT_DUPLICATED: Final = 7
VERDICT_DELAYED: Final = 8
VERDICT_REORDERED: Final = 9
VERDICT_HELD: Final = 10
VERDICT_RESET: Final = 11
VERDICT_INJECTED: Final = 12
VERDICT_MARKED: Final = 13
ATTACK_CREATED: Final = 1
ATTACK_TRIGGERED: Final = 2
ATTACK_INJECTED: Final = 3
ATTACK_STOPPED: Final = 4
ATTACK_DONE: Final = 5

#: NULL in a field of code "q": the value is unknown or does not apply.
UNKNOWN: Final = -(1 << 63)


class Field(NamedTuple):
    """One field: `code` is its struct code (little endian), `type` int, bool, name, state or the tuple of an enum."""

    name: str
    code: str
    type: str
    doc: str


class Kind(NamedTuple):
    """One kind of event. `level` is the lowest that records it; `tail` names a trailing field of bytes or text."""

    number: int
    name: str
    level: int
    doc: str
    fields: tuple[Field, ...]
    tail: str = ""
    tail_doc: str = ""


# A table, laid out by hand:
# fmt: off
_F = Field
_LINK_NAME = _F("link", "I", "name", "Link and direction, such as h1-r1/h1->r1.")
_FRAME_NUMBER = _F("frame", "Q", "int", "Ordinal of the frame in this direction, from 1.")
KINDS: Final[tuple[Kind, ...]] = (
    Kind(CONNECTION, "connection", LEVEL_STATES, "A connection was made; it is named by node and number.", (
        _F("origin", "B", "ORIGINS", "Whether it was opened actively or passively."),
        _F("local_address", "I", "name", "Our address in text."),
        _F("local_port", "H", "int", "Our port."),
        _F("remote_address", "I", "name", "The peer's address in text."),
        _F("remote_port", "H", "int", "The peer's port."))),
    Kind(STATE, "state", LEVEL_STATES, "The connection changed state.", (
        _F("old", "B", "state", "State it left."),
        _F("new", "B", "state", "State it is in now."))),
    Kind(SEGMENT, "segment", LEVEL_SEGMENTS, "A segment left or reached a node; the cause says why it was sent.", (
        _F("direction", "B", "DIRECTIONS", "Sent or received."),
        _F("interface", "I", "name", "Where, such as h1:eth0."),
        _F("frame", "Q", "int", "Ordinal of its frame among those this interface sent (or received), from 1."),
        _F("src_address", "I", "name", "Source address in text."),
        _F("src_port", "H", "int", "Source port."),
        _F("dst_address", "I", "name", "Destination address in text."),
        _F("dst_port", "H", "int", "Destination port."),
        _F("seq", "I", "int", "Sequence number, as on the wire."),
        _F("ack", "I", "int", "Acknowledgment number, as on the wire."),
        _F("flags", "H", "int", "Flag bits: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128, AE 256."),
        _F("window", "H", "int", "Window field, not scaled."),
        _F("length", "I", "int", "Payload, bytes."),
        _F("mss", "q", "int", "MSS option, bytes; absent without it."),
        _F("window_scale", "q", "int", "Window scale option (shift); absent without it."),
        _F("tsval", "q", "int", "TSval of the timestamps option; absent without it."),
        _F("tsecr", "q", "int", "TSecr of the timestamps option; absent without it."),
        _F("sack_permitted", "B", "bool", "SACK-permitted option."),
        _F("resent", "B", "bool", "It carries sequence numbers that were sent before."))),
    Kind(SACK, "sack", LEVEL_SEGMENTS, "One block of the SACK option of the segment recorded just before.", (
        _F("direction", "B", "DIRECTIONS", "Sent or received."),
        _F("index", "B", "int", "Place in the option, from 0."),
        _F("left", "I", "int", "First sequence number of the block."),
        _F("right", "I", "int", "Sequence number just after the block."))),
    Kind(RETRANSMIT, "retransmit", LEVEL_CONGESTION, "Something is sent again; the cause says why.", (
        _F("seq", "I", "int", "First sequence number."),
        _F("length", "I", "int", "Sequence numbers it covers, SYN and FIN included."),
        _F("count", "I", "int", "How many times it was sent again, this time included."))),
    Kind(RTT, "rtt", LEVEL_CONGESTION, "A round-trip time was measured (RFC 6298 section 2).", (
        _F("sample_ns", "q", "int", "The sample, ns."),
        _F("srtt_ns", "q", "int", "Smoothed round-trip time, ns."),
        _F("rttvar_ns", "q", "int", "Its variation, ns."),
        _F("rto_ns", "q", "int", "Retransmission timeout, ns."))),
    Kind(CWND, "cwnd", LEVEL_CONGESTION, "The congestion window or threshold changed; the cause says why.", (
        _F("cwnd", "q", "int", "Congestion window, bytes."),
        _F("ssthresh", "q", "int", "Slow-start threshold, bytes."),
        _F("flight", "q", "int", "Bytes sent and not acknowledged."),
        _F("pacing_rate", "q", "int", "Pacing, bytes per second; absent without pacing."),
        _F("mss", "I", "int", "Payload of a full segment, bytes."))),
    Kind(RECOVERY, "recovery", LEVEL_CONGESTION, "Loss recovery was entered or left; the cause says why.", (
        _F("entered", "B", "bool", "Entered, else left."),
        _F("algorithm", "B", "ALGORITHMS", "Which recovery."),
        _F("recover", "I", "int", "Sequence number whose acknowledgment ends it."))),
    Kind(TIMER, "timer", LEVEL_CONGESTION, "A timer was set, fired or was cancelled (set, cancelled: level all).", (
        _F("timer", "B", "TIMERS", "Which timer."),
        _F("action", "B", "TIMER_ACTIONS", "What happened to it."),
        _F("deadline_ns", "q", "int", "Instant it was or is set for, ns of lab time."),
        _F("backoff", "I", "int", "How often its interval is doubled."))),
    Kind(WINDOW, "window", LEVEL_CONGESTION, "A window closed or opened again (every change: level all).", (
        _F("side", "B", "WINDOW_SIDES", "Whose: the one we may send into, or the one we offer."),
        _F("window", "q", "int", "Its size, bytes."),
        _F("edge", "I", "int", "Sequence number of its right edge."))),
    Kind(CHALLENGE_ACK, "challenge_ack", LEVEL_STATES, "A challenge ACK (RFC 5961) was due; the cause says why.", (
        _F("seq", "I", "int", "Sequence number of the segment that asked for it."),
        _F("suppressed", "B", "bool", "It was not sent: the limit was reached."))),
    Kind(RESET, "reset", LEVEL_STATES, "An RST was sent or received; the cause says why, or why it was ignored.", (
        _F("direction", "B", "DIRECTIONS", "Sent or received."),
        _F("accepted", "B", "bool", "Received: it ended the connection. Sent: always true."),
        _F("seq", "I", "int", "Its sequence number."))),
    Kind(DISCARD, "discard", LEVEL_CONGESTION, "A segment was not processed further; the cause says why.", (
        _F("seq", "I", "int", "Its sequence number."),
        _F("length", "I", "int", "Its payload, bytes."),
        _F("flags", "H", "int", "Its flag bits."))),
    Kind(ILLEGAL, "illegal", LEVEL_STATES, "A user call that RFC 9293 does not allow in this state.", (
        _F("state", "B", "state", "State the connection is in."),
        _F("call", "B", "CALLS", "The call."))),
    Kind(CALL, "call", LEVEL_STATES, "A user call was made (SEND and RECEIVE: level segments).", (
        _F("call", "B", "CALLS", "The call."),
        _F("bytes", "q", "int", "Bytes it took or gave; absent where it has none."))),
    Kind(LISTENER, "listener", LEVEL_STATES, "The queues of a listener changed, or one overflowed (cause).", (
        _F("local_address", "I", "name", "Its address in text; empty: any."),
        _F("local_port", "H", "int", "Its port."),
        _F("syn_queue", "I", "int", "Connections in SYN-RECEIVED."),
        _F("accept_queue", "I", "int", "Established connections not yet accepted."),
        _F("backlog", "I", "int", "Longest accept queue."))),
    Kind(ERROR, "error", LEVEL_STATES, "The connection failed; its user will see this error.", (
        _F("errno_name", "I", "name", "POSIX name, such as ETIMEDOUT."),)),
    Kind(MUTANT, "mutant", LEVEL_STATES, "The TCP of this connection is wrong on purpose.", (
        _F("mutant", "I", "name", "In what, such as two-way-handshake."),)),
    Kind(CONTROL, "control", LEVEL_STATES, "The user's congestion control has failed, and its connection with it.", (
        _F("control", "I", "name", "Its name."),
        _F("why", "I", "name", "What it did, such as mine.py:12: ZeroDivisionError: division by zero."))),
    Kind(ECN, "ecn", LEVEL_CONGESTION, "AccECN (RFC 9768): the peer tells of marks, or something is done about ECN.", (
        _F("delivered_ce", "q", "int", "Packets of ours that the peer told to have come marked."),
        _F("received_ce", "q", "int", "Packets of the peer's that came marked."),
        _F("sends_ect", "B", "bool", "What is sent says that it may be marked."),
        _F("sends_option", "B", "bool", "AccECN options are sent."))),
    Kind(URGENT, "urgent", LEVEL_CONGESTION, "Urgent data was sent, or the peer tells of some (RFC 6093).", (
        _F("direction", "B", "DIRECTIONS", "Sent or received."),
        _F("seq", "I", "int", "Sequence number of the urgent byte."))),
    Kind(FRAME, "frame", LEVEL_OFF, "A frame entered a link (with capture).", (_LINK_NAME, _FRAME_NUMBER),
         "data", "The frame, from its Ethernet header on."),
    Kind(VERDICT, "verdict", LEVEL_CONGESTION, "What a link did to a frame (PASSED: level segments).", (
        _LINK_NAME, _FRAME_NUMBER,
        _F("verdict", "B", "VERDICTS", "What was done."),
        _F("rule", "I", "name", "The packet rule that did it; empty: chance, queue or state of the link."),
        _F("delay_ns", "q", "int", "From entry to release, ns."))),
    Kind(DELIVERY, "delivery", LEVEL_OFF, "A frame left a link at its far end (with capture).", (
        _LINK_NAME, _FRAME_NUMBER,
        _F("copy", "I", "int", "0 for the original, 1 ... for duplicates."),
        _F("altered", "B", "bool", "It differs from what entered; then the frame is repeated here.")),
        "data", "The frame as it arrived; empty unless altered."),
    Kind(QUEUE, "queue", LEVEL_SEGMENTS, "Occupancy of the queue of a link direction after a change.", (
        _LINK_NAME,
        _F("packets", "I", "int", "Packets that wait."),
        _F("bytes", "q", "int", "Their bytes."))),
    Kind(LINK, "link", LEVEL_STATES, "A link direction has these parameters from now on.", (
        _LINK_NAME, _F("up", "B", "bool", "Whether it is up.")),
        "parameters", "Its impairments in tc's words."),
    Kind(ATTACK, "attack", LEVEL_STATES, "An attack did something.", (
        _F("attack", "I", "name", "Its name."),
        _F("action", "B", "ATTACK_ACTIONS", "What it did."),
        _F("packets", "q", "int", "Packets it has injected so far.")),
        "note", "More, in words."),
    Kind(APP, "app", LEVEL_STATES, "An application reports something.", (
        _F("app", "I", "name", "Its name."),
        _F("what", "I", "name", "What it reports, in its own words."),
        _F("value", "q", "int", "The number that goes with it."))),
    Kind(ACTION, "action", LEVEL_STATES, "A call changed something in the lab.", (),
         "text", "The call, as canonical JSON."),
    Kind(COUNTER, "counter", LEVEL_STATES, "A counter of a node at the end of the run.", (
        _F("counter", "I", "name", "Its nstat name."),
        _F("value", "q", "int", "Its value."))),
    Kind(NAME, "name", LEVEL_OFF, "Bookkeeping of the spool: the number that stands for a text.", (
        _F("id", "I", "int", "The number."),),
        "text", "The text."),
)
# fmt: on
KIND_BY_NUMBER: Final[dict[int, Kind]] = {kind.number: kind for kind in KINDS}
