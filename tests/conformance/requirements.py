"""What the RFCs ask, in our words. Numbers of RFC 9293 are its own (Appendix B), of RFC 6298 too; elsewhere a
requirement is called by its section, and by its place there where a section has several."""

from __future__ import annotations

from typing import Final, NamedTuple


class Requirement(NamedTuple):
    """`number` is what tests name. `not_done`: why it is deliberately not done, or only in one profile or not by us."""

    number: str
    level: str
    section: str
    words: str
    not_done: str = ""


_LEVELS: Final = {"MUST": "MUST", "SHLD": "SHOULD", "REC": "SHOULD"}
_URGENT: Final = "urgent data stays in the stream, where RFC 6093 wants it, and nobody is told; new programs use none"
_SOURCE_ROUTES: Final = "source routes are not supported; RFC 7126 wants packets that carry one dropped"


def _r(number: str, section: str, words: str, not_done: str = "") -> Requirement:
    """One of RFC 9293: its number says its level."""
    return Requirement(number, _LEVELS[number.partition("-")[0]], section, words, not_done)


def _m(number: str, words: str, not_done: str = "") -> Requirement:
    return Requirement(number, "MUST", number.partition("-")[0], words, not_done)


def _s(number: str, words: str, not_done: str = "") -> Requirement:
    return Requirement(number, "SHOULD", number.partition("-")[0], words, not_done)


RFC_9293: Final = (
    _r("MUST-60", "3.9.1.2", "without a PUSH in SEND, data is not held back for ever"),
    _r("MUST-61", "3.9.1.2", "without a PUSH in SEND, the last segment of what is queued has PSH"),
    _r("SHLD-27", "3.9.1.2", "successive PSH bits are collapsed when data is cut into segments"),
    _r("SHLD-28", "3.8.6.2.1", "segments are of the largest size when that is possible"),
    _r("MUST-1", "3.1", "the window is an unsigned number"),
    _r("REC-1", "3.1", "windows are kept in 32 bits, not 16"),
    _r("SHLD-14", "3.8.6", "a receiver does not take back window it has offered"),
    _r("SHLD-15", "3.8.6", "nothing new is sent into a window that has shrunk"),
    _r("SHLD-16", "3.8.6", "what was sent and is in the window is sent again"),
    _r("SHLD-17", "3.8.6", "a connection does not time out because of data beyond the right edge"),
    _r("MUST-34", "3.8.6", "a sender bears a window that shrinks"),
    _r("MUST-35", "3.8.6.1", "zero windows are probed"),
    _r("MUST-36", "3.8.6.1", "a sender probes a closed window even when it has nothing in flight"),
    _r("SHLD-29", "3.8.6.1", "the first probe goes after one RTO"),
    _r("SHLD-30", "3.8.6.1", "probes become rarer exponentially"),
    _r("MUST-37", "3.8.6.1", "a window may stay closed as long as the peer answers"),
    _r("MUST-66", "3.10.7.4", "RST and URG are processed with a closed window too"),
    _r("MUST-30", "3.8.5", "the urgent mechanism is supported", _URGENT),
    _r("MUST-62", "3.1", "the urgent pointer points at the octet after the urgent data", _URGENT),
    _r("MUST-31", "3.8.5", "urgent data may have any length", _URGENT),
    _r("MUST-32", "3.8.5", "the application learns asynchronously of urgent data", _URGENT),
    _r("MUST-33", "3.8.5", "the application can ask how much urgent data is left to read", _URGENT),
    _r("SHLD-13", "3.8.5", "new applications do not use urgent data", "asks it of applications; none of ours does"),
    _r("MUST-4", "3.1", "End of Option List, No-Operation and Maximum Segment Size are supported"),
    _r("MUST-5", "3.1", "options are taken in any segment"),
    _r("MUST-6", "3.1", "unknown options are ignored"),
    _r("MUST-68", "3.1", "every option but the first two has a length"),
    _r("MUST-7", "3.1", "an impossible option length does no harm"),
    _r("MUST-64", "3.1", "options need not begin at a word"),
    _r("MUST-14", "3.7.1", "the MSS option is sent and understood"),
    _r("SHLD-5", "3.7.1", "the MSS option is in every SYN unless the MSS is the default"),
    _r("MUST-15", "3.7.1", "without an MSS option: 536 for IPv4, 1220 for IPv6"),
    _r("MUST-16", "3.7.1", "segments fit the smaller of the peer's MSS and what IP can send, less options"),
    _r(
        "SHLD-6",
        "3.7.3",
        "the MSS follows the smallest MTU of an interface whose MTU varies",
        "an interface here has one MTU; where the path has a smaller one, its discovery finds it",
    ),
    _r("MUST-65", "3.1", "the MSS option is in no segment without SYN"),
    _r("MUST-67", "3.7.1", "the MSS announced is the largest packet IP can take, less 20 and its header"),
    _r("MUST-69", "3.1", "padding is zeros"),
    _r("MUST-2", "3.1", "checksums are sent"),
    _r("MUST-3", "3.1", "checksums are checked"),
    _r("MUST-8", "3.4.1", "initial sequence numbers follow a clock"),
    _r("SHLD-1", "3.4.1", "and a function of the 4-tuple and a secret (RFC 6528)"),
    _r("MUST-9", "3.4.1", "that function cannot be computed from outside"),
    _r("MUST-10", "3.5", "simultaneous open"),
    _r("MUST-11", "3.5", "SYN-RECEIVED remembers whether it came from LISTEN or SYN-SENT"),
    _r("MUST-41", "3.9.1.1", "a passive OPEN leaves other connections alone"),
    _r("MUST-42", "3.9.1.1", "several may LISTEN on a port, of different addresses; connections may use it meanwhile"),
    _r("MUST-44", "3.9.1.1", "the source of a SYN is asked of IP"),
    _r("MUST-45", "3.9.1.1", "all segments of a connection carry its local address"),
    _r("MUST-46", "3.9.1.1", "no OPEN to a broadcast or multicast address"),
    _r("MUST-57", "3.9.2.3", "segments to a broadcast or multicast address are ignored"),
    _r("SHLD-2", "3.5.3", "a RST may carry data"),
    _r("MUST-12", "3.6", "the application learns whether the peer closed or reset"),
    _r("SHLD-3", "3.6.1", "CLOSE with unread data sends RST"),
    _r("MUST-13", "3.6.1", "TIME-WAIT lasts two MSL"),
    _r("SHLD-4", "3.6.1", "timestamps shorten TIME-WAIT (RFC 6191)"),
    _r("MUST-19", "3.8.2", "exponential back-off, slow start, congestion avoidance"),
    _r("MUST-18", "3.8.1", "Karn's algorithm"),
    _r("MUST-58", "3.8.6.3", "ACKs are combined with others and with data"),
    _r("SHLD-31", "3.10.7.4", "segments out of order are kept"),
    _r("MUST-59", "3.10.7.4", "all that waits is processed before an ACK goes"),
    _r("SHLD-18", "3.8.6.3", "ACKs are delayed"),
    _r("MUST-40", "3.8.6.3", "for less than half a second"),
    _r("SHLD-19", "3.8.6.3", "every second full-sized segment is acknowledged at once"),
    _r("MUST-39", "3.8.6.2.2", "the receiver avoids silly windows"),
    _r("MUST-49", "3.9.2", "the TTL is configurable"),
    _r("MUST-38", "3.8.6.2.1", "the sender avoids silly windows"),
    _r("SHLD-7", "3.7.4", "Nagle's algorithm"),
    _r("MUST-17", "3.7.4", "the application can switch Nagle's algorithm off"),
    _r("MUST-20", "3.8.3", "R1 time-outs make IP doubt the route, R2 end the connection"),
    _r("MUST-21", "3.8.3", "the application can set R2"),
    _r(
        "SHLD-9",
        "3.8.3",
        "the application hears of R1",
        "a socket has no call for it; STATUS (TCP_INFO's retransmits and backoff) and the trace tell",
    ),
    _r("SHLD-10", "3.8.3", "R1 is at least 3 retransmissions"),
    _r("SHLD-11", "3.8.3", "R2 is at least 100 seconds"),
    _r("MUST-22", "3.8.3", "SYNs are treated alike"),
    _r("MUST-23", "3.8.3", "for a SYN R2 is at least 3 minutes (profile rfc; linux: 6 retries, as Linux)"),
    _r("MUST-24", "3.8.4", "an application can ask for keepalives"),
    _r("MUST-25", "3.8.4", "which are off otherwise"),
    _r("MUST-26", "3.8.4", "and are sent only when nothing came for the interval"),
    _r("MUST-27", "3.8.4", "which can be configured"),
    _r("MUST-28", "3.8.4", "and is two hours otherwise"),
    _r("MUST-29", "3.8.4", "one unanswered probe is no dead peer"),
    _r("SHLD-12", "3.8.4", "keepalives carry no data"),
    _r("MUST-50", "3.9.2.1", "unknown IP options are ignored"),
    _r("MUST-51", "3.9.2.1", "an application can give a source route", _SOURCE_ROUTES),
    _r("MUST-52", "3.9.2.1", "which goes before one received", _SOURCE_ROUTES),
    _r("MUST-53", "3.9.2.1", "one received is used on the way back", _SOURCE_ROUTES),
    _r("SHLD-24", "3.9.2.1", "a later one replaces it", _SOURCE_ROUTES),
    _r("MUST-54", "3.9.2.2", "ICMP errors reach the connection they are about"),
    _r("SHLD-25", "3.9.2.2", "unreachable network, host, source route: the application can learn of it"),
    _r("MUST-56", "3.9.2.2", "which does not end a connection, nor do time exceeded and parameter problem"),
    _r("SHLD-26", "3.9.2.2", "unreachable protocol or port ends one that is opening (later ones: RFC 5927 4.3)"),
    _r("MUST-55", "3.9.2.2", "source quench is ignored"),
    _r("MUST-63", "3.9.2.3", "a SYN from an address that no host has is ignored"),
    _r("MUST-47", "3.9.1.8", "soft errors are reported"),
    _r("SHLD-20", "3.9.1.8", "and need not be heard"),
    _r(
        "MUST-48",
        "3.9.1.9",
        "an application can set the Diffserv field",
        "no queue of the lab looks at Diffserv; packets say 0, beside ECN's bits",
    ),
    _r("SHLD-21", "3.9.1.9", "also during the connection", "see MUST-48"),
    _r("SHLD-22", "3.9.1.9", "and TCP passes it on unchanged", "see MUST-48"),
    _r("SHLD-23", "3.9.1.9", "applications do not change it often", "asks it of applications; see MUST-48"),
    _r("MUST-43", "3.9.1.1", "OPEN takes a local address"),
    _r("SHLD-8", "3.8.2", "ECN (RFC 3168)"),
)

RFC_5961: Final = (
    _m("3.2-1", "a RST outside the window is dropped"),
    _m("3.2-2", "a RST exactly at RCV.NXT resets"),
    _m("3.2-3", "any other RST in the window is answered with a challenge ACK and dropped"),
    _m("4.2", "a SYN in a synchronized state is answered with a challenge ACK, wherever it stands, and dropped"),
    _m("5.2", "an ACK before SND.UNA - MAX.SND.WND or beyond SND.NXT is answered with an ACK and dropped"),
    _s("7-1", "challenge ACKs are limited"),
    _s("7-2", "and the limit can be set"),
)

RFC_6298: Final = (
    _s("2.1", "the RTO is 1 s before the first sample"),
    _m("2.2", "first sample R: SRTT = R, RTTVAR = R/2, RTO = SRTT + max(G, 4 RTTVAR)"),
    _m("2.3", "later samples: RTTVAR with beta 1/4 and the old SRTT, then SRTT with alpha 1/8"),
    _s("2.4", "the RTO is at least 1 s (profile rfc; linux: 200 ms above SRTT, as Linux)"),
    _m("2.5", "an upper limit of the RTO is at least 60 s"),
    _m("3-1", "no sample of a segment sent twice, unless timestamps tell (Karn)"),
    _m("3-2", "at least one sample per round trip"),
    _m("5.1", "sending starts the timer if it is not running"),
    _m("5.2", "the timer stops when all is acknowledged"),
    _m("5.3", "an ACK of new data starts it anew"),
    _m("5.4", "on expiry the earliest segment not acknowledged is sent again"),
    _m("5.5", "and the RTO is doubled"),
    _m("5.6", "and the timer started with it"),
    _m("5.7", "after a SYN that timed out, data begins with an RTO of at least 3 s"),
)

RFC_5681: Final = (
    _m("3", "slow start and congestion avoidance"),
    _m("3.1-1", "the initial window is 2 to 4 segments by the MSS (profile rfc; linux: 10, RFC 6928)"),
    _m("3.1-2", "and 1 if the SYN or SYN-ACK was lost"),
    _s("3.1-3", "ssthresh begins high"),
    _m("3.1-4", "slow start adds at most one MSS per ACK (profile rfc; linux: two, RFC 3465)"),
    _m("3.1-5", "congestion avoidance adds at most one MSS per round trip (Reno; CUBIC: RFC 9438)"),
    _m("3.1-6", "a loss found by timeout: ssthresh at most half of what is in flight, at least two MSS"),
    _m("3.1-7", "and cwnd is one segment"),
    _m("3.1-8", "the next timeout of the same segment leaves ssthresh alone"),
    _s("3.2-1", "a segment out of order is answered at once with a duplicate ACK"),
    _s("3.2-2", "a segment that fills a gap, wholly or in part, is answered at once"),
    _s("3.2-3", "the first two duplicate ACKs each let new data go (limited transmit)"),
    _s("3.2-4", "the third duplicate ACK sends the missing segment again"),
    _m("3.2-5", "and ssthresh is at most half of what is in flight"),
    _m("3.2-6", "further duplicate ACKs inflate cwnd by one MSS each"),
    _m("3.2-7", "the next ACK of new data sets cwnd to ssthresh"),
    _s("4.1", "after an idle RTO sending restarts with the restart window"),
    _s("4.2-1", "ACKs are delayed"),
    _m("4.2-2", "by less than 500 ms"),
    _s("4.2-3", "every second full-sized segment is acknowledged"),
    _m("4.2-4", "one segment is answered with one ACK at most"),
    _m("4.3", "several losses of one window halve cwnd once, with SACK (RFC 6675) or NewReno (RFC 6582)"),
)

RFC_7323: Final = (
    _m("2.2-1", "the window scale option counts only in a SYN"),
    _m("2.2-2", "the window of a SYN is never scaled"),
    _m("2.2-3", "a SYN-ACK has the option only if the SYN had"),
    _m("2.3", "a shift above 14 counts as 14"),
    _m("2.4", "what scaling rounds off is no reason to fail: the sender bears a window that seems to shrink"),
    _m("3.2-1", "a SYN-ACK has timestamps only if the SYN had"),
    _m("3.2-2", "once agreed on, every segment but a RST has timestamps"),
    _s("3.2-3", "and a RST too"),
    _s("3.2-4", "a segment without is dropped (profile rfc; linux takes it, as Linux)"),
    _m("3.2-5", "a RST without timestamps is taken"),
    _m("3.2-6", "TSecr is 0 in a segment without ACK"),
    _m("4.3", "the timestamp echoed is that of the earliest segment not acknowledged yet"),
    _s(
        "4.2",
        "with many samples per round trip each weighs less",
        "each counts fully, as in Linux; SRTT follows the path sooner",
    ),
    _m("5.3-1", "PAWS: an old timestamp is answered with an ACK and the segment dropped"),
    _m("5.2", "PAWS does not look at RST"),
    _m("5.5", "after 24 idle days the timestamp of the peer is forgotten"),
    _m("5.4", "the timestamp clock ticks between 1 ms and 1 s"),
    _s("7.1", "timestamps begin at a random offset of each connection"),
)

RFC_2018: Final = (
    _m("2", "SACK-Permitted is sent only in a SYN"),
    _m("4-1", "without SACK-Permitted no SACK is sent"),
    _s("4-2", "every ACK that does not acknowledge the highest number has SACK"),
    _m("4-3", "the first block holds what came last"),
    _s("4-4", "as many blocks as fit are sent"),
    _s("4-5", "the others repeat the blocks told most recently"),
    _s("5-1", "what was told to have arrived is not sent again"),
    _m("8", "until the cumulative ACK comes, the sender keeps what it has sent"),
    _s(
        "5-2",
        "a timeout forgets what SACK told",
        "what SACK told stays, as RFC 6675 section 5.1 allows, unless the receiver is seen to have reneged",
    ),
)

RFC_6675: Final = (
    _m("4", "what is lost: enough blocks or bytes beyond it have arrived"),
    _m("5-1", "recovery begins once per window, and ends when all that was sent before is acknowledged"),
    _m("5-2", "cwnd becomes half of what was in flight (PRR, RFC 6937, says how fast)"),
    _m("5-3", "what is lost is sent first, then new data, while less than cwnd is in flight"),
    _m("5.1", "a timeout ends recovery, and no other begins before what was sent is acknowledged"),
)

RFC_8985: Final = (
    _m("3.1", "RACK and the probe need SACK; without it they are off"),
    _m("6.2-1", "a sample of a segment sent twice that is too short or echoes too early is not taken"),
    _s("6.2-2", "lost is what was sent a reordering window before what arrived last"),
    _s("6.2-3", "the reordering window is a quarter of the least RTT once reordering was seen"),
    _m("6.2-4", "and never above the smoothed RTT"),
    _s("6.2-5", "before that it is none, in recovery or after three duplicate ACKs"),
    _s("6.2-6", "D-SACK makes it wider"),
    _m("6.3", "a timer finds what the reordering window made wait"),
    _s("7.2-1", "the probe timer is two smoothed RTTs, longer with one segment in flight, before the RTO"),
    _s("7.3", "the probe is new data if there is some, else the last segment"),
    _m("7.4", "a loss that the probe repaired slows down as any loss"),
    _m("7.2-2", "one probe per flight"),
)

RFC_9438: Final = (
    _s("4.2", "the window follows W(t) = C (t - K)^3 + Wmax with C = 0.4"),
    _m("4.3", "on short paths it grows as Reno would"),
    _s("4.6", "a loss multiplies by 0.7; ssthresh is at least two segments"),
    _s("4.7", "fast convergence: who lost before it was back at Wmax makes room"),
    _s("4.8", "a timeout multiplies by 0.7 too and begins with slow start"),
    _s("4.9", "a loss that was none is taken back"),
    _m("4.10", "slow start as RFC 5681 or gentler (HyStart++, RFC 9406)"),
)

RFCS: Final[dict[str, tuple[str, tuple[Requirement, ...]]]] = {
    "9293": ("Transmission Control Protocol", RFC_9293),
    "5961": ("Robustness to blind in-window attacks", RFC_5961),
    "6298": ("Retransmission timer", RFC_6298),
    "5681": ("Congestion control", RFC_5681),
    "7323": ("Window scale, timestamps, PAWS", RFC_7323),
    "2018": ("Selective acknowledgment", RFC_2018),
    "6675": ("Loss recovery by SACK", RFC_6675),
    "8985": ("RACK-TLP", RFC_8985),
    "9438": ("CUBIC", RFC_9438),
}
