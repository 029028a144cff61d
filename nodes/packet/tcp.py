"""The TCP segment: header, options, payload (RFC 9293 section 3.1)."""

from __future__ import annotations

from typing import Final, NamedTuple

from mypy_extensions import mypyc_attr

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10
URG: Final = 0x20
ECE: Final = 0x40
CWR: Final = 0x80
AE: Final = 0x100

#: The ECN field of an IP packet (RFC 3168 section 5): `Segment.ecn`.
NOT_ECT: Final = 0
ECT_1: Final = 1
ECT_0: Final = 2
CE: Final = 3

#: "the option is absent" for the int options below.
ABSENT: Final = -1


class FastOpenOption(NamedTuple):
    """The Fast Open option of a SYN or SYN-ACK (RFC 7413 section 4.1.1): a cookie, or b"" to ask for one.
    `experimental`: as option 254 with the number 0xF989, as it was before it had a number of its own (34)."""

    cookie: bytes
    experimental: bool


class AccEcnOption(NamedTuple):
    """The AccECN option (RFC 9768 section 3.2.3): up to three counters of 24 bits. `order` 0 (kind 172): the bytes that
    came with ECT(0), CE, ECT(1); 1 (kind 174): ECT(1), CE, ECT(0)."""

    order: int
    fields: tuple[int, ...]


@mypyc_attr(acyclic=True)
class Segment:
    """One TCP segment, parsed. Sequence numbers and timestamps are raw 32-bit values, `window` is not scaled.

    `mss`, `window_scale`, `tsval`, `tsecr` are ABSENT when the option is, `fast_open` and `accecn` None then; `sack`
    holds (left, right) pairs.
    """

    __slots__ = (
        "accecn",
        "ack",
        "dst_port",
        "ecn",
        "fast_open",
        "flags",
        "mss",
        "payload",
        "sack",
        "sack_permitted",
        "seq",
        "src_port",
        "tos",
        "tsecr",
        "tsval",
        "ttl",
        "urgent",
        "window",
        "window_scale",
    )

    def __init__(
        self, src_port: int, dst_port: int, seq: int, ack: int, flags: int, window: int, payload: bytes
    ) -> None:
        self.src_port = src_port
        self.dst_port = dst_port
        self.seq = seq
        self.ack = ack
        self.flags = flags
        self.window = window
        self.urgent = 0
        #: The ECN field of the IP packet that carries it: NOT_ECT, ECT_1, ECT_0 or CE.
        self.ecn = 0
        self.payload = payload
        self.mss = ABSENT
        self.window_scale = ABSENT
        self.sack_permitted = False
        self.sack: tuple[tuple[int, int], ...] = ()
        self.tsval = ABSENT
        self.tsecr = ABSENT
        #: TTL or hop limit of the packet it is sent in; 0: the host's.
        self.ttl = 0
        #: The Diffserv field of that packet, at its place above the ECN field: a multiple of 4.
        self.tos = 0
        self.fast_open: FastOpenOption | None = None
        self.accecn: AccEcnOption | None = None

    @property
    def length(self) -> int:
        """SEG.LEN: payload bytes plus one each for SYN and FIN."""
        return len(self.payload) + (1 if self.flags & SYN else 0) + (1 if self.flags & FIN else 0)
