"""Quantities as people write them, in the words of tc(8): `10ms`, `5mbit`, `64kb`, `1%`. Exact ints out, and back.

Every reader takes a str, an int or a Decimal and raises ValueError saying what is allowed; no float is involved.
Units are case-insensitive. As in tc a `kb` is 1024 bytes and a `kbit` 1000 bits. `mbps` is refused: tc means bytes
by it, most people bits.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from nodes.base.random import CHANCE_ONE

Raw = str | int | Decimal

DURATION_UNITS: Final = {
    "ns": 1,
    "nsec": 1,
    "us": 10**3,
    "usec": 10**3,
    "ms": 10**6,
    "msec": 10**6,
    "s": 10**9,
    "sec": 10**9,
    "min": 60 * 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
RATE_UNITS: Final = {
    "bit": 1,
    "kbit": 10**3,
    "mbit": 10**6,
    "gbit": 10**9,
    "tbit": 10**12,
    "kibit": 2**10,
    "mibit": 2**20,
    "gibit": 2**30,
}
SIZE_UNITS: Final = {
    "b": 1,
    "": 1,
    "k": 2**10,
    "kb": 2**10,
    "kib": 2**10,
    "m": 2**20,
    "mb": 2**20,
    "mib": 2**20,
    "g": 2**30,
    "gb": 2**30,
    "gib": 2**30,
}

#: Regular expressions for JSON schema; the readers below are the law.
DURATION_PATTERN: Final = r"^(0|[0-9]+(\.[0-9]+)? ?(ns|us|ms|s|min|m|h|nsec|usec|msec|sec))$"
RATE_PATTERN: Final = r"^(0|[0-9]+(\.[0-9]+)? ?([kmgtKMGT]|[kmgKMG]i)?bit)$"
SIZE_PATTERN: Final = r"^[0-9]+(\.[0-9]+)? ?([kmgKMG]i?)?[bB]?$"
CHANCE_PATTERN: Final = r"^[0-9]+(\.[0-9]+)? ?%?$"

#: 18 digits either side of the point: far past any quantity, and no exponent to blow up.
_QUANTITY: Final = re.compile(r"([+-]?)([0-9]{1,18}(?:\.[0-9]{1,18})?|\.[0-9]{1,18}) ?([A-Za-z%]*)")


def _split(raw: Raw) -> tuple[Decimal, str] | None:
    if isinstance(raw, bool):
        return None
    match = _QUANTITY.fullmatch(f"{raw:f}" if isinstance(raw, Decimal) else str(raw).strip())
    if match is None:
        return None
    number = Decimal(match[2])
    return (-number if match[1] == "-" else number), match[3].lower()


def _scaled(raw: Raw, units: dict[str, int], what: str, example: str, grain: str) -> int:
    parts = _split(raw)
    if parts is None:
        raise ValueError(f"is not a {what}: a number and a unit, such as {example}")
    number, unit = parts
    if number < 0:
        raise ValueError(f"is not a {what}: it must not be negative")
    if number == 0 and unit == "":
        return 0
    if unit not in units:
        known = ", ".join(name for name in units if name)
        raise ValueError(
            f"is not a {what}: it needs a unit, one of {known}"
            if unit == ""
            else f"is not a {what}: unit {unit!r} is not one of {known}"
        )
    scaled = number * units[unit]
    if scaled != int(scaled):
        raise ValueError(f"is not a {what}: finer than one {grain}")
    return int(scaled)


def parse_duration(raw: Raw) -> int:
    """ns of `10ms`, `1.5s`, `2h`. A bare number other than 0 is refused: nobody knows its unit."""
    return _scaled(raw, DURATION_UNITS, "duration", "10ms", "nanosecond")


def parse_rate(raw: Raw) -> int:
    """bit/s of `5mbit`."""
    return _scaled(raw, RATE_UNITS, "rate", "5mbit", "bit per second")


def parse_size(raw: Raw) -> int:
    """Bytes of `64kb` (65536); a bare number is bytes."""
    return _scaled(raw, SIZE_UNITS, "size", "64kb", "byte")


def parse_chance(raw: Raw) -> int:
    """Out of CHANCE_ONE: `1%`, or a fraction `0.01`. Percent only with its sign."""
    allowed = "is not a chance: 0% to 100%, or a fraction 0 to 1"
    parts = _split(raw)
    if parts is None or parts[1] not in ("", "%"):
        raise ValueError(allowed)
    number = parts[0] / 100 if parts[1] else parts[0]
    if not 0 <= number <= 1:
        raise ValueError(allowed)
    scaled = number * CHANCE_ONE
    if scaled != int(scaled):
        raise ValueError("is not a chance: finer than 0.0000001%")
    return int(scaled)


def _trimmed(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_duration(ns: int) -> str:
    """`10ms`, `1.5s`, `250us`; in the largest of s, ms, us, ns that it fills. Read back it gives the same ns."""
    for unit, scale in (("s", 10**9), ("ms", 10**6), ("us", 10**3)):
        if abs(ns) >= scale:
            return _trimmed(Decimal(ns) / scale) + unit
    return f"{ns}ns" if ns else "0s"


def format_rate(bps: int) -> str:
    """`5mbit`, `1.5gbit`, `900bit`."""
    for unit, scale in (("gbit", 10**9), ("mbit", 10**6), ("kbit", 10**3)):
        if bps >= scale:
            return _trimmed(Decimal(bps) / scale) + unit
    return f"{bps}bit"


def format_size(size: int) -> str:
    """`64kb`, `3mb`; in bytes when it is no whole number of kb."""
    for unit, scale in (("gb", 2**30), ("mb", 2**20), ("kb", 2**10)):
        if size and size % scale == 0:
            return f"{size // scale}{unit}"
    return f"{size}b"


def format_chance(chance: int) -> str:
    """`1%`, `0.05%`."""
    return _trimmed(Decimal(chance) * 100 / CHANCE_ONE) + "%"
