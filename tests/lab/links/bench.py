"""One direction of a link on a bench: frames go in at chosen instants, what comes out is noted with its instant."""

from __future__ import annotations

from typing import Any

from lab.attacks.forge import tcp_frame, tcp_packet
from lab.links.direction import Direction
from lab.links.impairments import NO_IMPAIRMENTS, Impairments
from lab.links.link import Link
from nodes.base.clock import SimScheduler
from nodes.base.errors import NotFound
from nodes.base.event_sink import EventSink
from nodes.base.events import KIND_BY_NUMBER, LEVEL_ALL, VERDICTS
from nodes.base.random import Randomness

H1, H2 = b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x02"
MAC1, MAC2 = b"\x02\x00\x00\x00\x00\x01", b"\x02\x00\x00\x00\x00\x02"
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


class Recorder(EventSink):
    """Keeps events as (kind's name, instant, values by field, tail)."""

    def __init__(self, level: int = LEVEL_ALL, capture: bool = False) -> None:
        super().__init__(level, capture)
        self.names = [""]
        self.events: list[tuple[str, int, dict[str, Any], bytes]] = []

    def name(self, text: str) -> int:
        if text not in self.names:
            self.names.append(text)
        return self.names.index(text)

    def emit(self, kind: int, time_ns: int, node: int, conn: int, cause: int, values: tuple[int, ...]) -> None:
        self.emit_tail(kind, time_ns, node, conn, cause, values, b"")

    def emit_tail(
        self, kind: int, time_ns: int, node: int, conn: int, cause: int, values: tuple[int, ...], tail: bytes
    ) -> None:
        fields = KIND_BY_NUMBER[kind].fields
        self.events.append(
            (KIND_BY_NUMBER[kind].name, time_ns, dict(zip((field.name for field in fields), values, strict=True)), tail)
        )

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The fields of all events of a kind."""
        return [fields for name, _, fields, _ in self.events if name == kind]

    def verdicts(self) -> list[tuple[int, str]]:
        """(frame, verdict) in their order."""
        return [(fields["frame"], VERDICTS[fields["verdict"]]) for fields in self.of("verdict")]


def resolve(name: str) -> list[bytes]:
    """Addresses of the nodes h1 and h2."""
    if name not in ("h1", "h2"):
        raise NotFound(f"there is no node {name}; there are h1, h2")
    return [H1 if name == "h1" else H2]


class Bench:
    """A link h1-r1; `offer` puts a frame in at h1, `out` is what came out at r1, `back` what came out at h1."""

    def __init__(
        self,
        impairments: Impairments = NO_IMPAIRMENTS,
        seed: int = 1,
        level: int = LEVEL_ALL,
        capture: bool = False,
    ) -> None:
        self.scheduler = SimScheduler()
        self.sink = Recorder(level, capture)
        self.link = Link(
            "h1-r1", "h1", "r1", (impairments, NO_IMPAIRMENTS), self.scheduler, Randomness(seed), self.sink, resolve
        )
        self.out: list[tuple[int, bytes]] = []
        self.back: list[tuple[int, bytes]] = []
        self.link.forward.deliver = lambda frame: self.out.append((self.scheduler.now(), frame))
        self.link.backward.deliver = lambda frame: self.back.append((self.scheduler.now(), frame))

    @property
    def direction(self) -> Direction:
        return self.link.forward

    def offer(self, time_ns: int, *frames: bytes) -> None:
        for frame in frames:
            self.scheduler.call_at(time_ns, self.direction.send, frame)

    def at(self, time_ns: int, call: Any) -> None:
        self.scheduler.call_at(time_ns, lambda _: call(), None)

    def run(self) -> Bench:
        while self.scheduler.run_next():
            pass
        return self

    @property
    def frames(self) -> list[bytes]:
        """What came out, without instants."""
        return [frame for _, frame in self.out]


def plain(number: int, length: int = 100) -> bytes:
    """A frame of no known protocol that carries its number."""
    return number.to_bytes(4, "big") + bytes(length - 4)


def number_of(frame: bytes) -> int:
    return int.from_bytes(frame[:4], "big")


def segment(seq: int = 1000, flags: int = ACK, payload: bytes = b"", ack: int = 0, port: int = 80) -> bytes:
    """A TCP frame from h1, port 40000, to h2."""
    return tcp_frame(MAC2, MAC1, tcp_packet(H1, H2, 40000, port, seq, ack, flags, 1000, payload))


def answer(seq: int = 5000, flags: int = ACK, payload: bytes = b"", ack: int = 0, port: int = 80) -> bytes:
    """A TCP frame from h2 to h1, port 40000."""
    return tcp_frame(MAC1, MAC2, tcp_packet(H2, H1, port, 40000, seq, ack, flags, 1000, payload))
