"""TCP segments as bytes (RFC 9293 section 3.1). Options are written in Linux's order and read as Linux reads them."""

from __future__ import annotations

import struct
from typing import Final

from librt.strings import BytesWriter, write_i32_be, write_i64_be
from mypy_extensions import i32, i64

from nodes.packet import ipv4, ipv6
from nodes.packet.checksum import COMPILED, sum16
from nodes.packet.malformed import MalformedPacket
from nodes.packet.tcp import ABSENT, ACK, SYN, AccEcnOption, FastOpenOption, Segment
from nodes.packet.words import u16, u32

HEADER_LEN: Final = 20
MAX_OPTIONS_LEN: Final = 40

_PROTOCOL: Final = 6

# src port, dst port, seq, ack, data offset (4 bits) and flags (9), window, checksum, urgent
_HEADER: Final = struct.Struct("!HHIIHHHH")
# the same after an IPv4 header and followed by NOP NOP Timestamps: the headers of nearly every segment
_IPV4_TIMESTAMPS: Final = struct.Struct("!BBHHHBBH4s4sHHIIHHHHIII")
_TIMESTAMPS: Final = struct.Struct("!III")
# of the words of an IPv4 header that are always the same
_IPV4_SUM: Final = 0x4500 + ipv4.DONT_FRAGMENT + _PROTOCOL
_NOP_NOP_TIMESTAMPS: Final = 0x0101080A

_END: Final = 0
_NOP: Final = 1
_MSS: Final = 2
_WINDOW_SCALE: Final = 3
_SACK_PERMITTED: Final = 4
_SACK: Final = 5
_TIMESTAMP: Final = 8
_FAST_OPEN: Final = 34
_ACCECN_0: Final = 172
_ACCECN_1: Final = 174
_EXPERIMENTAL: Final = 254
#: The number of Fast Open among the experiments (RFC 7413 appendix, RFC 6994).
_FAST_OPEN_MAGIC: Final = b"\xf9\x89"
#: Lengths that a Fast Open cookie can have, bytes; they are even.
COOKIE_LEN_MIN: Final = 4
COOKIE_LEN_MAX: Final = 16


def encode_tcp(segment: Segment, src: bytes, dst: bytes) -> bytes:
    """The segment's bytes between two IP addresses, checksummed. Options as `encode_tcp_header` says."""
    return encode_tcp_header(segment, src, dst) + segment.payload


def encode_tcp_header(segment: Segment, src: bytes, dst: bytes) -> bytes:
    """The header with its options and the checksum of the whole segment.

    Options that do not fit in 40 bytes are left out in the order they would be written; of SACK as many blocks as fit.
    """
    options = encode_options(segment)
    payload = segment.payload
    header_len = HEADER_LEN + len(options)
    offset_flags = header_len << 10 | segment.flags
    total = (
        int.from_bytes(src + dst, "big")
        + _PROTOCOL
        + header_len
        + len(payload)
        + segment.src_port
        + segment.dst_port
        + segment.seq
        + segment.ack
        + offset_flags
        + segment.window
        + segment.urgent
        + sum16(options)
        + sum16(payload)
    )
    return (
        _HEADER.pack(
            segment.src_port,
            segment.dst_port,
            segment.seq,
            segment.ack,
            offset_flags,
            segment.window,
            -total % 65535,
            segment.urgent,
        )
        + options
    )


def encode_tcp_packet(segment: Segment, src: bytes, dst: bytes, identification: int, ttl: int) -> bytes:
    """The segment in an IPv4 packet that must not be fragmented, both checksummed."""
    return encode_headers(segment, src, dst, identification, ttl) + segment.payload


def encode_headers(segment: Segment, src: bytes, dst: bytes, identification: int, ttl: int) -> bytes:
    """What stands before the payload in that packet."""
    addresses: int = u32(src, 0) + u32(dst, 0) if COMPILED else sum16(src + dst)
    payload = segment.payload
    if (
        segment.tsecr < 0
        or segment.flags & SYN
        or segment.sack
        or segment.mss >= 0
        or segment.window_scale >= 0
        or segment.sack_permitted
        or segment.accecn is not None
    ):
        header = encode_tcp_header(segment, src, dst)
        length = ipv4.HEADER_LEN + len(header) + len(payload)
        tos = segment.tos | segment.ecn
        check = -(_IPV4_SUM + tos + length + identification + (ttl << 8) + addresses) % 65535
        return (
            ipv4.HEADER.pack(0x45, tos, length, identification, ipv4.DONT_FRAGMENT, ttl, _PROTOCOL, check, src, dst)
            + header
        )
    tos = segment.tos | segment.ecn
    src_port = segment.src_port
    dst_port = segment.dst_port
    seq = segment.seq
    ack = segment.ack
    offset_flags = 0x8000 | segment.flags
    window = segment.window
    urgent = segment.urgent
    tsval = segment.tsval
    tsecr = segment.tsecr
    length = 52 + len(payload)
    total = (
        addresses
        + _PROTOCOL
        + length
        - 20
        + src_port
        + dst_port
        + seq
        + ack
        + offset_flags
        + window
        + urgent
        + _NOP_NOP_TIMESTAMPS
        + tsval
        + tsecr
    )
    if payload:
        total += sum16(payload)
    check = -(_IPV4_SUM + tos + length + identification + (ttl << 8) + addresses) % 65535
    if COMPILED:
        return _write_headers(segment, src, dst, length, identification, ttl, check, -total % 65535)
    return _IPV4_TIMESTAMPS.pack(
        0x45,
        tos,
        length,
        identification,
        ipv4.DONT_FRAGMENT,
        ttl,
        _PROTOCOL,
        check,
        src,
        dst,
        src_port,
        dst_port,
        seq,
        ack,
        offset_flags,
        window,
        -total % 65535,
        urgent,
        _NOP_NOP_TIMESTAMPS,
        tsval,
        tsecr,
    )


def _write_headers(
    segment: Segment, src: bytes, dst: bytes, length: i64, identification: i64, ttl: i64, ip_check: i64, check: i64
) -> bytes:
    """The layout of _IPV4_TIMESTAMPS."""
    tos: i64 = segment.tos | segment.ecn
    src_port: i64 = segment.src_port
    dst_port: i64 = segment.dst_port
    seq: i64 = segment.seq
    ack: i64 = segment.ack
    offset_flags: i64 = 0x8000 | segment.flags
    window: i64 = segment.window
    urgent: i64 = segment.urgent
    tsval: i64 = segment.tsval
    tsecr: i64 = segment.tsecr
    out = BytesWriter()
    write_i64_be(out, (0x4500 | tos) << 48 | length << 32 | identification << 16 | ipv4.DONT_FRAGMENT)
    write_i64_be(out, (ttl << 8 | _PROTOCOL) << 48 | ip_check << 32 | u32(src, 0))
    write_i64_be(out, u32(dst, 0) << 32 | src_port << 16 | dst_port)
    write_i64_be(out, seq << 32 | ack)
    write_i64_be(out, offset_flags << 48 | window << 32 | check << 16 | urgent)
    write_i64_be(out, _NOP_NOP_TIMESTAMPS << 32 | tsval)
    write_i32_be(out, i32(tsecr))
    return out.getvalue()


def encode_tcp_packet6(segment: Segment, src: bytes, dst: bytes, hop_limit: int) -> bytes:
    """The segment in an IPv6 packet."""
    payload = encode_tcp(segment, src, dst)
    word = 0x6000_0000 | (segment.tos | segment.ecn) << 20
    return ipv6.HEADER.pack(word, len(payload), _PROTOCOL, hop_limit, src, dst) + payload


def encode_options(segment: Segment) -> bytes:
    """The options in Linux's order, padded with NOPs to 32-bit words: MSS, SACK permitted with timestamps,
    AccECN, window scale, SACK blocks, Fast Open."""
    options = b""
    if segment.mss != ABSENT:
        options = b"\x02\x04" + segment.mss.to_bytes(2, "big")
    if segment.tsval != ABSENT:
        options += b"\x04\x02" if segment.sack_permitted else b"\x01\x01"
        options += b"\x08\x0a" + segment.tsval.to_bytes(4, "big") + max(segment.tsecr, 0).to_bytes(4, "big")
    more = b"\x01\x01\x04\x02" if segment.sack_permitted and segment.tsval == ABSENT else b""
    if segment.window_scale != ABSENT:
        more += b"\x01\x03\x03" + segment.window_scale.to_bytes(1, "big")
    blocks = segment.sack[: (MAX_OPTIONS_LEN - len(options) - len(more) - 4) >> 3]
    if blocks:
        more += bytes((_NOP, _NOP, _SACK, 2 + 8 * len(blocks)))
        for left, right in blocks:
            more += left.to_bytes(4, "big") + right.to_bytes(4, "big")
    options = options + more if segment.accecn is None else _with_accecn(options, segment.accecn, more)
    if segment.fast_open is not None:
        options += _encode_fast_open(segment.fast_open, MAX_OPTIONS_LEN - len(options))
    return options


def accecn_length(fields: int, sack: bool) -> int:
    """What an AccECN option with so many fields adds to the options, bytes; before a SACK option it takes the place of
    its padding where it can."""
    size = 2 + 3 * fields
    spare = size % 4
    return size - spare if sack and spare <= 2 else size + (-size % 4)


def _with_accecn(before: bytes, option: AccEcnOption, after: bytes) -> bytes:
    """AccECN between the others. The NOPs that follow it become part of what brings it to a 32-bit boundary."""
    size = 2 + 3 * len(option.fields)
    encoded = bytes((_ACCECN_1 if option.order else _ACCECN_0, size))
    for value in option.fields:
        encoded += (value & 0xFF_FFFF).to_bytes(3, "big")
    spare = size % 4
    if spare and after[:spare] == bytes((_NOP,)) * spare:
        after = after[spare:]
    else:
        encoded += bytes((_NOP,)) * (-size % 4)
    whole = before + encoded + after
    return whole if len(whole) <= MAX_OPTIONS_LEN else before + after


def _encode_fast_open(option: FastOpenOption, room: int) -> bytes:
    kind = bytes((_EXPERIMENTAL, 4 + len(option.cookie))) + _FAST_OPEN_MAGIC
    if not option.experimental:
        kind = bytes((_FAST_OPEN, 2 + len(option.cookie)))
    encoded = kind + option.cookie
    encoded += bytes((_NOP,)) * (-len(encoded) % 4)
    return encoded if len(encoded) <= room else b""


def decode_tcp(data: bytes) -> Segment:
    """The segment in an IP payload. Its checksum is not looked at (`transport_checksum_ok` does that).

    Raises MalformedPacket as `decode_tcp_part`."""
    return decode_tcp_part(data, 0, len(data))


def decode_tcp_part(data: bytes, start: i64, end: i64) -> Segment:
    """The segment in `data[start:end]`, 0 <= start <= end <= len(data).

    Raises MalformedPacket when the header does not fit. Options that are cut off or have an impossible length end
    the reading of options, and those before them count, as in Linux (tcp_parse_options).
    """
    size = end - start
    if size < HEADER_LEN:
        raise MalformedPacket(f"TCP segment of {size} bytes; its header alone has {HEADER_LEN}")
    if COMPILED:
        src_port: i64 = u16(data, start)
        dst_port: i64 = u16(data, start + 2)
        seq: i64 = u32(data, start + 4)
        ack: i64 = u32(data, start + 8)
        offset_flags: i64 = u16(data, start + 12)
        window: i64 = u16(data, start + 14)
        urgent: i64 = u16(data, start + 18)
    else:
        src_port, dst_port, seq, ack, offset_flags, window, _, urgent = _HEADER.unpack_from(data, start)
    header_len = offset_flags >> 10 & 0x3C
    if not HEADER_LEN <= header_len <= size:
        raise MalformedPacket(f"TCP data offset {header_len >> 2} words in {size} bytes")
    payload = data[start + header_len : end]
    segment = Segment(src_port, dst_port, seq, ack, offset_flags & 0x1FF, window, payload)
    if urgent:
        segment.urgent = urgent
    if header_len > HEADER_LEN:
        if header_len == 32:
            if COMPILED:
                if u32(data, start + 20) == _NOP_NOP_TIMESTAMPS:
                    segment.tsval = u32(data, start + 24)
                    segment.tsecr = u32(data, start + 28)
                    return segment
            else:
                prefix, tsval, tsecr = _TIMESTAMPS.unpack_from(data, start + HEADER_LEN)
                if prefix == _NOP_NOP_TIMESTAMPS:
                    segment.tsval = tsval
                    segment.tsecr = tsecr
                    return segment
        _decode_options(segment, data[start : start + header_len], header_len)
    return segment


def _decode_options(segment: Segment, data: bytes, end: int) -> None:
    at = HEADER_LEN
    while at < end:
        kind = data[at]
        if kind == _NOP:
            at += 1
            continue
        if kind == _END or at + 1 >= end:
            return
        size = data[at + 1]
        if size < 2 or at + size > end:
            return
        if kind == _MSS and size == 4:
            segment.mss = u16(data, at + 2)
        elif kind == _WINDOW_SCALE and size == 3:
            segment.window_scale = data[at + 2]
        elif kind == _SACK_PERMITTED and size == 2:
            segment.sack_permitted = True
        elif kind == _SACK and size >= 10 and size % 8 == 2:
            segment.sack = _blocks(data, at + 2, (size - 2) >> 3)
        elif kind == _TIMESTAMP and size == 10:
            segment.tsval = u32(data, at + 2)
            segment.tsecr = u32(data, at + 6)
        elif kind == _FAST_OPEN:
            _take_fast_open(segment, data[at + 2 : at + size], False)
        elif kind in (_ACCECN_0, _ACCECN_1):
            _take_accecn(segment, data[at + 2 : at + size], kind == _ACCECN_1)
        elif kind == _EXPERIMENTAL and size >= 4 and data[at + 2 : at + 4] == _FAST_OPEN_MAGIC:
            _take_fast_open(segment, data[at + 4 : at + size], True)
        at += size


def _blocks(data: bytes, at: int, count: int) -> tuple[tuple[int, int], ...]:
    blocks: list[tuple[int, int]] = []
    for _ in range(count):
        left: int = u32(data, at)
        right: int = u32(data, at + 4)
        blocks.append((left, right))
        at += 8
    return tuple(blocks)


def _take_fast_open(segment: Segment, cookie: bytes, experimental: bool) -> None:
    """Only a SYN or SYN-ACK has the option, and only with a cookie of a length that cookies have."""
    size = len(cookie)
    if segment.flags & SYN and (not size or (size % 2 == 0 and COOKIE_LEN_MIN <= size <= COOKIE_LEN_MAX)):
        segment.fast_open = FastOpenOption(cookie, experimental)


def _take_accecn(segment: Segment, data: bytes, order: bool) -> None:
    """Whole fields count, at most three; the rest is padding (RFC 9768 section 3.2.3). A SYN has none (3.2.3.2.1)."""
    if segment.flags & (SYN | ACK) == SYN:
        return
    fields = tuple(int.from_bytes(data[at : at + 3], "big") for at in range(0, min(len(data) - 2, 9), 3))
    segment.accecn = AccEcnOption(int(order), fields)
