"""Finding out that nothing was lost, and taking back what was done about it: Eifel by timestamps (RFC 3522, 4015),
D-SACK (RFC 3708), F-RTO (RFC 5682)."""

from __future__ import annotations

from typing import Final

from nodes.base import causes
from nodes.base.clock import MILLISECOND
from nodes.base.events import FAST_RECOVERY, RTO_RECOVERY
from nodes.tcp import congestion_trace, newcwv
from nodes.tcp.recovery_state import Undo
from nodes.tcp.seq import HALF, MASK
from nodes.tcp.tcb import Tcb

#: After a timeout (RFC 5682 section 3.1): nothing is known; new data was sent instead of old; it was a loss.
FRTO_FIRST: Final = 1
FRTO_SECOND: Final = 2
FRTO_NONE: Final = 0


def remember(c: Tcb, now: int) -> None:
    """A recovery begins."""
    stamp = (now // MILLISECOND + c.ts_offset) & MASK
    c.undo = Undo(c.congestion.cwnd, c.congestion.ssthresh, c.snd_una, stamp)


def on_ack(c: Tcb, now: int, progress: bool, tsecr: int, twice: bool, once: bool) -> bool:
    """Whether this ACK shows that the recovery was for nothing; then everything is as if it had not been."""
    known = c.undo
    if known is None or not (c.in_recovery or c.rto_recovery):
        return False
    if c.rto_recovery and c.frto:
        if once:
            return _undo(c, now)
        if c.frto == FRTO_SECOND or not progress or not c.snd_queue.length or c.snd_wnd <= c.snd_nxt - c.snd_una:
            c.frto = FRTO_NONE
        elif c.snd_una < c.recover:
            # New data asks whether the old is really lost (section 2.1, step 2b).
            c.frto = FRTO_SECOND
            c.congestion.cwnd = c.board.flying + 2 * c.mss
    if progress and c.timestamps and tsecr >= 0 and known.resent and (tsecr - known.stamp) & MASK >= HALF:
        return _undo(c, now)
    if twice and known.resent:
        known.resent -= 1
        if not known.resent:
            return _undo(c, now)
    return False


def _undo(c: Tcb, now: int) -> bool:
    known = c.undo
    assert known is not None
    tcp = c.tcp
    congestion = c.congestion
    congestion.on_undo(now, known.cwnd, known.ssthresh)
    if c.validation is not None:
        newcwv.on_timeout(c, now, c.validation)
    algorithm = RTO_RECOVERY if c.rto_recovery else FAST_RECOVERY
    c.in_recovery = c.rto_recovery = False
    c.frto = FRTO_NONE
    c.undo = None
    c.board.find_all()
    tcp.counters.TcpExtTCPFullUndo += 1
    tcp.sink.recovery(now, tcp.node, c.number, causes.UNDO, False, algorithm, c.recover & MASK)
    congestion_trace.record(c, now, causes.UNDO)
    return True
