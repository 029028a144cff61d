"""Frames from and to an interface: an AF_PACKET socket (packet(7))."""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

from nodes.base.errors import InvalidArgument, NotFound, Unsupported
from nodes.drivers.arrived import Arrived, Tally
from nodes.drivers.messages import Messages
from nodes.drivers.ring import Ring

_SOL_PACKET: Final = 263
_PACKET_ADD_MEMBERSHIP: Final = 1
_PACKET_STATISTICS: Final = 6
_PACKET_IGNORE_OUTGOING: Final = 23
_PACKET_MR_PROMISC: Final = 1
_ETH_P_ALL: Final = 3
_SIOCGIFMTU: Final = 0x8921
#: Longest name of an interface.
_NAME_LEN: Final = 15
#: struct ifreq: name, and a union whose int is the MTU.
_IFREQ: Final = struct.Struct("@16si20x")
#: struct packet_mreq: interface index, type, address length, address.
_MEMBERSHIP: Final = struct.Struct("@iHH8s")
#: struct tpacket_stats: packets, drops.
_STATISTICS: Final = struct.Struct("@II")

#: Why a frame cannot leave at the moment, or this frame not at all; whoever sends on a wire is not told either.
_NOT_SENT: Final = frozenset(
    {
        errno.EAGAIN,
        errno.ENOBUFS,
        errno.ENETDOWN,
        errno.EBADF,  # the socket is closed
        errno.ENXIO,  # the interface is gone
        errno.ENODEV,
        errno.EMSGSIZE,  # longer than the MTU
        errno.EINVAL,  # shorter than an Ethernet header
    }
)

_THREADS: Final = 32

#: Frames the ring holds. At MTU 1500 that is 0.8 MB of kernel memory for a socket.
RING_FRAMES: Final = 512


@dataclass(frozen=True, slots=True)
class PacketStatistics:
    """Frames since the socket was opened. `dropped` by the kernel because nobody took them in time; they are not in
    `received`. `too_long` and `checksum_missing` as in `Tally`; `not_sent`: refused by the interface."""

    received: int
    dropped: int
    too_long: int
    checksum_missing: int
    sent: int
    not_sent: int


class PacketSocket:
    """All frames that arrive at `interface` of the calling thread's network namespace, whomever they are for, and none
    that leave by it; where the thread goes afterwards does not matter. Nothing here blocks.

    `ring_frames` is how many frames can wait: they are kept in a ring of `memory` bytes, about (MTU + 100) for each
    frame, shared with the kernel; 0, or a kernel that gives none: in the socket's receive buffer, which is slower
    (`has_ring` tells). Frames longer than the interface's MTU at this moment are not received.

    Raises NotFound without such an interface, InvalidArgument for a name that is none, Unsupported without
    CAP_NET_RAW or on a kernel that is too old.
    """

    def __init__(self, interface: str, *, ring_frames: int = RING_FRAMES, promiscuous: bool = True) -> None:
        if not 0 < len(interface.encode()) <= _NAME_LEN:
            raise InvalidArgument(f"interface: {interface!r} is not a name of 1 to {_NAME_LEN} bytes", "interface")
        if ring_frames < 0:
            raise InvalidArgument(f"ring_frames: {ring_frames} is not allowed; 0 and more is", "ring_frames")
        self.interface = interface
        self._tally = Tally()
        self._received = 0
        self._dropped = 0
        self._sent = 0
        self._not_sent = 0
        try:
            # Protocol 0: nothing is received before bind says from where. Else every frame of the namespace would be.
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        except PermissionError:
            raise Unsupported(
                f"a packet socket on {interface} needs CAP_NET_RAW in its network namespace: be root, or in a user "
                "namespace that owns it (unshare -rn)"
            ) from None
        try:
            self._source = self._open(ring_frames, promiscuous)
        except BaseException:
            self._socket.close()
            raise
        self._receive = self._source.receive
        self._send = self._socket.send

    def _open(self, ring_frames: int, promiscuous: bool) -> Ring | Messages:
        descriptor = self._socket
        try:
            answer = fcntl.ioctl(descriptor, _SIOCGIFMTU, _IFREQ.pack(self.interface.encode(), 0))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            raise NotFound(f"no interface {self.interface} in this network namespace") from None
        mtu: int = _IFREQ.unpack(answer)[1]
        try:
            descriptor.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        except OSError as error:
            if error.errno != errno.ENOPROTOOPT:
                raise
            raise Unsupported("packet sockets that ignore outgoing frames need Linux 4.20 or later") from None
        source: Ring | Messages
        try:
            source = Ring(descriptor, ring_frames, mtu, self._tally)
        except OSError:
            source = Messages(descriptor, ring_frames or RING_FRAMES, mtu, self._tally)
        descriptor.bind((self.interface, _ETH_P_ALL))
        if promiscuous:
            index = socket.if_nametoindex(self.interface)
            membership = _MEMBERSHIP.pack(index, _PACKET_MR_PROMISC, 0, bytes(8))
            descriptor.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
        return source

    @property
    def has_ring(self) -> bool:
        """Whether frames are received through shared memory."""
        return isinstance(self._source, Ring)

    @property
    def memory(self) -> int:
        """Bytes of kernel memory that received frames may take."""
        return self._source.size

    def fileno(self) -> int:
        """Readable when there are frames, or when the interface has gone down: `receive` then says nothing."""
        return self._socket.fileno()

    def receive(self, budget: int) -> list[Arrived]:
        """Up to `budget` frames, in the order in which they came, each with the kernel's time stamp of its arrival, ns
        of CLOCK_REALTIME."""
        frames = self._receive(budget)
        if not frames:
            # An interface that went down leaves an error, which would make the descriptor readable for ever.
            self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return frames

    def send(self, frame: bytes) -> bool:
        """Send a frame, beginning with its Ethernet header. False, and counted, when the interface does not take it:
        it is down, gone, full, or the frame is longer than its MTU or shorter than a header."""
        try:
            self._send(frame)
        except OSError as error:
            if error.errno not in _NOT_SENT:
                raise
            self._not_sent += 1
            return False
        self._sent += 1
        return True

    def statistics(self) -> PacketStatistics:
        """What was counted since the socket was opened."""
        # The kernel starts again from 0 at each look, and counts what it dropped as received too.
        seen, dropped = _STATISTICS.unpack(self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size))
        self._received += seen - dropped
        self._dropped += dropped
        tally = self._tally
        return PacketStatistics(
            self._received, self._dropped, tally.too_long, tally.checksum_missing, self._sent, self._not_sent
        )

    def close(self) -> None:
        """Receive and send nothing any more. Idempotent."""
        self._source.close()
        self._socket.close()


def open_sockets(interfaces: Sequence[str], *, ring_frames: int = RING_FRAMES) -> list[PacketSocket]:
    """A PacketSocket on each, or none and what PacketSocket raises.

    For each ring the kernel waits some 10 ms, and as long again when it is closed; here it waits for many at once.
    """
    if len(interfaces) < 2:
        return [PacketSocket(interface, ring_frames=ring_frames) for interface in interfaces]
    opened: list[PacketSocket] = []
    with ThreadPoolExecutor(min(len(interfaces), _THREADS)) as threads:
        openings = [threads.submit(partial(PacketSocket, each, ring_frames=ring_frames)) for each in interfaces]
        failure: BaseException | None = None
        for opening in openings:
            error = opening.exception()
            if error is None:
                opened.append(opening.result())
            failure = failure or error
    if failure is not None:
        close_sockets(opened)
        raise failure
    return opened


def close_sockets(sockets: Iterable[PacketSocket]) -> None:
    """Close them all, which takes little longer than closing one."""
    with ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(PacketSocket.close, sockets))
