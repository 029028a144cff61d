"""Quantities as people write them, in tc's words, for requests: `10ms`, `5mbit`, `64kb`, `1%`."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Final

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.duration_pb2 import Duration

from tcplab.client.errors import InvalidArgument

#: A duration: text with its unit, a number of seconds, or a timedelta.
Time = str | float | timedelta

_TIME: Final = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_RATE: Final = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9, "tbit": 10**12}
_SIZE: Final = {
    "": 1,
    "b": 1,
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
_NUMBER: Final = re.compile(r"(-?[0-9]{1,18}(?:\.[0-9]{1,18})?) ?([a-z%]*)", re.IGNORECASE)


def _wrong(value: object, what: str, field: str) -> InvalidArgument:
    message = f"{field}: {value!r} is not {what}" if field else f"{value!r} is not {what}"
    return InvalidArgument(message, fields={field: message})


def _scaled(text: str, units: dict[str, int], what: str, field: str) -> int:
    match = _NUMBER.fullmatch(text.strip())
    number, unit = (Decimal(match[1]), match[2].lower()) if match else (Decimal(0), "?")
    if not number and unit == "":
        return 0
    if unit not in units or number * units[unit] != int(number * units[unit]):
        raise _wrong(text, what, field)
    return int(number * units[unit])


def nanoseconds(value: Time, field: str = "") -> int:
    """ns of a duration; a bare number is seconds. `field` is for the error, here and below."""
    if isinstance(value, str):
        return _scaled(value, _TIME, "a duration such as 10ms", field)
    if isinstance(value, timedelta):
        return (value.days * 86_400 + value.seconds) * 10**9 + value.microseconds * 1000
    seconds = Decimal(str(value))
    if not seconds.is_finite():
        raise _wrong(value, "a duration: a finite number of seconds", field)
    return int(seconds * 10**9)


def duration(value: Time | None, field: str = "") -> Duration | None:
    """As a message; None stays None."""
    if value is None:
        return None
    message = Duration()
    try:
        message.FromNanoseconds(nanoseconds(value, field))
    except ValueError:
        raise _wrong(value, "a duration: it is longer than 10000 years", field) from None
    return message


def chance(value: str | float, field: str = "") -> float:
    """0 to 1, from `1%` or a fraction."""
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value.strip())
        if match is None or match[2] not in ("", "%"):
            raise _wrong(value, "a chance such as 1%", field)
        return float(Decimal(match[1]) / 100 if match[2] else Decimal(match[1]))
    return float(value)


def rate(value: str | int, field: str = "") -> int:
    """bit/s, from `5mbit` or a number."""
    return _scaled(value, _RATE, "a rate such as 5mbit", field) if isinstance(value, str) else value


def size(value: str | int, field: str = "") -> int:
    """Bytes, from `64kb` (65536) or a number."""
    return _scaled(value, _SIZE, "a size such as 64kb", field) if isinstance(value, str) else value


def enum_value(enum: EnumDescriptor, word: str, field: str) -> int:
    """The number of an enum's value by its word: `both`, `FIN-WAIT-1`, `RTO_EXPIRED`."""
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    known = enum.values_by_name.get(prefix + word.upper().replace("-", "_"))
    if known is None or not known.number:
        words = ", ".join(one.name.removeprefix(prefix) for one in enum.values if one.number)
        raise _wrong(word, f"one of {words.lower() if word.islower() else words}", field)
    return known.number
