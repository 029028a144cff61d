"""A small made-up run, given to a sink as nodes and links would: two hosts, real frames, a script of what happens."""

from __future__ import annotations

import struct
from pathlib import Path

from lab.trace.spool import SpoolWriter
from nodes.base import causes, events
from nodes.base.clock import MILLISECOND, SimScheduler
from nodes.base.events import DELIVERY, FRAME, RECEIVED, SEGMENT, SENT, UNKNOWN
from nodes.tcp import states

FIN, SYN, RST, ACK = 1, 2, 4, 16
ISN = (4_294_967_000, 5_000)
ADDRESSES = ("10.0.0.1", "10.0.0.2")
PORTS = (49_152, 80)
MS = MILLISECOND


def checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frame(side: int, seq: int, ack: int, flags: int, payload: bytes, ident: int, port: int = PORTS[0]) -> bytes:
    """Ethernet, IPv4, TCP, right checksums."""
    src, dst = (bytes(map(int, ADDRESSES[one].split("."))) for one in (side, 1 - side))
    ports = (port, PORTS[1]) if side == 0 else (PORTS[1], port)
    tcp = struct.pack(">HHIIBBHHH", *ports, seq, ack, 5 << 4, flags, 65_000, 0, 0) + payload
    pseudo = src + dst + struct.pack(">BBH", 0, 6, len(tcp))
    tcp = tcp[:16] + struct.pack(">H", checksum(pseudo + tcp)) + tcp[18:]
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), ident, 0x4000, 64, 6, 0) + src + dst
    ip = ip[:10] + struct.pack(">H", checksum(ip)) + ip[12:]
    macs = bytes([2, 0, 0, 0, 0, 2 - side]), bytes([2, 0, 0, 0, 0, 1 + side])
    return macs[0] + macs[1] + b"\x08\x00" + ip + tcp


class World:
    """Two hosts and a link of 10 ms; `at(ms, ...)` scripts it, `run()` plays it in order of time."""

    def __init__(self, path: Path, level: int = events.LEVEL_ALL, capture: bool = True) -> None:
        self.sink = SpoolWriter(path, level, capture)
        self.clock = SimScheduler()
        self.node = [self.sink.name("h1"), self.sink.name("h2")]
        self.interface = [self.sink.name("h1:eth0"), self.sink.name("h2:eth0")]
        self.address = [self.sink.name(address) for address in ADDRESSES]
        self.link = [
            self.sink.name("h1-h2/h1:eth0->h2:eth0"),
            self.sink.name("h1-h2/h2:eth0->h1:eth0"),
        ]
        self.sent = [0, 0]
        self.on_link = [0, 0]
        self.received = [0, 0]

    def at(self, ms: float, what: object, *args: object) -> None:
        self.clock.call_at(int(ms * MS), lambda _: what(*args), None)  # type: ignore[operator]

    def run(self) -> None:
        while self.clock.run_next():
            pass
        self.sink.close()

    def open(self, side: int, conn: int, port: int = PORTS[0]) -> None:
        ports = (port, PORTS[1]) if side == 0 else (PORTS[1], port)
        local, remote = self.address[side], self.address[1 - side]
        self.sink.connection(self.clock.now(), self.node[side], conn, 1 + side, local, ports[0], remote, ports[1])

    def state(self, side: int, conn: int, cause: int, old: int, new: int) -> None:
        self.sink.state(self.clock.now(), self.node[side], conn, cause, old, new)

    def segment(
        self,
        side: int,
        conn: int,
        cause: int,
        flags: int,
        seq: int,
        ack: int,
        length: int = 0,
        resent: bool = False,
        verdict: int = events.VERDICT_PASSED,
        rule: str = "",
        injected: bool = False,
        port: int = PORTS[0],
    ) -> None:
        """A segment with relative numbers leaves `side`; it arrives 10 ms later unless the verdict is a drop."""
        now, sink = self.clock.now(), self.sink
        raw_seq = (ISN[side] + seq) & 0xFFFFFFFF
        raw_ack = (ISN[1 - side] + ack) & 0xFFFFFFFF if flags & ACK else 0
        ports = (port, PORTS[1]) if side == 0 else (PORTS[1], port)
        mss = 1460 if flags & SYN else UNKNOWN

        def record(direction: int, at: int, ordinal: int, number: int, why: int) -> None:
            if sink.level >= events.LEVEL_SEGMENTS:
                sink.emit(
                    SEGMENT,
                    self.clock.now(),
                    self.node[at],
                    number,
                    why,
                    (
                        direction,
                        self.interface[at],
                        ordinal,
                        self.address[side],
                        ports[0],
                        self.address[1 - side],
                        ports[1],
                        raw_seq,
                        raw_ack,
                        flags,
                        65_000,
                        length,
                        mss,
                        UNKNOWN,
                        UNKNOWN,
                        UNKNOWN,
                        0,
                        int(resent),
                    ),
                )

        self.on_link[side] += 1
        number = self.on_link[side]
        data = frame(side, raw_seq, raw_ack, flags, bytes(length), number, port)
        if not injected:
            self.sent[side] += 1
            record(SENT, side, self.sent[side], conn, cause)
        if sink.capture:
            sink.emit_tail(FRAME, now, 0, 0, 0, (self.link[side], number), data)
        if injected:
            sink.verdict(now, self.link[side], number, events.VERDICT_INJECTED, 0, 0)
        dropped = verdict in (events.VERDICT_DROPPED_LOSS, events.VERDICT_DROPPED_RULE)
        sink.verdict(now, self.link[side], number, verdict, sink.name(rule), 0 if dropped else 10 * MS)
        if dropped:
            return

        def arrive(_: object) -> None:
            if sink.capture:
                sink.emit_tail(DELIVERY, self.clock.now(), 0, 0, 0, (self.link[side], number, 0, 0), b"")
            self.received[1 - side] += 1
            record(RECEIVED, 1 - side, self.received[1 - side], conn, 0)

        self.clock.call_at(now + 10 * MS, arrive, None)


def lossy_transfer(path: Path, level: int = events.LEVEL_ALL, capture: bool = True) -> None:
    """Connection 1: lost SYN-ACK, 40 segments of 1000 bytes with the 12th lost and sent again, four-way close.
    Connection 2: opened, then reset by an attack; a second RST is ignored."""
    w = World(path, level, capture)
    c, s = causes, states
    w.at(0, w.open, 0, 1)
    w.at(0, w.state, 0, 1, c.USER_ACTIVE_OPEN, s.CLOSED, s.SYN_SENT)
    w.at(0, w.segment, 0, 1, c.HANDSHAKE, SYN, 0, 0)
    w.at(10, w.open, 1, 1)
    w.at(10, w.state, 1, 1, c.SYN_RECEIVED, s.LISTEN, s.SYN_RECEIVED)
    by_rule = events.VERDICT_DROPPED_RULE
    w.at(10, lambda: w.segment(1, 1, c.HANDSHAKE, SYN | ACK, 0, 1, verdict=by_rule, rule="lose-syn-ack"))
    w.at(1000, lambda: w.sink.retransmit(1000 * MS, w.node[0], 1, c.RETRANSMIT_SYN, ISN[0], 0, 1))
    w.at(1000, lambda: w.segment(0, 1, c.RETRANSMIT_SYN, SYN, 0, 0, resent=True))
    w.at(1010, lambda: w.segment(1, 1, c.RETRANSMIT_SYN_ACK, SYN | ACK, 0, 1, resent=True))
    w.at(1020, w.state, 0, 1, c.SYN_ACK_RECEIVED, s.SYN_SENT, s.ESTABLISHED)
    w.at(1020, w.segment, 0, 1, c.ACK_NOW, ACK, 1, 1)
    w.at(1030, w.state, 1, 1, c.ACK_OF_SYN, s.SYN_RECEIVED, s.ESTABLISHED)
    w.at(1025, lambda: w.sink.call(1025 * MS, w.node[0], 1, events.CALL_SEND, 40_000))
    for i in range(40):
        lost = i == 11
        t = 1030 + i
        verdict = events.VERDICT_DROPPED_LOSS if lost else events.VERDICT_PASSED

        def data(i: int = i, verdict: int = verdict, t: int = t) -> None:
            w.segment(0, 1, c.NEW_DATA, ACK, 1 + 1000 * i, 1, 1000, verdict=verdict)
            w.sink.cwnd(
                t * MS,
                w.node[0],
                1,
                c.SLOW_START,
                10_000 + 1000 * min(i, 11),
                UNKNOWN if i < 15 else 10_000,
                1000 * min(i + 1, 20),
                UNKNOWN,
                1000,
            )

        def ack(i: int = i, lost: bool = lost, t: int = t) -> None:
            if lost:
                return
            out = 11 < i < 36
            w.segment(1, 1, c.ACK_OUT_OF_ORDER if out else c.ACK_NOW, ACK, 1, 1 + 1000 * (11 if out else i + 1))
            w.sink.rtt((t + 10) * MS, w.node[0], 1, 20 * MS + i * MS // 10, 20 * MS, 2 * MS, 200 * MS)

        w.at(t, data)
        w.at(t + 10, ack)
    w.at(1065.5, lambda: w.sink.recovery(int(1065.5 * MS), w.node[0], 1, c.FAST_RETRANSMIT, True, 1, ISN[0]))
    w.at(1065.5, lambda: w.sink.retransmit(int(1065.5 * MS), w.node[0], 1, c.RETRANSMIT_FAST, 10_704, 1000, 1))
    w.at(1065.5, lambda: w.segment(0, 1, c.RETRANSMIT_FAST, ACK, 11_001, 1, 1000, resent=True))
    w.at(1100, lambda: w.sink.call(1100 * MS, w.node[1], 1, events.CALL_RECEIVE, 40_000))
    w.at(1200, w.state, 0, 1, c.USER_CLOSE, s.ESTABLISHED, s.FIN_WAIT_1)
    w.at(1200, w.segment, 0, 1, c.FIN_SENT, FIN | ACK, 40_001, 1)
    w.at(1210, w.state, 1, 1, c.FIN_RECEIVED, s.ESTABLISHED, s.CLOSE_WAIT)
    w.at(1210, w.segment, 1, 1, c.ACK_NOW, ACK, 1, 40_002)
    w.at(1220, w.state, 0, 1, c.ACK_OF_FIN, s.FIN_WAIT_1, s.FIN_WAIT_2)
    w.at(1230, w.state, 1, 1, c.USER_CLOSE, s.CLOSE_WAIT, s.LAST_ACK)
    w.at(1230, w.segment, 1, 1, c.FIN_SENT, FIN | ACK, 1, 40_002)
    w.at(1240, w.state, 0, 1, c.FIN_RECEIVED, s.FIN_WAIT_2, s.TIME_WAIT)
    w.at(1240, w.segment, 0, 1, c.ACK_NOW, ACK, 40_002, 2)
    w.at(1250, w.state, 1, 1, c.ACK_OF_FIN, s.LAST_ACK, s.CLOSED)
    w.at(61_240, w.state, 0, 1, c.TIME_WAIT_EXPIRED, s.TIME_WAIT, s.CLOSED)

    port = 49_153
    w.at(2000, w.open, 0, 2, port)
    w.at(2000, w.state, 0, 2, c.USER_ACTIVE_OPEN, s.CLOSED, s.SYN_SENT)
    w.at(2000, lambda: w.segment(0, 2, c.HANDSHAKE, SYN, 0, 0, port=port))
    w.at(2010, w.open, 1, 2, port)
    w.at(2010, w.state, 1, 2, c.SYN_RECEIVED, s.LISTEN, s.SYN_RECEIVED)
    w.at(2010, lambda: w.segment(1, 2, c.HANDSHAKE, SYN | ACK, 0, 1, port=port))
    w.at(2020, w.state, 0, 2, c.SYN_ACK_RECEIVED, s.SYN_SENT, s.ESTABLISHED)
    w.at(2020, lambda: w.segment(0, 2, c.ACK_NOW, ACK, 1, 1, port=port))
    w.at(2030, w.state, 1, 2, c.ACK_OF_SYN, s.SYN_RECEIVED, s.ESTABLISHED)
    attack = w.sink.name("rst-on-path")
    w.at(2040, lambda: w.segment(0, 2, 0, RST, 9, 0, injected=True, port=port))
    w.at(2040, lambda: w.sink.attack(2040 * MS, attack, events.ATTACK_INJECTED, 1, "RST to h2"))
    w.at(2050, lambda: w.sink.reset(2050 * MS, w.node[1], 2, c.RST_NOT_EXACT, RECEIVED, False, ISN[0] + 9))
    w.at(2050, lambda: w.sink.challenge_ack(2050 * MS, w.node[1], 2, c.RST_NOT_EXACT, ISN[0] + 9, False))
    w.at(2050, lambda: w.segment(1, 2, c.RST_NOT_EXACT, ACK, 1, 1, port=port))
    w.at(2080, lambda: w.segment(0, 2, 0, RST, 1, 0, injected=True, port=port))
    w.at(2080, lambda: w.sink.attack(2080 * MS, attack, events.ATTACK_INJECTED, 2, "RST to h2"))
    w.at(2090, lambda: w.sink.reset(2090 * MS, w.node[1], 2, c.RST_RECEIVED, RECEIVED, True, ISN[0] + 1))
    w.at(2090, w.state, 1, 2, c.RST_RECEIVED, s.ESTABLISHED, s.CLOSED)
    w.at(2090, lambda: w.sink.error(2090 * MS, w.node[1], 2, c.ERROR_RESET, w.sink.name("ECONNRESET")))
    w.at(2095, lambda: w.segment(0, 2, c.NEW_DATA, ACK, 1, 1, 500, port=port))
    w.at(2105, lambda: w.sink.reset(2105 * MS, w.node[1], 0, c.NO_SUCH_CONNECTION, SENT, True, ISN[1] + 1))
    w.at(2105, lambda: w.segment(1, 0, c.NO_SUCH_CONNECTION, RST, 1, 0, port=port))
    w.at(2115, lambda: w.sink.reset(2115 * MS, w.node[0], 2, c.RST_RECEIVED, RECEIVED, True, ISN[1] + 1))
    w.at(2115, w.state, 0, 2, c.RST_RECEIVED, s.ESTABLISHED, s.CLOSED)
    w.run()
