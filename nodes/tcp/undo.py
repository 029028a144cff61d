"""Finding out that nothing was lost, and taking back what was done about it: Eifel by timestamps (RFC 3522, 4015),
D-SACK (RFC 3708), F-RTO (RFC 5682)."""

from __future__ import annotations

from typing import Final

from nodes.base import causes
from nodes.base.clock import MILLISECOND
from nodes.base.events import FAST_RECOVERY, RTO_RECOVERY
from nodes.tcp import congestion_control, newcwv
from nodes.tcp.recovery_state import Undo
from nodes.tcp.seq import HALF, MASK, unwrap
from nodes.tcp.tcb import Tcb

#: After a timeout (RFC 5682 section 3.1): nothing is known; new data was sent instead of old; it was a loss.
FRTO_FIRST: Final = 1
FRTO_SECOND: Final = 2
FRTO_NONE: Final = 0


def remember(c: Tcb, now: int) -> None:
    """A recovery begins."""
    stamp = (now // MILLISECOND + c.ts_offset) & MASK
    c.undo = Undo(c.congestion.cwnd, c.congestion.ssthresh, c.snd_una, stamp)


def on_ack(
    c: Tcb, now: int, progress: bool, tsecr: int, twice: int, blocks: tuple[tuple[int, int], ...], once: bool
) -> bool:
    """Whether this ACK shows that the recovery was for nothing; then everything is as if it had not been. `twice`: how
    many segments the D-SACK at the head of `blocks` tells of; one that comes when the recovery is over, as most do,
    gives back the windows."""
    known = c.undo
    if known is None:
        return False
    if not (c.in_recovery or c.rto_recovery):
        if twice and _all_for_nothing(c, known, twice, blocks[0][1]):
            _restore(c, now, known)
            c.tcp.counters.TcpExtTCPDSACKUndo += 1
        return False
    if c.rto_recovery and c.frto:
        if once:
            c.tcp.counters.TcpExtTCPSpuriousRTOs += 1
            return _undo(c, now, known, False)
        if c.frto == FRTO_SECOND or not progress or not c.snd_queue.length or c.snd_wnd <= c.snd_nxt - c.snd_una:
            c.frto = FRTO_NONE
        elif c.snd_una < c.recover:
            # New data asks whether the old is really lost (section 2.1, step 2b).
            c.frto = FRTO_SECOND
            c.congestion.cwnd = c.board.flying + 2 * c.mss
    if progress and c.timestamps and tsecr >= 0 and known.resent and (tsecr - known.stamp) & MASK >= HALF:
        return _undo(c, now, known, False)
    if twice and _all_for_nothing(c, known, twice, blocks[0][1]):
        return _undo(c, now, known, True)
    return False


def _all_for_nothing(c: Tcb, known: Undo, twice: int, right: int) -> bool:
    """Whether now each retransmission is known to have been superfluous: `twice` more, which end at `right`, are."""
    if not known.resent or unwrap(right, c.snd_una) <= known.marker:
        return False
    known.resent = max(known.resent - twice, 0)
    return known.resent == 0


def _undo(c: Tcb, now: int, known: Undo, by_dsack: bool) -> bool:
    tcp = c.tcp
    counters = tcp.counters
    if c.rto_recovery:
        counters.TcpExtTCPLossUndo += 1
    elif c.snd_una >= c.recover:
        counters.TcpExtTCPFullUndo += 1
    elif by_dsack:
        counters.TcpExtTCPDSACKUndo += 1
    else:
        counters.TcpExtTCPPartialUndo += 1
    algorithm = RTO_RECOVERY if c.rto_recovery else FAST_RECOVERY
    c.in_recovery = c.rto_recovery = False
    c.frto = FRTO_NONE
    c.board.find_all()
    tcp.sink.recovery(now, tcp.node, c.number, causes.UNDO, False, algorithm, c.recover & MASK)
    _restore(c, now, known)
    return True


def _restore(c: Tcb, now: int, known: Undo) -> None:
    c.undo = None
    c.congestion.on_undo(now, known.cwnd, known.ssthresh)
    if c.validation is not None:
        newcwv.on_timeout(c, now, c.validation)
    congestion_control.record(c, now, causes.UNDO)
