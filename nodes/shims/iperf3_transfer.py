"""The transfer of an iperf3 test: its data connections, what they have moved, the lines said of it."""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from typing import Any

from nodes.shims.flags import Options
from nodes.shims.iperf3_control import TEST_END, Ended, Results, word_of
from nodes.shims.rates import shown_bytes, shown_rate

#: Bytes of a block when nothing is said.
LENGTH = 131_072
_RULE = "- " * 25


class Stream:
    """One data connection and what it has moved."""

    def __init__(self, one: socket.socket, number: int) -> None:
        self.socket = one
        self.number = number
        self.bytes = 0
        self.said = 0
        self.retransmits_said = 0
        self.resent = 0

    def info(self) -> bytes:
        """TCP_INFO."""
        return self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104).ljust(104, b"\0")

    def retransmits(self) -> int:
        """Segments sent again so far."""
        return int.from_bytes(self.info()[100:104], sys.byteorder)

    def window(self) -> int:
        """The congestion window, bytes."""
        data = self.info()
        return int.from_bytes(data[80:84], sys.byteorder) * int.from_bytes(data[16:20], sys.byteorder)


class Transfer:
    """The transfer, from when it runs to when it is over."""

    def __init__(
        self, given: Options, control: socket.socket, sends: bool, parameters: Results, interval: float
    ) -> None:
        self.control = control
        self.sends = sends
        self.streams: list[Stream] = []
        self._given = given
        self._form = given.form or "a"
        self._interval = interval
        self._length = int(parameters.get("len") or LENGTH)
        self._amount = int(parameters.get("num") or 0)
        self._limit = int(parameters.get("bandwidth") or 0)
        self._omit = float(parameters.get("omit") or 0)
        self._time = float(parameters.get("time") or 0)
        self.quiet = bool(given.json)
        self.intervals: list[Results] = []
        self.began = 0.0
        self.took = 0.0
        self._said = 0.0

    def head(self) -> None:
        """What the columns are."""
        retransmits = "  Retr  Cwnd" if self.sends else ""
        self.say(f"[ ID] Interval           Transfer     Bitrate       {retransmits}")

    def say(self, text: str) -> None:
        """A line, unless JSON is wanted."""
        if not self.quiet:
            sys.stdout.write(text.rstrip() + "\n")
            sys.stdout.flush()

    def run(self, ends: bool) -> None:
        """Send or receive. `ends`: it is ours to end it, by time or bytes; else until the other side says so. Raises
        Ended."""
        self.began = time.monotonic()
        data = memoryview(os.urandom(1) * self._length)
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        by_descriptor = {one.socket.fileno(): one for one in self.streams}
        for one in self.streams:
            one.socket.setblocking(False)
            poll.register(one.socket, select.POLLOUT if self.sends else select.POLLIN)
        omitted = not self._omit
        while True:
            elapsed = time.monotonic() - self.began
            if not omitted and elapsed >= self._omit:
                omitted, elapsed = True, 0.0
                self._restart()
            if ends and self._is_over(elapsed):
                break
            if self._tick(elapsed, poll.poll(self._patience(ends, elapsed)), by_descriptor, poll, data):
                break
        self.took = max(time.monotonic() - self.began, 1e-6)
        for one in self.streams:
            one.socket.setblocking(True)
            one.resent = one.retransmits() if self.sends else 0
        if self._interval and self.took - self._said > self._interval / 10:
            self._interval_over(self._said, self.took)

    def _restart(self) -> None:
        self.began = time.monotonic()
        self._said = 0.0
        for one in self.streams:
            one.bytes = one.said = 0

    def _is_over(self, elapsed: float) -> bool:
        if self._amount:
            return sum(one.bytes for one in self.streams) >= self._amount
        return elapsed >= self._time

    def _patience(self, ends: bool, elapsed: float) -> float:
        until = self._said + self._interval - elapsed if self._interval else 1.0
        if ends and not self._amount:
            until = min(until, self._time - elapsed)
        return max(min(until, 1.0), 0.0) * 1000

    def _tick(
        self,
        elapsed: float,
        ready: list[tuple[int, int]],
        by_descriptor: dict[int, Stream],
        poll: Any,
        data: memoryview,
    ) -> bool:
        """Move what can be moved; whether the other side has ended the test."""
        moved = False
        due = self._limit * elapsed / 8 if self._limit else 0.0
        for descriptor, _ in ready:
            one = by_descriptor.get(descriptor)
            if one is None:
                if word_of(self.control) == TEST_END:
                    return True
                raise Ended("the other side has ended the test")
            if self._limit and self.sends and one.bytes >= due:
                continue
            try:
                if self.sends:
                    one.bytes += one.socket.send(data)
                else:
                    piece = one.socket.recv(self._length)
                    one.bytes += len(piece)
                    if not piece:
                        poll.unregister(descriptor)
                moved = True
            except BlockingIOError:
                continue
        if self._limit and self.sends and not moved:
            time.sleep(0.001)
        if self._interval and elapsed >= self._said + self._interval:
            upto = self._said + self._interval * int((elapsed - self._said) / self._interval)
            self._interval_over(self._said, upto)
            self._said = upto
        return False

    def _interval_over(self, begin: float, end: float) -> None:
        total = 0
        rows = []
        for one in self.streams:
            count, one.said = one.bytes - one.said, one.bytes
            total += count
            more, row = "", {"socket": one.number, "start": begin, "end": end, "bytes": count}
            if self.sends:
                retransmits = one.retransmits()
                more = f"  {retransmits - one.retransmits_said:3}   {shown_bytes(one.window())}"
                row |= {"retransmits": retransmits - one.retransmits_said, "snd_cwnd": one.window()}
                one.retransmits_said = retransmits
            row["bits_per_second"] = count * 8 / max(end - begin, 1e-6)
            rows.append(row)
            self.line(f"{one.number:3}", begin, end, count, more)
        if len(self.streams) > 1:
            self.line("SUM", begin, end, total, "")
            self.say(_RULE)
        whole = {"start": begin, "end": end, "bytes": total, "bits_per_second": total * 8 / max(end - begin, 1e-6)}
        self.intervals.append({"streams": rows, "sum": whole})

    def line(self, label: str, begin: float, end: float, count: int, more: str) -> None:
        """A line of the report."""
        rates = f"{shown_bytes(count)}  {shown_rate(count * 8 / max(end - begin, 1e-6), self._form)}"
        self.say(f"[{label}] {begin:6.2f}-{end:<6.2f} sec  {rates}{more}")

    def results(self) -> Results:
        """What the other side is told."""
        congestion = "cubic"
        for one in self.streams:
            found = one.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
            congestion = found.split(b"\0")[0].decode()
        return {
            "cpu_util_total": 0,
            "cpu_util_user": 0,
            "cpu_util_system": 0,
            "sender_has_retransmits": 1 if self.sends else -1,
            "congestion_used": congestion,
            "streams": [
                {
                    "id": one.number,
                    "bytes": one.bytes,
                    "retransmits": one.resent if self.sends else -1,
                    "jitter": 0,
                    "errors": 0,
                    "packets": 0,
                    "start_time": 0,
                    "end_time": self.took,
                }
                for one in self.streams
            ],
        }

    def close(self) -> None:
        """The data connections end. Idempotent."""
        for one in self.streams:
            one.socket.close()

    def summary(self, peer: Results) -> Results:
        """Say what both sides have counted; the same for JSON."""
        said = {one["id"]: one for one in peer.get("streams", ())}
        self.say(_RULE)
        self.say(f"[ ID] Interval           Transfer     Bitrate       {'  Retr' if self.sends else ''}")
        total: dict[str, Results] = {}
        for role in ("sender", "receiver"):
            bytes_, again = 0, 0
            seconds = self.took
            for one in self.streams:
                theirs = said.get(one.number, {})
                ours = (role == "sender") == self.sends
                count = one.bytes if ours else int(theirs.get("bytes", 0))
                seconds = self.took if ours else float(theirs.get("end_time") or self.took)
                retransmits = one.resent if self.sends else int(theirs.get("retransmits", 0))
                bytes_, again = bytes_ + count, again + retransmits
                more = f"  {retransmits:3}" if role == "sender" else "     "
                self.line(f"{one.number:3}", 0.0, seconds, count, f"{more}             {role}")
            if len(self.streams) > 1:
                more = f"  {again:3}" if role == "sender" else "     "
                self.line("SUM", 0.0, seconds, bytes_, f"{more}             {role}")
            total[f"sum_{'sent' if role == 'sender' else 'received'}"] = {
                "start": 0,
                "end": seconds,
                "seconds": seconds,
                "bytes": bytes_,
                "bits_per_second": bytes_ * 8 / max(seconds, 1e-6),
                **({"retransmits": again} if role == "sender" else {}),
            }
        return total
