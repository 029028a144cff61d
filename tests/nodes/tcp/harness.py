"""One Tcp with a fake network, or two joined by a wire, and all that they say."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from nodes.base import events
from nodes.base.clock import MILLISECOND, NEVER
from nodes.base.errors import SocketError
from nodes.base.event_sink import EventSink
from nodes.base.random import Randomness
from nodes.packet.tcp import ACK, FIN, PSH, RST, SYN, Segment
from nodes.tcp import states
from nodes.tcp.connection import Connection
from nodes.tcp.counters import Counters
from nodes.tcp.endpoints import Tcp
from nodes.tcp.listener import Listener
from nodes.tcp.network import Network
from nodes.tcp.parameters import Parameters
from nodes.tcp.seq import MASK

HERE = bytes((10, 0, 0, 1))
PEER = bytes((10, 0, 0, 2))
HTTP = 80
FLAG_LETTERS = ((SYN, "S"), (FIN, "F"), (RST, "R"), (PSH, "P"), (ACK, "."))


#: One buffer for both profiles, so that tables of segments need not know which it is.
_BUFFERS: dict[str, Any] = {
    "tcp_adv_win_scale": 0,
    "tcp_rmem": 65_535,
    "rmem_max": 65_535,
    "tcp_wmem": 4 << 20,
    "wmem_max": 4 << 20,
}


class Sink(EventSink):
    """Keeps every event as (kind name, time, conn, cause, fields by name)."""

    def __init__(self, level: int = events.LEVEL_ALL) -> None:
        super().__init__(level)
        self.names: dict[str, int] = {"": 0}
        self.events: list[tuple[str, int, int, int, dict[str, int]]] = []

    def name(self, text: str) -> int:
        return self.names.setdefault(text, len(self.names))

    def text(self, number: int) -> str:
        return list(self.names)[number]

    def emit(self, kind: int, time_ns: int, node: int, conn: int, cause: int, values: tuple[int, ...]) -> None:
        known = events.KIND_BY_NUMBER[kind]
        fields = dict(zip((f.name for f in known.fields), values, strict=True))
        self.events.append((known.name, time_ns, conn, cause, fields))

    def of(self, kind: str) -> list[dict[str, int]]:
        return [
            {**fields, "cause": cause, "time": time, "conn": conn}
            for known, time, conn, cause, fields in self.events
            if known == kind
        ]

    def path(self, conn: int) -> list[str]:
        """The states of one connection, first to last."""
        moves = [(e["old"], e["new"]) for e in self.of("state") if e["conn"] == conn]
        return [states.STATE_NAMES[old] for old, _ in moves[:1]] + [states.STATE_NAMES[new] for _, new in moves]


def letters(segment: Segment) -> str:
    """Flags as tcpdump writes them: `S`, `S.`, `P.`, `F.`, `R` ..."""
    return "".join(letter for bit, letter in FLAG_LETTERS if segment.flags & bit)


class FakeNetwork(Network):
    """Collects what TCP sends."""

    def __init__(self, local: bytes, mtu: int = 1500) -> None:
        self.local = local
        self.mtu = mtu
        self.until = NEVER
        self.sent: list[tuple[int, bytes, bytes, Segment, int, int, bool]] = []

    def transmit(self, now: int, src: bytes, dst: bytes, segment: Segment, conn: int, cause: int, resent: bool) -> None:
        self.sent.append((now, src, dst, segment, conn, cause, resent))

    def source_for(self, dst: bytes) -> bytes:
        if dst[:1] != b"\x0a":
            raise SocketError("ENETUNREACH", "network is unreachable")
        return self.local

    def is_local(self, address: bytes) -> bool:
        return address == self.local

    def is_broadcast(self, address: bytes) -> bool:
        return False

    def mtu_to(self, now: int, dst: bytes) -> int:
        return self.mtu

    def mtu_until(self, dst: bytes) -> int:
        return self.until

    def link_mtu(self, dst: bytes) -> int:
        return self.mtu


class Host:
    """One Tcp under test; the test plays its peer."""

    def __init__(self, profile: str = "linux", local: bytes = HERE, seed: int = 1, **knobs: Any) -> None:
        self.now = 0
        self.sink = Sink()
        self.network = FakeNetwork(local)
        self.parameters = Parameters(profile)
        for name, value in {**_BUFFERS, **knobs}.items():
            self.parameters.set(name, value)
        self.counters = Counters()
        self.tcp = Tcp("h1", self.network, self.parameters, Randomness(seed), self.sink, self.counters)
        self.local = local

    def take(self) -> list[Segment]:
        """What was sent since the last time asked."""
        sent = [entry[3] for entry in self.network.sent]
        self.network.sent.clear()
        return sent

    def run_until(self, time_ns: int) -> None:
        """Let the timers run, and time move, up to `time_ns`."""
        while (deadline := self.tcp.next_deadline()) <= time_ns:
            self.now = max(self.now, deadline)
            self.tcp.on_timer(self.now)
        self.now = time_ns

    def after(self, duration_ns: int) -> None:
        self.run_until(self.now + duration_ns)


class Peer:
    """The other end of one connection of `host`, played by hand. Numbers are relative to the two ISNs."""

    def __init__(self, host: Host, port: int, local_port: int, iss: int = 9000) -> None:
        self.host = host
        self.port = port
        self.local_port = local_port
        self.iss = iss
        self.irs = 0
        #: TSval to send, or None; the TSecr goes with it.
        self.tsval: int | None = None
        self.tsecr = 0

    def segment(
        self, flags: int, seq: int, ack: int = 0, payload: bytes = b"", window: int = 65535, **options: Any
    ) -> Segment:
        raw_ack = (self.irs + ack) & MASK if flags & ACK else 0
        segment = Segment(self.port, self.local_port, (self.iss + seq) & MASK, raw_ack, flags, window, payload)
        if self.tsval is not None:
            segment.tsval = self.tsval
            segment.tsecr = self.tsecr
        for name, value in options.items():
            setattr(segment, name, value)
        return segment

    def send(
        self, flags: int, seq: int, ack: int = 0, payload: bytes = b"", window: int = 65535, **options: Any
    ) -> list[str]:
        """Give a segment to the host; returns what it sent in answer, see `got`."""
        segment = self.segment(flags, seq, ack, payload, window, **options)
        self.host.tcp.on_segment(self.host.now, PEER, self.host.local, segment, 0, 0)
        return self.got()

    def got(self) -> list[str]:
        """What the host has sent since last asked, as `flags seq:end(len) ack`, relative."""
        return [self.show(segment) for segment in self.host.take()]

    def show(self, segment: Segment) -> str:
        seq = (segment.seq - self.irs) & MASK
        text = f"{letters(segment)} {seq}:{seq + len(segment.payload)}({len(segment.payload)})"
        if segment.flags & ACK:
            text += f" ack {(segment.ack - self.iss) & MASK}"
        return text


def client(
    host: Host,
    window: int = 65535,
    mss: int = 1460,
    scale: int | None = None,
    tsval: int | None = None,
    options: dict[str, object] | None = None,
) -> tuple[Connection, Peer]:
    """A connection of `host` opened actively and established with a hand-played peer. No timestamps unless asked."""
    if tsval is None:
        host.parameters.set("tcp_timestamps", 0)
    c = host.tcp.open(host.now, PEER, HTTP, options=options)
    peer = Peer(host, HTTP, c.local_port)
    (syn,) = host.take()
    peer.irs = syn.seq
    answer: dict[str, Any] = {"mss": mss}
    if scale is not None:
        answer["window_scale"] = scale
    if tsval is not None:
        peer.tsval = tsval
        peer.tsecr = syn.tsval
    assert peer.send(SYN | ACK, 0, 1, window=window, **answer) == [". 1:1(0) ack 1"]
    assert c.state == states.ESTABLISHED
    return c, peer


def server(
    host: Host, backlog: int = 16, port: int = 5000, listener: Listener | None = None
) -> tuple[Connection, Peer]:
    """A connection accepted by a listener of `host`, from a hand-played peer without timestamps."""
    listener = listener or host.tcp.listen(host.now, b"", HTTP, backlog)
    peer = Peer(host, port, HTTP)
    host.tcp.on_segment(host.now, PEER, host.local, peer.segment(SYN, 0, mss=1460), 0, 0)
    peer.irs = host.take()[0].seq
    assert peer.send(ACK, 1, 1) == []
    c = listener.accept(host.now)
    assert c is not None
    return c, peer


#: What a wire does with a segment: the delays after which it arrives, none for a loss.
Fate = Callable[[int, Segment], list[int]]


class Wire:
    """Two Tcps and what lies between. `fate(n, segment)` decides over the n-th segment; equal times keep order."""

    def __init__(
        self,
        profile: str = "linux",
        delay: int = 5 * MILLISECOND,
        fate: Fate | None = None,
        level: int = events.LEVEL_ALL,
        seed: int = 1,
        **knobs: Any,
    ) -> None:
        self.a = Host(profile, HERE, seed, **knobs)
        self.b = Host(profile, PEER, seed + 1, **knobs)
        self.hosts = (self.a, self.b)
        for host in self.hosts:
            host.sink.level = level
        self.delay = delay
        self.fate: Fate = fate or (lambda n, segment: [self.delay])
        self.now = 0
        self.count = 0
        self.log: list[tuple[int, str, Segment]] = []
        self._heap: list[tuple[int, int, Host, bytes, bytes, Segment]] = []
        self._number = 0

    def collect(self) -> None:
        for host in self.hosts:
            sent = host.network.sent
            if not sent:
                continue
            for now, src, dst, segment, _, _, _ in sent:
                to = self.a if dst == self.a.local else self.b
                self.log.append((now, "a" if host is self.a else "b", segment))
                for delay in self.fate(self.count, segment):
                    self._number += 1
                    heapq.heappush(self._heap, (now + delay, self._number, to, src, dst, segment))
                self.count += 1
            sent.clear()

    def step(self, limit: int) -> bool:
        """The next thing that happens, if it is not after `limit`."""
        self.collect()
        arrival = self._heap[0][0] if self._heap else NEVER
        timer = min(host.tcp.next_deadline() for host in self.hosts)
        instant = min(arrival, timer)
        if instant == NEVER or instant > limit:
            return False
        self.now = max(self.now, instant)
        for host in self.hosts:
            host.now = self.now
        if arrival <= timer:
            _, _, to, src, dst, segment = heapq.heappop(self._heap)
            to.tcp.on_segment(self.now, src, dst, segment, 0, 0)
        else:
            for host in self.hosts:
                host.tcp.on_timer(self.now)
        return True

    def run(self, limit: int = NEVER - 1, until: Callable[[], bool] | None = None) -> None:
        """Run until nothing is left to do, or `limit`, or `until()`."""
        while (until is None or not until()) and self.step(limit):
            pass

    def connect(self, options: dict[str, object] | None = None) -> tuple[Connection, Connection]:
        """A connection from a to b, established at both ends."""
        listener = self.b.tcp.listen(self.now, b"", HTTP, 16, options)
        c = self.a.tcp.open(self.now, PEER, HTTP, options=options)
        self.run(until=lambda: bool(listener.accept_queue))
        s = listener.accept(self.now)
        assert s is not None
        return c, s
