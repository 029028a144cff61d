"""Byte stream integrity under hostile wires: loss, reordering, duplication, random sizes, windows and MSS."""

from __future__ import annotations

from random import Random

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nodes.base import events
from nodes.base.clock import HOUR, MILLISECOND
from nodes.packet.tcp import Segment
from nodes.tcp import states
from nodes.tcp.connection import Connection

from .harness import Wire

PATTERN = bytes(i * 7 % 251 for i in range(70_000))


class Transfer:
    """Writes `data` on one connection in writes of random size, then closes; reads on the other in random sizes."""

    def __init__(self, wire: Wire, source: Connection, sink: Connection, data: bytes, rng: Random) -> None:
        self.wire, self.source, self.sink, self.data, self.rng = wire, source, sink, data, rng
        self.written = 0
        self.read = bytearray()

    def write(self) -> None:
        c = self.source
        while c.state in (states.ESTABLISHED, states.CLOSE_WAIT) and c.writable and not c.fin_queued:
            if self.written == len(self.data):
                c.shutdown(self.wire.now)
                return
            size = self.rng.choice((1, 100, 1460, 5000, 30_000))
            self.written += c.send(self.wire.now, self.data[self.written : self.written + size])

    def take(self) -> None:
        while self.sink.buffered:
            self.read += self.sink.receive(self.wire.now, self.rng.choice((1000, 1 << 20)))


@example(17900, 30, 14, 0, 300, 4096, 1, 88, False, "reno", "linux", 1)  # one end gives up, the other only reads
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32),
    loss=st.integers(0, 30),
    reorder=st.integers(0, 30),
    duplicate=st.integers(0, 30),
    size=st.integers(0, len(PATTERN)),
    rcvbuf=st.sampled_from((256, 1000, 4096, 65_535, 1 << 20)),
    sndbuf=st.sampled_from((1, 1000, 10_000, 1 << 20)),
    maxseg=st.sampled_from((88, 536, 1460)),
    nodelay=st.booleans(),
    congestion=st.sampled_from(("reno", "newreno", "cubic")),
    profile=st.sampled_from(("linux", "rfc")),
    timestamps=st.integers(0, 1),
)
def test_delivered_is_a_prefix_and_everything_when_complete(
    seed: int,
    loss: int,
    reorder: int,
    duplicate: int,
    size: int,
    rcvbuf: int,
    sndbuf: int,
    maxseg: int,
    nodelay: bool,
    congestion: str,
    profile: str,
    timestamps: int,
) -> None:
    """RFC 9293 section 2.2: a reliable, in-order byte stream; never a hang. Both directions at once."""
    size = min(size, 40 * maxseg, 300 * sndbuf, 80 * rcvbuf)
    rng = Random(seed)

    def fate(n: int, segment: Segment) -> list[int]:
        if rng.randrange(100) < loss:
            return []
        copies = 2 if rng.randrange(100) < duplicate else 1
        return [(5 + (rng.randrange(40) if rng.randrange(100) < reorder else 0)) * MILLISECOND for _ in range(copies)]

    wire = Wire(profile, fate=fate, level=events.LEVEL_OFF, seed=seed, tcp_timestamps=timestamps, rmem_max=1 << 20)
    options: dict[str, object] = {
        "SO_RCVBUF": rcvbuf,
        "SO_SNDBUF": sndbuf,
        "TCP_MAXSEG": maxseg,
        "TCP_NODELAY": int(nodelay),
        "TCP_CONGESTION": congestion,
    }
    listener = wire.b.tcp.listen(0, b"", 80, 4, options)
    a = wire.a.tcp.open(0, wire.b.local, 80, options=options)
    wire.run(HOUR, until=lambda: bool(listener.accept_queue) or a.state == states.CLOSED)
    b = listener.accept(wire.now)
    if b is None:
        # The handshake failed. Whoever has something outstanding learns of it.
        if a.state == states.ESTABLISHED:
            a.send(wire.now, b"?")
            wire.run(wire.now + HOUR)
        assert a.error in ("ETIMEDOUT", "ECONNRESET")
        return
    wire.run(HOUR, until=lambda: a.state != states.SYN_SENT)
    data = PATTERN[:size]
    forth = Transfer(wire, a, b, data, rng)
    back = Transfer(wire, b, a, data[::-1], rng)

    def a_ready() -> None:
        forth.write()
        back.take()

    def b_ready() -> None:
        back.write()
        forth.take()

    a.on_ready, b.on_ready = a_ready, b_ready
    a_ready()
    b_ready()
    wire.run(24 * HOUR)
    # Nothing is left to do, and both ends know how it ended.
    for transfer, expected in ((forth, data), (back, data[::-1])):
        assert expected.startswith(bytes(transfer.read))
        assert transfer.read == expected or transfer.source.error or transfer.sink.error
    for one, other in ((a, b), (b, a)):
        # Who has nothing outstanding is not told that the other has given up (RFC 9293 section 3.8.3); it may wait on.
        waits = other.error == "ETIMEDOUT" and not one.outstanding
        assert one.state == states.CLOSED or waits
