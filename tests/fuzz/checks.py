"""What holds whatever arrives. The rules are RFC 9293's, written down here anew and not taken from the stack."""

from __future__ import annotations

import gc
import sys
import types
from collections.abc import Iterable
from typing import Final

from nodes.base.clock import NEVER
from nodes.packet.tcp import ACK, RST, SYN, Segment
from nodes.tcp.connection import Connection
from nodes.tcp.seq import MASK
from nodes.tcp.states import CLOSED, STATE_NAMES

from .violation import Violation

#: Which states follow which: figure 5 of RFC 9293 and, for what it leaves out, 3.10 (RST, ABORT, time-outs to CLOSED;
#: a FIN in SYN-RECEIVED; the ACK of our FIN together with the peer's in FIN-WAIT-1).
FOLLOWS: Final[dict[str, tuple[str, ...]]] = {
    "CLOSED": ("LISTEN", "SYN-SENT"),
    "LISTEN": ("SYN-RECEIVED", "SYN-SENT", "CLOSED"),
    "SYN-SENT": ("ESTABLISHED", "SYN-RECEIVED", "CLOSED"),
    "SYN-RECEIVED": ("ESTABLISHED", "FIN-WAIT-1", "CLOSE-WAIT", "LISTEN", "CLOSED"),
    "ESTABLISHED": ("FIN-WAIT-1", "CLOSE-WAIT", "CLOSED"),
    "FIN-WAIT-1": ("FIN-WAIT-2", "CLOSING", "TIME-WAIT", "CLOSED"),
    "FIN-WAIT-2": ("TIME-WAIT", "CLOSED"),
    "CLOSE-WAIT": ("LAST-ACK", "CLOSED"),
    "CLOSING": ("TIME-WAIT", "CLOSED"),
    "LAST-ACK": ("CLOSED",),
    "TIME-WAIT": ("CLOSED",),
}

#: Where nothing but an answer of the peer or a timer leads out.
ENDED_BY_TIME: Final = ("SYN-SENT", "SYN-RECEIVED", "FIN-WAIT-1", "CLOSING", "LAST-ACK", "TIME-WAIT")

_LEFT_OUT: Final = (types.ModuleType, type, types.FunctionType, types.BuiltinFunctionType, types.CodeType)


def check_moves(moves: list[tuple[int, int, int]], states: dict[int, str]) -> None:
    """Each connection (0: listeners) goes only where RFC 9293 lets it, starting where it was."""
    for conn, old, new in moves:
        was, becomes = STATE_NAMES[old], STATE_NAMES[new]
        if becomes not in FOLLOWS[was]:
            raise Violation(f"connection {conn}: {was} -> {becomes}")
        if conn:
            if conn in states and states[conn] != was:
                raise Violation(f"connection {conn} was in {states[conn]}, and leaves {was}")
            states[conn] = becomes
    moves.clear()


def check_waiting(connections: Iterable[Connection]) -> None:
    """Whoever waits for the peer has a timer running, and so an end."""
    for c in connections:
        state = STATE_NAMES[c.state]
        deferred = c.fast is not None and c.fast.deferred  # the SYN waits for the user's first SEND
        if (c.outstanding or state in ENDED_BY_TIME) and not deferred and c.next_deadline() == NEVER:
            raise Violation(f"connection {c.number} waits in {state}, and no timer runs")


class Edges:
    """The windows of one connection, as they grow."""

    def __init__(self, c: Connection) -> None:
        self.c = c
        self.right_edge = -1
        #: As the peer was told.
        self.announced = -1
        #: What the peer has ever let us send; before we look the window may have shrunk over what is in flight.
        self.allowed = max(c.snd_una + c.snd_wnd, c.snd_nxt)
        self.acknowledged = c.snd_una

    def check(self, sent: list[Segment]) -> None:
        """After an event that made the connection send `sent`."""
        c = self.c
        self._check_variables()
        for segment in sent:
            if segment.flags & SYN and segment.payload and segment.src_port == c.local_port:
                # Fast Open: what the SYN carries goes before any window is known, and may go again.
                self.allowed = max(self.allowed, c.iss + 1 + len(segment.payload))
        if not c.synchronized or c.state == CLOSED:
            # What a closed one's 4-tuple sends may be another's.
            return
        for segment in sent:
            if segment.flags & (SYN | RST) or not segment.flags & ACK:
                continue
            if segment.src_port != c.local_port or segment.dst_port != c.remote_port:
                continue
            edge = (segment.ack - c.irs & MASK) + (segment.window << c.rcv_shift)
            self._announce(edge, 1 << c.rcv_shift)
            if segment.payload:
                end = (segment.seq - c.iss & MASK) + len(segment.payload)
                if end > self.allowed - c.iss + 1:
                    raise Violation(f"sent up to {end}, and the peer takes up to {self.allowed - c.iss}")

    def _announce(self, edge: int, step: int) -> None:
        # What scaling rounds off is no retraction (RFC 7323 section 2.4).
        if edge <= self.announced - step:
            raise Violation(f"the window's right edge goes from {self.announced} back to {edge}")
        self.announced = max(edge, self.announced)

    def _check_variables(self) -> None:
        c = self.c
        if not c.iss <= c.snd_una <= c.snd_nxt:
            raise Violation(f"ISS {c.iss}, SND.UNA {c.snd_una}, SND.NXT {c.snd_nxt}")
        if c.snd_una < self.acknowledged:
            raise Violation(f"SND.UNA goes from {self.acknowledged} back to {c.snd_una}")
        self.acknowledged = c.snd_una
        self.allowed = max(self.allowed, c.snd_una + c.snd_wnd)
        if c.synchronized:
            if c.rcv_adv < self.right_edge or c.rcv_nxt > c.rcv_adv:
                raise Violation(f"RCV.NXT {c.rcv_nxt}, right edge {c.rcv_adv}, and it was {self.right_edge}")
            self.right_edge = c.rcv_adv
        if c.reassembly.length > max(c.rcv_adv - c.rcv_nxt, 0):
            raise Violation(f"{c.reassembly.length} bytes wait out of order in a window of {c.rcv_adv - c.rcv_nxt}")
        if not 0 <= c.board.flying <= c.snd_nxt - c.snd_una:
            raise Violation(f"{c.board.flying} bytes on their way of {c.snd_nxt - c.snd_una} outstanding")


def memory_of(root: object) -> int:
    """Bytes of all objects that can be reached from `root`; classes, functions and modules left out."""
    seen = {id(root)}
    todo: list[object] = [root]
    total = 0
    while todo:
        found = todo.pop()
        total += sys.getsizeof(found)
        for each in gc.get_referents(found):
            if id(each) not in seen and not isinstance(each, _LEFT_OUT):
                seen.add(id(each))
                todo.append(each)
    return total
