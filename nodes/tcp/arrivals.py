"""SEGMENT ARRIVES, in the order of RFC 9293 section 3.10.7: one function per step.

3.10.7.1 (CLOSED) and 3.10.7.2 (LISTEN) are in endpoints.py and listener.py, where a connection is missing or made.
Here are SYN-SENT (3.10.7.3) and the other states (3.10.7.4), with the checks of RFC 5961 and RFC 7323 in their places.
"""

from __future__ import annotations

from typing import Final

from nodes.base import causes
from nodes.base.clock import HOUR
from nodes.base.events import RECEIVED
from nodes.packet.tcp import ABSENT, ACK, FIN, RST, SYN, URG, Segment
from nodes.tcp import (
    accecn,
    accecn_handshake,
    acking,
    acks,
    closing,
    ecn,
    fastopen,
    handshake,
    receiver,
    segments,
    sender,
    states,
    urgent,
)
from nodes.tcp.challenge import challenge, may_answer_invalid
from nodes.tcp.seq import HALF, MASK, unwrap
from nodes.tcp.tcb import ACTIVE, Tcb, change_state

#: A connection idle for longer cannot trust TS.Recent any more (RFC 7323 section 5.5).
PAWS_IDLE: Final = 24 * 24 * HOUR


def arrive(c: Tcb, now: int, segment: Segment) -> None:
    """Process one segment whose checksum is right, then send what it made possible or necessary."""
    c.segs_in += 1
    if segment.payload:
        c.data_segs_in += 1
    elif not segment.flags & (SYN | FIN | RST):
        c.tcp.counters.TcpExtTCPPureAcks += 1
    if c.state == states.SYN_SENT:
        c.last_received = now
        syn_sent(c, now, segment)
    else:
        otherwise(c, now, segment)
    if c.state == states.CLOSED:
        return
    if c.snd_queue.length or c.board.lost or (c.fin_queued and not c.fin_sent):
        sender.output(c, now, False)
    if c.ack_cause:
        segments.send_ack(c, now, c.ack_cause)


def discard(c: Tcb, now: int, segment: Segment, cause: int) -> None:
    """Record that the segment is dropped."""
    tcp = c.tcp
    tcp.sink.discard(now, tcp.node, c.number, cause, segment.seq, len(segment.payload), segment.flags)


# 3.10.7.3. SYN-SENT STATE


def syn_sent(c: Tcb, now: int, segment: Segment) -> None:
    flags = segment.flags
    acceptable = False
    if flags & ACK:
        # First: check the ACK bit.
        ack = unwrap(segment.ack, c.snd_una)
        if ack <= c.iss or ack > c.snd_nxt:
            discard(c, now, segment, causes.ACK_OF_NOTHING_SENT)
            if not flags & RST:
                segments.answer_with_reset(c, now, segment, causes.ACK_OF_NOTHING_SENT)
            return
        if c.timestamps and segment.tsecr > 0 and not flags & RST and not handshake.echo_of_syn(c, now, segment.tsecr):
            discard(c, now, segment, causes.ACK_OF_NOTHING_SENT)
            c.tcp.counters.TcpExtPAWSActive += 1
            segments.answer_with_reset(c, now, segment, causes.ACK_OF_NOTHING_SENT)
            return
        acceptable = True
    if flags & RST:
        # Second: check the RST bit.
        tcp = c.tcp
        if acceptable:
            tcp.sink.reset(now, tcp.node, c.number, causes.RST_RECEIVED, RECEIVED, True, segment.seq)
            closing.fail(c, now, causes.RST_RECEIVED, "ECONNREFUSED", causes.ERROR_REFUSED)
        else:
            tcp.sink.reset(now, tcp.node, c.number, causes.RST_WITHOUT_ACK_OF_SYN, RECEIVED, False, segment.seq)
        return
    # Third: security (none). Fourth: check the SYN bit. Fifth: without SYN, drop.
    if not flags & SYN:
        discard(c, now, segment, causes.NO_SYN)
        return
    handshake.take_syn(c, now, segment)
    if acceptable:
        handshake.syn_acknowledged(c, now, unwrap(segment.seq, c.irs), unwrap(segment.ack, c.snd_una), segment)
        change_state(c, now, states.ESTABLISHED, causes.SYN_ACK_RECEIVED)
        handshake.established(c, now)
        if c.accurate is not None:
            accecn_handshake.answer_syn_ack(c, now)
        elif not acking.delay_handshake(c, now):
            c.ack_cause = causes.HANDSHAKE
        if c.fast is not None:
            fastopen.on_syn_ack(c, now, segment)
        _text_and_fin(c, now, c.irs + 1, segment)
        return
    handshake.set_first_window(c, now, unwrap(segment.seq, c.irs), segment)
    change_state(c, now, states.SYN_RECEIVED, causes.SIMULTANEOUS_SYN)
    if c.fast is not None and c.fast.deferred:
        # Our SYN has waited for data (Fast Open); the peer's has come first.
        c.fast = None
        handshake.send_syn(c, now, SYN | ACK)
        return
    # <SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK>: our SYN again, now with an ACK.
    c.board.first.flags = SYN | ACK
    c.board.first.count += 1
    segments.transmit_syn(c, now, SYN | ACK, causes.HANDSHAKE, True)


# 3.10.7.4. OTHER STATES


def otherwise(c: Tcb, now: int, segment: Segment) -> None:
    """The eight steps. What one of them refuses goes no further."""
    distance = (segment.seq - c.rcv_nxt) & MASK
    seq = c.rcv_nxt + distance if distance < HALF else c.rcv_nxt + distance - 0x1_0000_0000
    flags = segment.flags
    if not first_sequence(c, now, seq, segment):
        return
    if flags & RST:
        second_rst(c, now, seq, segment)
        return
    # Third: security and compartment (none).
    if flags & SYN:
        fourth_syn(c, now, segment)
        return
    # Only what stands in the window is a sign of life: nobody off the path keeps a dead connection (RFC 9293 3.8.4).
    c.last_received = now
    if c.keepalive_probes:
        c.keepalive_probes = 0
    if not fifth_ack(c, now, seq, segment):
        return
    if c.accurate is not None:
        accecn.on_segment(c, segment)
    elif c.ecn:
        ecn.on_segment(c, now, segment)
    # Sixth: the urgent pointer.
    if flags & URG or c.urgent is not None:
        urgent.on_segment(c, now, seq, segment)
    if flags & FIN or segment.payload:
        _text_and_fin(c, now, seq, segment)


def _text_and_fin(c: Tcb, now: int, seq: int, segment: Segment) -> None:
    if segment.payload and not seventh_text(c, now, seq, segment):
        return
    if segment.flags & FIN or c.fin_at >= 0:
        eighth_fin(c, now, seq + len(segment.payload), segment)


def first_sequence(c: Tcb, now: int, seq: int, segment: Segment) -> bool:
    """First: PAWS (RFC 7323 section 5.3, R1), then whether the segment is in the window; TS.Recent (R3)."""
    flags = segment.flags
    tsval = segment.tsval
    nxt = c.rcv_nxt
    if c.timestamps and not flags & RST:
        if tsval == ABSENT:
            if c.tcp.parameters.profile == "rfc" and c.synchronized:
                # RFC 7323 section 3.2; Linux takes it.
                discard(c, now, segment, causes.TIMESTAMP_MISSING)
                return False
        elif tsval != c.ts_recent and (tsval - c.ts_recent) & MASK >= HALF and now - c.ts_recent_at < PAWS_IDLE:
            if not flags & SYN:
                c.tcp.counters.TcpExtPAWSEstab += 1
            _refuse(c, now, seq, segment, causes.PAWS_REJECTED)
            return False
    size = len(segment.payload)
    if flags & (SYN | FIN):
        size += 1 if flags & (SYN | FIN) != SYN | FIN else 2
    window = c.rcv_adv - nxt
    if window > 0:
        if size == 0:
            # Linux also takes what stands exactly at the right edge: the ACKs of a peer that has filled our window.
            limit = window + 1 if c.tcp.parameters.profile == "linux" and not flags & RST else window
            acceptable = 0 <= seq - nxt < limit
        else:
            acceptable = 0 <= seq - nxt < window or 0 <= seq + size - 1 - nxt < window
    else:
        # A zero window takes no data, but "special allowance" is made for a valid ACK that comes with some.
        acceptable = seq == nxt
    if not acceptable:
        if flags & RST:
            tcp = c.tcp
            tcp.sink.reset(now, tcp.node, c.number, causes.RST_OUT_OF_WINDOW, RECEIVED, False, segment.seq)
            return False
        cause = causes.DUPLICATE_DATA if size and seq + size <= nxt else causes.OUT_OF_WINDOW
        _refuse(c, now, seq, segment, cause)
        return False
    return True


def _take_timestamp(c: Tcb, now: int, seq: int, segment: Segment) -> None:
    """TS.Recent (RFC 7323 section 4.3), from a segment whose ACK is good too, as Linux wants it."""
    if c.timestamps and segment.tsval != ABSENT and seq <= c.last_ack_sent:
        c.ts_recent = segment.tsval
        c.ts_recent_at = now


def _refuse(c: Tcb, now: int, seq: int, segment: Segment, cause: int) -> None:
    """Answer an unacceptable segment with `<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>` and drop it."""
    discard(c, now, segment, cause)
    flags = segment.flags
    size = len(segment.payload)
    if size and seq < c.rcv_nxt:
        # Perhaps an original that was late, and refused by PAWS because what was sent again has come before it.
        receiver.came_twice(c, seq, min(seq + size, c.rcv_nxt))
        c.tcp.counters.TcpExtDelayedACKLost += 1
        acking.enter_quick_ack(c)
    if c.state == states.TIME_WAIT and flags & FIN:
        # "The only thing that can arrive in this state is a retransmission of the remote FIN": restart 2MSL.
        closing.restart_time_wait(c, now)
    if c.state == states.SYN_RECEIVED and segments.is_syn(flags) and seq == c.irs:
        if accecn_handshake.syn_came_again(c, segment):
            closing.reset(c, now, causes.ECN_MIXED)
            return
    elif c.accurate is not None and flags & SYN and seq == c.irs:
        accecn_handshake.syn_ack_came_again(c, segment)
    linux = c.tcp.parameters.profile == "linux"
    if linux and c.state == states.SYN_RECEIVED and segments.is_syn(flags) and seq == c.irs:
        # The SYN-ACK was lost: Linux sends it again. A SYN-ACK is never answered so, or two would never end.
        handshake.resend_syn_ack(c, now)
        return
    if c.state == states.SYN_RECEIVED and c.origin == ACTIVE and flags & (SYN | ACK) == SYN | ACK and seq == c.irs:
        # Simultaneous open (RFC 9293 figure 8): the peer's SYN-ACK, whose SYN we have, brings the ACK we wait for.
        if fifth_ack(c, now, seq, segment):
            c.ready = True
            if linux:
                # Its SYN has come before, and Linux says so.
                receiver.came_twice(c, c.irs, c.irs + 1)
                c.ack_cause = causes.DUPLICATE_DATA
        return
    if flags & SYN:
        _challenge_syn(c, now, segment)
        if c.accurate is not None:
            c.accurate.reflect = False
    elif segment.payload or flags & FIN or may_answer_invalid(c, now, cause):
        segments.send_ack(c, now, cause)


def second_rst(c: Tcb, now: int, seq: int, segment: Segment) -> None:
    """Second: RST. Only one exactly at RCV.NXT resets; elsewhere in the window: challenge (RFC 5961 section 3.2)."""
    tcp = c.tcp
    state = c.state
    if seq != c.rcv_nxt:
        tcp.sink.reset(now, tcp.node, c.number, causes.RST_NOT_EXACT, RECEIVED, False, segment.seq)
        challenge(c, now, causes.RST_NOT_EXACT, segment.seq)
        return
    if state == states.TIME_WAIT and tcp.parameters.tcp_rfc1337:
        tcp.sink.reset(now, tcp.node, c.number, causes.RST_IN_TIME_WAIT, RECEIVED, False, segment.seq)
        return
    tcp.sink.reset(now, tcp.node, c.number, causes.RST_RECEIVED, RECEIVED, True, segment.seq)
    if c.listener is not None:
        tcp.counters.TcpExtEmbryonicRsts += 1
    if state == states.SYN_RECEIVED and c.origin == ACTIVE:
        closing.fail(c, now, causes.RST_RECEIVED, "ECONNREFUSED", causes.ERROR_REFUSED)
    elif state == states.ESTABLISHED or state == states.FIN_WAIT_1 or state == states.FIN_WAIT_2 or c.early:
        closing.fail(c, now, causes.RST_RECEIVED, "ECONNRESET", causes.ERROR_RESET)
    elif state == states.CLOSE_WAIT:
        # Linux tells EPIPE where the peer had already said FIN.
        closing.fail(c, now, causes.RST_RECEIVED, "EPIPE", causes.ERROR_RESET)
    else:
        change_state(c, now, states.CLOSED, causes.RST_RECEIVED)


def fourth_syn(c: Tcb, now: int, segment: Segment) -> None:
    """Fourth: SYN. A passive SYN-RECEIVED goes back to its listener; the others challenge (RFC 5961 section 4.2)."""
    if c.listener is not None and c.state == states.SYN_RECEIVED:
        discard(c, now, segment, causes.SYN_IN_WINDOW)
        change_state(c, now, states.CLOSED, causes.SYN_IN_WINDOW)
        return
    discard(c, now, segment, causes.SYN_IN_WINDOW)
    _challenge_syn(c, now, segment)


def _challenge_syn(c: Tcb, now: int, segment: Segment) -> None:
    """RFC 5961 section 4.2: any SYN, wherever it stands."""
    counters = c.tcp.counters
    counters.TcpExtTCPSYNChallenge += 1
    if c.state == states.ESTABLISHED:
        counters.TcpInErrs += 1  # Linux says so in this state alone
    challenge(c, now, causes.SYN_IN_WINDOW, segment.seq)


def fifth_ack(c: Tcb, now: int, seq: int, segment: Segment) -> bool:
    """Fifth: ACK. True if text and FIN are to be looked at."""
    if not segment.flags & ACK:
        discard(c, now, segment, causes.NO_ACK)
        return False
    una = c.snd_una
    distance = (segment.ack - una) & MASK
    ack = una + distance if distance < HALF else una + distance - 0x1_0000_0000
    if not c.synchronized:
        if not una < ack <= c.snd_nxt:
            discard(c, now, segment, causes.ACK_OF_NOTHING_SENT)
            segments.answer_with_reset(c, now, segment, causes.ACK_OF_NOTHING_SENT)
            return False
        if c.listener is not None and (c.listener.defers(c, segment) or not c.listener.admit(c, now)):
            return False
        _take_timestamp(c, now, seq, segment)
        handshake.syn_acknowledged(c, now, seq, ack, segment)
        if c.state == states.SYN_RECEIVED:
            change_state(c, now, states.ESTABLISHED, causes.ACK_OF_SYN)
        handshake.established(c, now)
        if c.early and segment.sack:
            acks.process(c, now, seq, ack, segment)
    elif ack > c.snd_nxt or ack < una - c.max_snd_wnd:
        # RFC 5961 section 5.2.
        cause = causes.ACK_OF_NOTHING_SENT if ack > una else causes.ACK_TOO_OLD
        discard(c, now, segment, cause)
        challenge(c, now, cause, segment.seq)
        return False
    else:
        _take_timestamp(c, now, seq, segment)
        acks.process(c, now, seq, ack, segment)
    if c.fin_sent and c.snd_una > c.fin_seq:
        return _fin_acknowledged(c, now)
    return True


def _fin_acknowledged(c: Tcb, now: int) -> bool:
    state = c.state
    if state == states.FIN_WAIT_1:
        change_state(c, now, states.FIN_WAIT_2, causes.ACK_OF_FIN)
        closing.start_fin_wait_2(c, now)
    elif state == states.CLOSING:
        closing.enter_time_wait(c, now, causes.ACK_OF_FIN)
    elif state == states.LAST_ACK:
        change_state(c, now, states.CLOSED, causes.ACK_OF_FIN)
        return False
    return True


def seventh_text(c: Tcb, now: int, seq: int, segment: Segment) -> bool:
    """Seventh: segment text. False if the connection ended because nobody is left to read it."""
    state = c.state
    if state == states.ESTABLISHED or state == states.FIN_WAIT_1 or state == states.FIN_WAIT_2:
        payload = segment.payload
        if c.user_closed and seq + len(payload) > c.rcv_nxt:
            if state == states.FIN_WAIT_1 or c.acked_at == now:
                # Once it was in FIN-WAIT-2 Linux has no more than a TIME-WAIT entry left, which counts nothing.
                c.tcp.counters.TcpExtTCPAbortOnData += 1
            segments.answer_with_reset(c, now, segment, causes.DATA_AFTER_CLOSE)
            change_state(c, now, states.CLOSED, causes.DATA_AFTER_CLOSE)
            return False
        receiver.accept_text(c, now, seq, segment)
    return True


def eighth_fin(c: Tcb, now: int, end: int, segment: Segment) -> None:
    """Eighth: FIN, when all before it has arrived. `end` is where the segment's text ends."""
    state = c.state
    if c.fin_received:
        if state == states.TIME_WAIT:
            closing.restart_time_wait(c, now)
        c.ack_cause = causes.ACK_NOW
        return
    # A FIN that has data behind it, or another before it, was none.
    if segment.flags & FIN and c.rcv_nxt <= end <= c.rcv_adv and (c.fin_at < c.rcv_nxt or end < c.fin_at):
        c.fin_at = end
    if c.fin_at != c.rcv_nxt:
        if segment.flags & FIN and not c.ack_cause:
            c.ack_cause = causes.ACK_OUT_OF_ORDER
        return
    c.fin_received = True
    c.rcv_nxt += 1
    if c.rcv_adv < c.rcv_nxt:
        c.rcv_adv = c.rcv_nxt
    c.ack_cause = causes.ACK_NOW
    c.ready = True
    if state == states.ESTABLISHED:
        change_state(c, now, states.CLOSE_WAIT, causes.FIN_RECEIVED)
    elif state == states.FIN_WAIT_1:
        # Had our FIN been acknowledged, the fifth step would have moved us to FIN-WAIT-2.
        change_state(c, now, states.CLOSING, causes.FIN_RECEIVED)
    elif state == states.FIN_WAIT_2:
        closing.enter_time_wait(c, now, causes.FIN_RECEIVED)
