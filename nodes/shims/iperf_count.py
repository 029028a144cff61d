"""What a stream of iperf has moved, and the lines said of it."""

from __future__ import annotations

import sys
import time

from nodes.shims.flags import Options
from nodes.shims.rates import shown_bytes, shown_rate

LINE = "-" * 60


class Count:
    """What one stream has moved, said in intervals."""

    def __init__(self, number: int, given: Options, interval: float) -> None:
        self.number = number
        self.bytes = 0
        self.began = time.monotonic()
        self._form = given.form or "a"
        self._csv = given.report in ("C", "c")
        self._interval = interval
        self._said = 0.0
        self._said_bytes = 0

    def add(self, count: int) -> None:
        """So many bytes more."""
        self.bytes += count

    def tick(self) -> None:
        """Say the interval that is over."""
        elapsed = time.monotonic() - self.began
        if self._interval and elapsed >= self._said + self._interval:
            upto = self._said + self._interval * int((elapsed - self._said) / self._interval)
            self.say(self._said, upto, self.bytes - self._said_bytes)
            self._said, self._said_bytes = upto, self.bytes

    def end(self, more: str = "") -> float:
        """Say it all; how long it took."""
        elapsed = max(time.monotonic() - self.began, 1e-6)
        self.say(0.0, elapsed, self.bytes, more)
        return elapsed

    def say(self, begin: float, end: float, count: int, more: str = "", label: str = "") -> None:
        """A line of the report."""
        bits = count * 8 / max(end - begin, 1e-6)
        if self._csv:
            stamp = time.strftime("%Y%m%d%H%M%S")
            say(f"{stamp},,,,,{self.number},{begin:.1f}-{end:.1f},{count},{round(bits)}")
            return
        label = label or f"{self.number:3}"
        rates = f"{shown_bytes(count)}  {shown_rate(bits, self._form)}"
        say(f"[{label}] {begin:.4f}-{end:.4f} sec  {rates}{more}")


def say(text: str) -> None:
    """A line."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
