"""Counters of one host's TCP, with the names and meanings of `nstat` (RFC 4022 and Linux's TcpExt)."""

from __future__ import annotations

from typing import Final

NAMES: Final = (
    "TcpActiveOpens",  # SYN-SENT entered from CLOSED
    "TcpPassiveOpens",  # SYN-RECEIVED entered from LISTEN
    "TcpAttemptFails",  # to CLOSED from SYN-SENT or SYN-RECEIVED
    "TcpEstabResets",  # to CLOSED from ESTABLISHED or CLOSE-WAIT
    "TcpInSegs",  # segments received, in error or not
    "TcpOutSegs",  # segments sent, without those that only retransmit
    "TcpRetransSegs",  # segments sent again
    "TcpInErrs",  # segments received in error
    "TcpOutRsts",  # segments sent with RST
    "TcpInCsumErrors",  # segments received with a wrong checksum
    "TcpExtListenOverflows",  # connections that found the accept queue full
    "TcpExtListenDrops",  # SYNs and final ACKs dropped by a listener, for whatever reason
    "TcpExtEmbryonicRsts",  # connections that a RST ended, from either side, before they were established
    "TcpExtTCPReqQFullDrop",  # SYNs dropped because the SYN queue was full
    "TcpExtTCPDeferAcceptDrop",  # ACKs of a SYN-ACK that TCP_DEFER_ACCEPT did not want without data
    "TcpExtTCPReqQFullDoCookies",  # SYNs answered with a SYN cookie because it was
    "TcpExtSyncookiesSent",  # SYN cookies sent
    "TcpExtSyncookiesRecv",  # valid SYN cookies that came back
    "TcpExtSyncookiesFailed",  # invalid ones
    "TcpExtOutOfWindowIcmps",  # ICMP errors that quote nothing in flight
    "TcpExtTCPFastOpenActive",  # SYNs whose data the peer took
    "TcpExtTCPFastOpenActiveFail",  # SYNs whose data it did not take, or not all
    "TcpExtTCPFastOpenPassive",  # connections made by a SYN with a valid cookie
    "TcpExtTCPFastOpenPassiveFail",  # SYNs with a cookie that was not valid
    "TcpExtTCPFastOpenListenOverflow",  # SYNs that found too many such connections pending (TCP_FASTOPEN)
    "TcpExtTCPFastOpenCookieReqd",  # SYNs that asked for a cookie
    "TcpExtTCPFastOpenBlackhole",  # times that Fast Open was given up because a path swallowed it
    "TcpExtTW",  # connections that went into TIME-WAIT, or waited for it in FIN-WAIT-2 with nobody to hold them
    "TcpExtTWRecycled",  # TIME-WAIT connections replaced by a new SYN
    "TcpExtDelayedACKs",  # ACKs sent by the delayed-ACK timer
    "TcpExtDelayedACKLost",  # segments that came twice, as if our ACK had been lost
    "TcpExtTCPTimeouts",  # retransmission timeouts
    "TcpExtTCPSynRetrans",  # SYNs and SYN-ACKs sent again
    "TcpExtTCPFastRetrans",  # segments sent again by fast retransmit or in fast recovery
    "TcpExtTCPSlowStartRetrans",  # segments sent again in the slow start after a timeout
    "TcpExtTCPRenoRecovery",  # fast recoveries entered, without SACK
    "TcpExtTCPSackRecovery",  # fast recoveries entered, with SACK
    "TcpExtTCPSackRecoveryFail",  # first timeouts in fast recovery, with SACK
    "TcpExtTCPRenoRecoveryFail",  # first timeouts in fast recovery, without SACK
    "TcpExtTCPSackFailures",  # first timeouts after SACK had told of something
    "TcpExtTCPRenoFailures",  # first timeouts after duplicate ACKs, without SACK
    "TcpExtTCPLossFailures",  # first timeouts in the recovery from another timeout
    "TcpExtTCPSACKReneging",  # timeouts at data that SACK had told of
    "TcpExtTCPLostRetransmit",  # segments sent again that were lost again
    "TcpExtTCPFullUndo",  # fast recoveries taken back when all was acknowledged, because nothing was lost
    "TcpExtTCPPartialUndo",  # fast recoveries taken back before all was acknowledged
    "TcpExtTCPDSACKUndo",  # fast recoveries taken back because all that was sent again came twice
    "TcpExtTCPLossUndo",  # recoveries from a timeout taken back
    "TcpExtTCPSpuriousRTOs",  # timeouts that F-RTO has shown to have been for nothing
    "TcpExtTCPDSACKOldSent",  # ACKs that told of data received twice and before that acknowledged
    "TcpExtTCPDSACKOfoSent",  # the same, of data beyond a hole
    "TcpExtTCPDSACKRecv",  # ACKs that told of data received twice and before that acknowledged
    "TcpExtTCPDSACKOfoRecv",  # the same, of data beyond a hole
    "TcpExtTCPDSACKRecvSegs",  # segments that all these told of
    "TcpExtTCPDSACKIgnoredDubious",  # of these ACKs, those that told of more than was sent again
    "TcpExtTCPSACKReorder",  # ACKs that told of reordering
    "TcpExtTCPLossProbes",  # tail loss probes sent
    "TcpExtTCPLossProbeRecovery",  # losses that a tail loss probe repaired
    "TcpExtTCPMTUPFail",  # probes of the path's MTU that were too large
    "TcpExtTCPMTUPSuccess",  # probes of the path's MTU that passed
    "TcpExtTCPDeliveredCE",  # segments that arrived marked with congestion, as ACKs tell
    "TcpExtTCPChallengeACK",  # challenge ACKs due (RFC 5961)
    "TcpExtTCPSYNChallenge",  # of these, because of a SYN
    "TcpExtTCPACKSkippedChallenge",  # challenge ACKs suppressed by the limit
    "TcpExtTCPACKSkippedSeq",  # ACKs of out-of-window segments suppressed by tcp_invalid_ratelimit
    "TcpExtTCPACKSkippedPAWS",  # the same, of segments that PAWS refused
    "TcpExtTCPACKSkippedSynRecv",  # the same, in SYN-RECEIVED
    "TcpExtTCPACKSkippedFinWait2",  # the same, in FIN-WAIT-2 that nobody holds
    "TcpExtTCPACKSkippedTimeWait",  # the same, in TIME-WAIT
    "TcpExtTCPKeepAlive",  # keepalive probes sent
    "TcpExtTCPWinProbe",  # window probes sent
    "TcpExtPAWSActive",  # SYN-ACKs refused for an echo of a timestamp that no SYN of ours had
    "TcpExtPAWSEstab",  # segments refused by PAWS
    "TcpExtTCPOFOQueue",  # segments put into the reassembly queue
    "TcpExtTCPOFODrop",  # segments that the reassembly queue had no room for
    "TcpExtTCPPureAcks",  # ACKs received without data
    "TcpExtTCPOrigDataSent",  # segments of new data, or a FIN, sent
    "TcpExtTCPDelivered",  # segments known to have reached their peer
    "TcpExtTCPToZeroWindowAdv",  # closed windows announced after an open one
    "TcpExtTCPFromZeroWindowAdv",  # open windows announced after a closed one
    "TcpExtTCPAbortOnData",  # connections reset as data came after CLOSE, by ABORT, or by CLOSE with linger time zero
    "TcpExtTCPAbortOnClose",  # connections reset because CLOSE found unread data
    "TcpExtTCPAbortOnLinger",  # connections reset instead of waiting in FIN-WAIT-2 (TCP_LINGER2 below 0)
    "TcpExtTCPAbortOnTimeout",  # connections given up because of a timer
    "TcpExtTCPAbortOnMemory",  # connections reset because too many of them had no user
    "TcpExtTCPTimeWaitOverflow",  # connections that tcp_max_tw_buckets left no TIME-WAIT
    "TcpExtTCPZeroWindowDrop",  # segments whose data found a closed window
)


class Counters:
    """One int per name of `NAMES`, from 0. Add with `counters.TcpInSegs += 1`; read all with `as_dict()`."""

    __slots__ = NAMES

    TcpActiveOpens: int
    TcpPassiveOpens: int
    TcpAttemptFails: int
    TcpEstabResets: int
    TcpRetransSegs: int
    TcpInErrs: int
    TcpOutRsts: int
    TcpInCsumErrors: int
    TcpExtListenOverflows: int
    TcpExtListenDrops: int
    TcpExtEmbryonicRsts: int
    TcpExtTCPReqQFullDrop: int
    TcpExtTCPDeferAcceptDrop: int
    TcpExtTCPReqQFullDoCookies: int
    TcpExtSyncookiesSent: int
    TcpExtSyncookiesRecv: int
    TcpExtSyncookiesFailed: int
    TcpExtTCPFastOpenActive: int
    TcpExtTCPFastOpenActiveFail: int
    TcpExtTCPFastOpenPassive: int
    TcpExtTCPFastOpenPassiveFail: int
    TcpExtTCPFastOpenListenOverflow: int
    TcpExtOutOfWindowIcmps: int
    TcpExtTCPFastOpenCookieReqd: int
    TcpExtTCPFastOpenBlackhole: int
    TcpExtTW: int
    TcpExtTWRecycled: int
    TcpExtDelayedACKs: int
    TcpExtDelayedACKLost: int
    TcpExtTCPTimeouts: int
    TcpExtTCPSynRetrans: int
    TcpExtTCPFastRetrans: int
    TcpExtTCPSlowStartRetrans: int
    TcpExtTCPRenoRecovery: int
    TcpExtTCPSackRecovery: int
    TcpExtTCPSackRecoveryFail: int
    TcpExtTCPRenoRecoveryFail: int
    TcpExtTCPSackFailures: int
    TcpExtTCPRenoFailures: int
    TcpExtTCPLossFailures: int
    TcpExtTCPSACKReneging: int
    TcpExtTCPLostRetransmit: int
    TcpExtTCPFullUndo: int
    TcpExtTCPPartialUndo: int
    TcpExtTCPDSACKUndo: int
    TcpExtTCPLossUndo: int
    TcpExtTCPSpuriousRTOs: int
    TcpExtTCPDSACKOldSent: int
    TcpExtTCPDSACKOfoSent: int
    TcpExtTCPDSACKRecv: int
    TcpExtTCPDSACKOfoRecv: int
    TcpExtTCPDSACKRecvSegs: int
    TcpExtTCPDSACKIgnoredDubious: int
    TcpExtTCPSACKReorder: int
    TcpExtTCPLossProbes: int
    TcpExtTCPLossProbeRecovery: int
    TcpExtTCPMTUPFail: int
    TcpExtTCPMTUPSuccess: int
    TcpExtTCPDeliveredCE: int
    TcpExtTCPChallengeACK: int
    TcpExtTCPSYNChallenge: int
    TcpExtTCPACKSkippedChallenge: int
    TcpExtTCPACKSkippedSeq: int
    TcpExtTCPACKSkippedPAWS: int
    TcpExtTCPACKSkippedSynRecv: int
    TcpExtTCPACKSkippedFinWait2: int
    TcpExtTCPACKSkippedTimeWait: int
    TcpExtTCPKeepAlive: int
    TcpExtTCPWinProbe: int
    TcpExtPAWSActive: int
    TcpExtPAWSEstab: int
    TcpExtTCPOFOQueue: int
    TcpExtTCPOFODrop: int
    TcpExtTCPToZeroWindowAdv: int
    TcpExtTCPFromZeroWindowAdv: int
    TcpExtTCPAbortOnData: int
    TcpExtTCPAbortOnClose: int
    TcpExtTCPAbortOnLinger: int
    TcpExtTCPAbortOnTimeout: int
    TcpExtTCPAbortOnMemory: int
    TcpExtTCPTimeWaitOverflow: int
    TcpExtTCPZeroWindowDrop: int
    # Compiled, they lie in memory in this order: what is counted for most segments is side by side with that of IP.
    TcpInSegs: int
    TcpOutSegs: int
    TcpExtTCPPureAcks: int
    TcpExtTCPOrigDataSent: int
    TcpExtTCPDelivered: int

    def __init__(self) -> None:
        for name in NAMES:
            setattr(self, name, 0)

    def as_dict(self) -> dict[str, int]:
        """Every counter by name, in the order of `NAMES`."""
        return {name: getattr(self, name) for name in NAMES}
