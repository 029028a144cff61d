"""What tcpdump sees on an interface, with the kernel's time stamps: an eye that is not ours."""

from __future__ import annotations

import re
import select
import shutil
import signal
import struct
import subprocess
import tempfile
from typing import Final

from nodes.base.errors import FailedPrecondition, Unsupported

#: Of libpcap's file format (pcap-savefile(5)), with nanoseconds, in the byte order of who wrote it.
_MAGIC: Final = 0xA1B23C4D
_FILE_HEADER: Final = struct.Struct("=IHHiIII")
_RECORD: Final = struct.Struct("=IIII")
_SECOND: Final = 1_000_000_000
_READY_WITHIN_S: Final = 10
_KEPT_BYTES: Final = 64


class WireLog:
    """Runs tcpdump on an interface of the calling thread's network namespace until `end`, or the end of a `with`.

    Raises Unsupported when there is no tcpdump, FailedPrecondition when it does not start.
    """

    def __init__(self, interface: str, ether_type: int) -> None:
        program = shutil.which("tcpdump")
        if program is None:
            raise Unsupported("tcpdump is not installed; it measures on the wire (apt-get install tcpdump)")
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end
        command = [program, "-i", interface, "-n", "-s", str(_KEPT_BYTES), "-B", "16384", "-Z", "root", "-w", "-"]
        command += ["--immediate-mode", "--time-stamp-precision=nano", "ether", "proto", str(ether_type)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._file, stderr=subprocess.PIPE)
        assert self._process.stderr is not None
        self._words = self._process.stderr
        said = b""
        while b"listening on" not in said:
            ready, _, _ = select.select([self._words], [], [], _READY_WITHIN_S)
            more = self._words.read1(4096) if ready else b""  # type: ignore[attr-defined]
            if not more:
                self._process.kill()
                self.end()
                reason = said.decode(errors="replace").strip()
                raise FailedPrecondition(
                    f"tcpdump does not start on {interface} ({reason}); it needs root: in a user namespace it cannot "
                    "become the user that it wants to be"
                )
            said += more

    def __enter__(self) -> WireLog:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self.end()

    def end(self) -> tuple[list[tuple[int, bytes]], int]:
        """Stop; the frames seen (CLOCK_REALTIME ns, first bytes), and how many tcpdump missed."""
        self._process.send_signal(signal.SIGINT)
        with self._words:
            said = self._words.read().decode(errors="replace")
        self._process.wait()
        missed = re.search(r"(\d+) packets? dropped by kernel", said)
        with self._file as file:
            file.seek(0)
            frames = _frames(file.read())
        return frames, int(missed[1]) if missed else 0


def _frames(data: bytes) -> list[tuple[int, bytes]]:
    if len(data) < _FILE_HEADER.size:
        return []
    if _FILE_HEADER.unpack_from(data)[0] != _MAGIC:
        raise FailedPrecondition("tcpdump wrote no nanosecond pcap")
    frames = []
    at = _FILE_HEADER.size
    while at + _RECORD.size <= len(data):
        seconds, nanoseconds, kept, _ = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        frames.append((seconds * _SECOND + nanoseconds, data[at : at + kept]))
        at += kept
    return frames
