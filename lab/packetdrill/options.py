"""TCP options as scripts write them, exactly: their order, padding and bytes count."""

from __future__ import annotations

from typing import Final

from lab.packetdrill.problem import NotExpressible
from lab.packetdrill.script import TcpOption
from nodes.base.errors import InvalidArgument

EOL: Final = 0
NOP: Final = 1
MSS: Final = 2
WINDOW_SCALE: Final = 3
SACK_PERMITTED: Final = 4
SACK: Final = 5
TIMESTAMP: Final = 8
MD5: Final = 19
FAST_OPEN: Final = 34
#: AccECN, by what comes first: bytes that came with ECT(0), with ECT(1).
ACCECN_0: Final = 172
ACCECN_1: Final = 174
#: The kind of experiments (RFC 6994); Fast Open's was one before it had a kind, with this number.
EXPERIMENTAL: Final = 254
FAST_OPEN_MAGIC: Final = b"\xf9\x89"
#: The counters of an AccECN option, in order.
_COUNTERS: Final = {ACCECN_0: ("e0b", "ceb", "e1b"), ACCECN_1: ("e1b", "ceb", "e0b")}


def parse_option(line: int, words: list[str]) -> TcpOption:
    """The option that `words` say, such as `mss 1460`, `TS val 100 ecr 0`, `sack 1:1001 2001:3001`."""
    text = " ".join(words)
    match words:
        case ["nop"]:
            return TcpOption(NOP, b"", text)
        case ["eol"]:
            return TcpOption(EOL, b"", text)
        case ["mss", value]:
            return TcpOption(MSS, _number(line, value, 2), text)
        case ["wscale", value]:
            return TcpOption(WINDOW_SCALE, _number(line, value, 1), text)
        case ["sackOK"]:
            return TcpOption(SACK_PERMITTED, b"", text)
        case ["TS", "val", value, "ecr", echo]:
            return TcpOption(TIMESTAMP, _number(line, value, 4) + _number(line, echo, 4), text)
        case ["sack", *edges] if edges:
            return TcpOption(SACK, b"".join(_number(line, edge, 4) for edge in edges if edge != ":"), text)
        case ["FO", *cookie]:
            return TcpOption(FAST_OPEN, _hex(line, cookie), text)
        case ["FOEXP", *cookie]:
            return TcpOption(EXPERIMENTAL, FAST_OPEN_MAGIC + _hex(line, cookie), text)
        case ["ECN", *counters] if (kind := _accecn_kind(counters)) is not None:
            return TcpOption(kind, b"".join(_number(line, value, 3) for value in counters[1::2]), text)
        case ["md5", *_]:
            raise NotExpressible(line, f"TCP option {words[0]}")
    raise InvalidArgument(f"line {line}: {text!r} is no TCP option", "script", line)


def encode(options: tuple[TcpOption, ...]) -> bytes:
    """The options' bytes, padded with zeros to 32-bit words."""
    data = b""
    for option in options:
        data += bytes((option.kind,))
        if option.kind not in (EOL, NOP):
            data += bytes((len(option.data) + 2,)) + option.data
    return data + bytes(-len(data) % 4)


def decode(data: bytes) -> tuple[TcpOption, ...]:
    """The options in a TCP header, each with words as a script would have them."""
    found = []
    at = 0
    while at < len(data):
        kind = data[at]
        if kind in (EOL, NOP):
            found.append(TcpOption(kind, b"", "eol" if kind == EOL else "nop"))
            at += 1
            continue
        length = max(data[at + 1] if at + 1 < len(data) else 2, 2)
        value = data[at + 2 : at + length]
        found.append(TcpOption(kind, value, words(kind, value)))
        at += length
    return tuple(found)


def words(kind: int, data: bytes) -> str:
    """An option as a script writes it."""
    number = int.from_bytes(data, "big")
    if kind == MSS:
        return f"mss {number}"
    if kind == WINDOW_SCALE:
        return f"wscale {number}"
    if kind == SACK_PERMITTED:
        return "sackOK"
    if kind == TIMESTAMP:
        return f"TS val {number >> 32} ecr {number & 0xFFFF_FFFF}"
    if kind == SACK:
        edges = [int.from_bytes(data[at : at + 4], "big") for at in range(0, len(data), 4)]
        return "sack " + " ".join(f"{left}:{right}" for left, right in zip(edges[::2], edges[1::2], strict=False))
    if kind == FAST_OPEN:
        return f"FO {data.hex()}".strip()
    if kind in _COUNTERS and len(data) in (3, 6, 9):
        values = (int.from_bytes(data[at : at + 3], "big") for at in range(0, len(data), 3))
        return "ECN " + " ".join(f"{name} {value}" for name, value in zip(_COUNTERS[kind], values, strict=False))
    if kind == EXPERIMENTAL and data[:2] == FAST_OPEN_MAGIC:
        return f"FOEXP {data[2:].hex()}".strip()
    return f"option {kind} {data.hex()}"


def _accecn_kind(counters: list[str]) -> int | None:
    """The option whose counters, one or more from its first on, are named so."""
    names = tuple(counters[::2])
    if not names or len(counters) % 2:
        return None
    return next((kind for kind, known in _COUNTERS.items() if known[: len(names)] == names), None)


def _number(line: int, text: str, size: int) -> bytes:
    value = int(text) if text.isdecimal() else -1
    if not 0 <= value < 1 << 8 * size:
        raise InvalidArgument(f"line {line}: {text} is not allowed; a number of {size} bytes is", "script", line)
    return value.to_bytes(size, "big")


def _hex(line: int, words: list[str]) -> bytes:
    text = "".join(words)
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise InvalidArgument(f"line {line}: {text!r} is not allowed; bytes in hex are", "script", line) from None
