"""Amounts and rates as iperf and iperf3 read and show them."""

from __future__ import annotations

from nodes.shims.flags import Wrong

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "k": 1024, "m": 1024**2, "g": 1024**3}
_BITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "k": 1000, "m": 1000**2, "g": 1000**3}
FORMATS = "kmgtKMGTaA"


def size(text: str) -> int:
    """Bytes: 128K is 131072. Raises Wrong."""
    return _read(text, _UNITS)


def rate(text: str) -> int:
    """Bits per second: 10M is 10 million. Raises Wrong."""
    return _read(text.partition("/")[0], _BITS)


def _read(text: str, units: dict[str, int]) -> int:
    unit = text[-1:] if text[-1:].isalpha() else ""
    try:
        return round(float(text[: len(text) - len(unit)]) * units[unit])
    except (ValueError, KeyError):
        raise Wrong(f"{text!r} is no amount; write it like 128K or 10M") from None


def shown_bytes(count: float) -> str:
    """`1.10 GBytes`."""
    return f"{_digits(*_scaled(count, 1024))}Bytes"


def shown_rate(bits: float, form: str) -> str:
    """`941 Mbits/sec`; of `form`, k m g are bits and K M G bytes, in that unit; a and A as fits."""
    if form in ("a", ""):
        return f"{_digits(*_scaled(bits, 1000))}bits/sec"
    if form == "A":
        return f"{_digits(*_scaled(bits / 8, 1024))}Bytes/sec"
    power = "kmgt".index(form.lower()) + 1
    if form.islower():
        return f"{_digits(bits / 1000**power, form.upper() if form != 'k' else 'K')}bits/sec"
    return f"{_digits(bits / 8 / 1024**power, form)}Bytes/sec"


def _scaled(value: float, step: int) -> tuple[float, str]:
    for unit in ("", "K", "M", "G"):
        if value < step or unit == "G":
            return value, unit
        value /= step
    raise AssertionError


def _digits(value: float, unit: str) -> str:
    """Three digits."""
    number = f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"
    return f"{number:>4} {unit}"
