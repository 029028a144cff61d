"""Records packed without struct, which compiled code has to call as any Python does: a third of the time."""

from __future__ import annotations

from typing import Final

from librt.strings import BytesWriter, write_i16_le, write_i32_le, write_i64_le
from mypy_extensions import i16, i32, i64

_B: Final = ord("B")
_H: Final = ord("H")
_I: Final = ord("I")
_Q: Final = ord("q")


def packed(
    size: i64,
    kind: i64,
    source: i64,
    cause: i64,
    time_ns: i64,
    node: i64,
    conn: i64,
    codes: bytes,
    values: tuple[int, ...],
) -> bytes:
    """A record (nodes.base.records) without its tail; `codes` are those of struct. b"" for a value that does not fit,
    and for codes that are not known here."""
    if len(values) != len(codes) or not 0 <= cause <= 0xFFFF:
        return b""
    if not 0 <= node <= 0xFFFF_FFFF or not 0 <= conn <= 0xFFFF_FFFF:
        return b""
    out = BytesWriter()
    write_i64_le(out, (cause << 16 | source << 8 | kind) << 32 | size)
    write_i64_le(out, time_ns)
    write_i64_le(out, conn << 32 | node)
    for at in range(len(codes)):
        code = codes[at]
        value: i64 = values[at]
        if code == _Q:
            write_i64_le(out, value)
        elif value < 0:
            return b""
        elif code == _I and value <= 0xFFFF_FFFF:
            write_i32_le(out, i32(value))
        elif code == _H and value <= 0xFFFF:
            write_i16_le(out, i16(value))
        elif code == _B and value <= 0xFF:
            out.append(value)
        else:
            return b""
    return out.getvalue()


#: Whether this is compiled: then functions are not those of Python.
COMPILED: Final = type(packed).__name__ != "function"
