"""What an observer on a link knows of the connections that pass: sequence numbers, bytes, who is who."""

from __future__ import annotations

from lab.attacks.forge import segment_length
from lab.links.frame import FrameView
from nodes.packet.tcp import ACK, SYN

_HALF = 1 << 31
_MASK = 0xFFFFFFFF
_MAX_GAPS = 1000


class Stream:
    """One direction of a connection, as seen where it leaves the link.

    `next` is the sequence number the receiver expects if all that was seen reaches it; None while nothing is known.
    """

    def __init__(self, sender: bytes, sender_port: int) -> None:
        self.sender = sender
        self.sender_port = sender_port
        self.next: int | None = None
        self.bytes = 0
        self.dst_mac = b""
        self.src_mac = b""
        self._ahead: list[tuple[int, int]] = []  # seen beyond a gap: (sequence number, length)

    def saw(self, view: FrameView) -> None:
        """A segment of this direction passed."""
        self.dst_mac = view.data[:6]
        self.src_mac = view.data[6:12]
        seq = view.u32(view.tcp + 4)
        length = segment_length(view)
        if self.next is None or view.data[view.tcp + 13] & SYN:
            self.next = seq
            self._ahead.clear()
        if length:
            self._advance(seq, length, view.payload_end - view.payload)

    def acknowledged(self, number: int) -> None:
        """The receiver says what it expects: it may know more than was seen here."""
        if self.next is None or 0 < (number - self.next) & _MASK < _HALF:
            self.next = number
            self._close_gaps()

    def _advance(self, seq: int, length: int, payload: int) -> None:
        assert self.next is not None
        offset = (seq - self.next) & _MASK
        if 0 < offset < _HALF:
            if len(self._ahead) < _MAX_GAPS:
                self._ahead.append((seq, length))
            return
        new = (seq + length - self.next) & _MASK
        if 0 < new < _HALF:
            self.bytes += min(new, payload)
            self.next = (seq + length) & _MASK
            self._close_gaps()

    def _close_gaps(self) -> None:
        moved = bool(self._ahead)
        while moved and self.next is not None:
            moved = False
            waiting, self._ahead = self._ahead, []
            for seq, length in waiting:
                offset = (seq - self.next) & _MASK
                if 0 < offset < _HALF:
                    self._ahead.append((seq, length))
                    continue
                new = (seq + length - self.next) & _MASK
                if 0 < new < _HALF:
                    self.bytes += new
                    self.next = (seq + length) & _MASK
                    moved = True


class Flow:
    """A connection: `to_server` and `to_client` are its two streams."""

    def __init__(self, to_server: Stream, to_client: Stream) -> None:
        self.to_server = to_server
        self.to_client = to_client

    @property
    def bytes(self) -> int:
        """Payload bytes that passed for the first time, both ways."""
        return self.to_server.bytes + self.to_client.bytes


class Flows:
    """The connections seen on a link. The client is who sent the SYN; where none was seen, who has the higher port."""

    MAX = 10_000

    def __init__(self) -> None:
        self.flows: dict[bytes, Flow] = {}  # by addresses and ports, lower end first; the latest seen last

    def saw(self, frame: bytes) -> Flow | None:
        """A frame passed. The flow it belongs to; None when it is not TCP."""
        view = FrameView(frame)
        if view.tcp < 0:
            return None
        src, dst = view.src, view.dst
        src_port, dst_port = view.u16(view.tcp), view.u16(view.tcp + 2)
        flags = frame[view.tcp + 13]
        key = _key(src, src_port, dst, dst_port)
        flow = self.flows.pop(key, None)
        if flow is None or flags & (SYN | ACK) == SYN:
            if len(self.flows) >= self.MAX:
                self.flows.pop(next(iter(self.flows)))
            from_client = flags & SYN != 0 and not flags & ACK if flags & SYN else src_port > dst_port
            sent, answered = Stream(src, src_port), Stream(dst, dst_port)
            flow = Flow(sent, answered) if from_client else Flow(answered, sent)
        self.flows[key] = flow
        forward = (flow.to_server.sender, flow.to_server.sender_port) == (src, src_port)
        stream, opposite = (flow.to_server, flow.to_client) if forward else (flow.to_client, flow.to_server)
        stream.saw(view)
        if flags & ACK:
            opposite.acknowledged(view.u32(view.tcp + 8))
        return flow

    def find(self, address: bytes, port: int, peer: bytes, peer_port: int) -> Flow | None:
        """The connection between two ends, in either order."""
        return self.flows.get(_key(address, port, peer, peer_port))


def _key(src: bytes, src_port: int, dst: bytes, dst_port: int) -> bytes:
    one, other = src + src_port.to_bytes(2, "big"), dst + dst_port.to_bytes(2, "big")
    return one + other if one <= other else other + one
