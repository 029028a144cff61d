"""Two live stacks joined by a wire in memory: no interface, no root."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Mapping

from nodes.drivers.arrived import Arrived
from nodes.drivers.packet_socket import PacketSocket
from nodes.live.stack import LiveStack


class MemoryPackets(PacketSocket):
    """One end of a socket pair whose messages are frames. What finds the buffer full is lost."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self.end = end
        #: Frames are lost from now on.
        self.cut = False

    def fileno(self) -> int:
        return self.end.fileno()

    def receive(self, budget: int) -> list[Arrived]:
        frames: list[Arrived] = []
        # Reset: the other end is closed, with frames of ours that nobody has taken.
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while len(frames) < budget:
                frame = self.end.recv(65536)
                if not frame:
                    break
                frames.append((time.time_ns(), frame))
        return frames

    def send(self, frame: bytes) -> bool:
        if self.cut:
            return False
        try:
            self.end.send(frame)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return False
        return True

    def close(self) -> None:
        self.end.close()


#: Buffers that fit what the wire holds.
PARAMETERS = {"tcp_rmem": 65536, "tcp_wmem": 65536, "tcp_msl_ms": 50}


def ports() -> tuple[MemoryPackets, MemoryPackets]:
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return MemoryPackets(one), MemoryPackets(two)


@contextlib.contextmanager
def live_pair(parameters: Mapping[str, object] | None = None) -> Iterator[tuple[LiveStack, LiveStack]]:
    """10.0.0.1 and 10.0.0.2, which call each other h1 and h2; also fd00::1 and fd00::2."""
    near, far = ports()
    hosts = {"h1": ("10.0.0.1", "fd00::1"), "h2": ("10.0.0.2", "fd00::2")}
    chosen = {**PARAMETERS, **(parameters or {})}

    def one(number: int, packets: MemoryPackets) -> LiveStack:
        return LiveStack(
            address=f"10.0.0.{number}/24",
            hosts=hosts,
            parameters=chosen,
            packets=packets,
            mac=bytes((2, 0, 0, 0, 0, number)),
            ipv6=f"fd00::{number}/64",
        )

    with one(1, near) as h1, one(2, far) as h2:
        yield h1, h2
